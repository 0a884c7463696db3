import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import nn

import prunescope.prune as prune
from prunescope.core.errors import RequestError
from prunescope.sources import Source, find_tensor, fingerprint, module_source, prunable_tensors, read_again


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def test_weights_come_before_vectors() -> None:
    assert list(prunable_tensors(model())) == [
        "0.weight",
        "4.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "4.bias",
    ]


def test_tensors_share_memory_with_the_model() -> None:
    net = model()
    tensor = prunable_tensors(net)["4.weight"]
    assert tensor.weight.data_ptr() == net[4].weight.data_ptr()
    assert not tensor.weight.requires_grad


def test_a_tied_weight_is_one_tensor() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert list(prunable_tensors(net)) == ["0.weight", "0.bias", "1.bias"]


def test_pruned_parameters_carry_their_mask_under_their_plain_name() -> None:
    net = model()
    oracle.l1_unstructured(net[4], "weight", 0.5)
    oracle.identity(net[0], "weight")
    tensors = prunable_tensors(net)
    assert torch.equal(tensors["4.weight"].default_mask, net[4].weight_mask.bool())
    assert torch.equal(tensors["4.weight"].weight, net[4].weight_orig.detach())
    assert tensors["0.weight"].default_mask is None
    assert "4.weight_orig" not in tensors


def test_a_parameter_that_only_looks_pruned_keeps_its_name() -> None:
    net = nn.Module()
    net.scale_orig = nn.Parameter(torch.ones(3))
    assert list(prunable_tensors(net)) == ["scale_orig"]


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (nn.ReLU(), "to prune; ReLU has no parameters."),
        (nn.Sequential(), "to prune; Sequential has no parameters."),
        (Counter(), "to prune; Counter has only int64 numbers, scalars or empty tensors."),
        (
            nn.Linear(2, 2, dtype=torch.complex64),
            "Linear has only complex64 numbers, scalars or empty tensors.",
        ),
        (nn.LazyLinear(3), "but weight is a lazy parameter: run a batch through it first."),
        ("resnet18", "`model` must be a torch.nn.Module or the path of a checkpoint, got str."),
        (None, "`model` must be a torch.nn.Module or the path of a checkpoint, got NoneType."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_that_cannot_be_explored_gets_a_sentence(given: nn.Module, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        prunable_tensors(given)
    assert sentence in str(caught.value)
    assert caught.value.parameter == "model"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_dtypes_can_be_explored(dtype: torch.dtype) -> None:
    assert prunable_tensors(nn.Linear(3, 2).to(dtype))["weight"].weight.dtype is dtype


def test_layers_are_found_by_parameter_or_module() -> None:
    net = model()
    tensors = prunable_tensors(net)
    assert find_tensor(net, tensors, "4.bias").name == "4.bias"
    assert find_tensor(net, tensors, "4").name == "4.weight"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (
            "2",
            "one of 0.weight, 4.weight, 0.bias, 1.weight, …: 2 (ReLU) has no weight of its own",
        ),
        ("nowhere", "the model has no parameter named 'nowhere'."),
        (3, "the model has no parameter named 3."),
        ("", "the model itself (Sequential) has no weight of its own to prune."),
    ],
)
def test_a_layer_without_parameters_gets_a_sentence(layer: object, sentence: str) -> None:
    net = model()
    with pytest.raises(RequestError) as caught:
        find_tensor(net, prunable_tensors(net), layer)
    assert caught.value.parameter == "layer"
    assert sentence in str(caught.value)


def test_fingerprints_notice_every_kind_of_change() -> None:
    net = model()
    tensor = prunable_tensors(net)["4.weight"]
    seen = {fingerprint(net, tensor)}

    def changed() -> bool:
        now = fingerprint(net, tensor)
        new = now not in seen
        seen.add(now)
        return new

    assert not changed()
    with torch.no_grad():
        net[4].weight.add_(1)
    assert changed()
    net[4].weight.data = torch.zeros(3, 16)
    assert changed()
    net[4].weight = nn.Parameter(torch.ones(3, 16))
    assert changed()
    oracle.l1_unstructured(net[4], "weight", 1)
    assert changed()
    assert torch.equal(read_again(net, tensor).default_mask, net[4].weight_mask.bool())


def test_a_forward_pass_of_a_pruned_model_is_no_change() -> None:
    net = nn.Sequential(nn.Linear(4, 3)).eval()
    prune.l1_unstructured(net[0], "weight", 0.5)
    tensor = find_tensor(net, prunable_tensors(net), "0.weight")
    seen = fingerprint(net, tensor)
    with torch.no_grad():
        for _ in range(2):
            net(torch.ones(1, 4))
            assert fingerprint(net, tensor) == seen


def test_a_parameter_that_went_away_gets_a_sentence() -> None:
    net = model()
    tensor = prunable_tensors(net)["4.weight"]
    net[4] = nn.ReLU()
    with pytest.raises(RequestError, match=r"^`layer` 4.weight is no longer a parameter of ReLU\.$"):
        read_again(net, tensor)


X, Y = torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (X, "got Tensor."),
        ((X,), "got tuple."),
        ((X, [1, 2]), "got list among them."),
        ((X, Y.float()), "got targets of shape (5,) and torch.float32."),
        ((X, Y[:, None]), "got targets of shape (5, 1) and torch.int64."),
        ((X, Y[:3]), "got 5 and 3 examples."),
        (((X, X[:2]), Y), "got 5 and 2 and 5 examples."),
        ((X[:0], Y[:0]), "got 0 and 0 examples."),
    ],
    ids=str,
)
def test_data_that_is_no_pair_gets_a_sentence(data: object, got: str) -> None:
    with pytest.raises(
        RequestError, match=r"^`data` must be \(inputs, targets\), tensors of N examples"
    ) as caught:
        module_source(nn.Linear(4, 3), data)
    assert str(caught.value).endswith(got)


def test_inputs_may_be_several() -> None:
    source: Source = module_source(nn.Bilinear(4, 4, 3), ((X, X), Y))
    assert isinstance(source.data[0], tuple)
