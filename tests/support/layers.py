"""Layers of every kind, and pruning steps to take on them, with torch's module or with ours."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# What makes a layer, the parameter to prune, and what to feed it.
LAYERS: dict[str, tuple[Callable[[], nn.Module], str, Callable[[], tuple[Tensor, ...]]]] = {
    "linear": (lambda: nn.Linear(6, 5), "weight", lambda: (torch.randn(3, 6),)),
    "linear_bias": (lambda: nn.Linear(6, 9), "bias", lambda: (torch.randn(3, 6),)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3), "weight", lambda: (torch.randn(2, 3, 8),)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3), "weight", lambda: (torch.randn(2, 3, 6, 6),)),
    "conv2d_grouped": (lambda: nn.Conv2d(4, 4, 3, groups=2), "weight", lambda: (torch.randn(2, 4, 6, 6),)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), "weight", lambda: (torch.randn(1, 2, 4, 4, 4),)),
    "conv_transpose": (lambda: nn.ConvTranspose2d(3, 4, 2), "weight", lambda: (torch.randn(1, 3, 4, 4),)),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), "weight", lambda: (torch.randn(2, 3), torch.randn(2, 4))),
    "embedding": (lambda: nn.Embedding(7, 5), "weight", lambda: (torch.tensor([0, 3, 6]),)),
    "lstm": (lambda: nn.LSTM(4, 3), "weight_ih_l0", lambda: (torch.randn(5, 2, 4),)),
    "gru": (lambda: nn.GRU(4, 3), "weight_hh_l0", lambda: (torch.randn(5, 2, 4),)),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2),
        "in_proj_weight",
        lambda: (torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.randn(3, 2, 4)),
    ),
}

Step = Callable[[Any, nn.Module, str], None]

UNSTRUCTURED: dict[str, Step] = {
    "identity": lambda p, m, name: p.identity(m, name),
    "l1": lambda p, m, name: p.l1_unstructured(m, name, 0.4),
    "l1_count": lambda p, m, name: p.l1_unstructured(m, name, 3),
    "random": lambda p, m, name: p.random_unstructured(m, name, 0.3),
    "scores": lambda p, m, name: p.l1_unstructured(m, name, 0.25, importance_scores=ramp(getattr(m, name))),
    "custom": lambda p, m, name: p.custom_from_mask(m, name, checkered(getattr(m, name))),
    "global": lambda p, m, name: p.global_unstructured([(m, name)], p.L1Unstructured, amount=0.3),
    "global_random": lambda p, m, name: p.global_unstructured([(m, name)], p.RandomUnstructured, amount=0.3),
}

STRUCTURED: dict[str, Step] = {
    "ln2": lambda p, m, name: p.ln_structured(m, name, 0.4, n=2, dim=0),
    "ln1_last": lambda p, m, name: p.ln_structured(m, name, 1, n=1, dim=-1),
    "inf": lambda p, m, name: p.ln_structured(m, name, 1, n=float("inf"), dim=1),
    "random_rows": lambda p, m, name: p.random_structured(m, name, 0.3, dim=0),
    "random_columns": lambda p, m, name: p.random_structured(m, name, 1, dim=1),
    "ln_scores": lambda p, m, name: p.ln_structured(
        m, name, 1, n=2, dim=0, importance_scores=ramp(getattr(m, name))
    ),
}

STEPS: dict[str, Step] = {**UNSTRUCTURED, **STRUCTURED}


def ramp(t: Tensor) -> Tensor:
    """Return scores without ties, in no simple order."""
    n = t.numel()
    return ((torch.arange(n) * 7919 + 13) % (n * 31 + 1)).to(torch.float32).reshape(t.shape) + 0.5


def checkered(t: Tensor) -> Tensor:
    return (torch.arange(t.numel()) % 3 != 0).to(torch.float32).reshape(t.shape)


def make(kind: str, seed: int = 0) -> tuple[nn.Module, str, tuple[Tensor, ...]]:
    """Return a layer with distinct weights, the parameter's name, and inputs."""
    build, name, feed = LAYERS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(), name, feed()


def twins(kind: str) -> tuple[nn.Module, nn.Module, str, tuple[Tensor, ...]]:
    """Return two equal layers, one for torch and one for us."""
    module, name, inputs = make(kind)
    return module, copy.deepcopy(module), name, inputs


def output(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    out = module(*inputs)
    while isinstance(out, tuple):
        out = out[0]
    return out


def assert_same(theirs: nn.Module, ours: nn.Module) -> None:
    """Assert that two modules hold the same things under the same names, in the same order."""
    assert list(theirs.state_dict()) == list(ours.state_dict())
    for key, value in theirs.state_dict().items():
        other = ours.state_dict()[key]
        assert (value.dtype, value.shape) == (other.dtype, other.shape), key
        assert torch.equal(value, other), key
    assert [type(h).__name__ for h in theirs._forward_pre_hooks.values()] == [
        type(h).__name__ for h in ours._forward_pre_hooks.values()
    ]
    pruned = [k.removesuffix("_mask") for k in theirs._buffers]
    for name in pruned:
        assert torch.equal(getattr(theirs, name), getattr(ours, name))
        assert getattr(theirs, name).requires_grad == getattr(ours, name).requires_grad
