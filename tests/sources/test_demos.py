"""The shipped demos are what they say: trained, measured on unseen digits, small, and cheap to open."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize

from prunescope.sources.demos import DATA_CREDIT, DEMOS, load_demo
from prunescope.sources.demos.data import FILES, Digits
from prunescope.sources.demos.models import NETWORKS

BARS = {"cnn": 0.96, "mlp": 0.96, "vit": 0.94, "lstm": 0.94}
NAMES = ["accuracy.json", *sorted(f"{key}.safetensors" for key in BARS), "digits.npz"]

each_demo = pytest.mark.parametrize("key", BARS)
needs_sklearn = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="scikit-learn is not installed; it comes with prunescope[train]",
)


def run_python(code: str) -> str:
    """Return what ``code`` prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demos_and_their_order() -> None:
    assert list(DEMOS) == ["cnn", "mlp", "vit", "lstm"]
    assert all(demo.key == key for key, demo in DEMOS.items())
    assert type(load_demo()[0]) is NETWORKS["cnn"]


def test_credit_names_source_and_licence() -> None:
    for words in ("Optical Recognition of Handwritten Digits", "UCI", "10.24432/C50P49", "CC BY 4.0"):
        assert words in DATA_CREDIT


@each_demo
def test_stated_accuracy_is_what_is_measured(key: str) -> None:
    model, (inputs, targets) = DEMOS[key].load()
    with torch.no_grad():
        correct = int((model(inputs).argmax(dim=1) == targets).sum())
    assert correct / len(targets) == DEMOS[key].accuracy
    assert DEMOS[key].accuracy >= BARS[key]


@each_demo
def test_loaded_demo_is_ready_to_use(key: str) -> None:
    model, (inputs, targets) = load_demo(key)
    assert not any(module.training for module in model.modules())
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.device.type == "cpu" and torch.isfinite(tensor).all() for tensor in tensors)
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    assert inputs.shape == (599, 1, 8, 8)
    assert inputs.dtype == torch.float32
    assert (inputs.min(), inputs.max()) == (0, 1)
    assert targets.shape == (599,)
    assert targets.dtype == torch.int64


@each_demo
def test_two_loads_share_nothing(key: str) -> None:
    changed, (changed_inputs, _) = load_demo(key)
    with torch.no_grad():
        for tensor in [*changed.parameters(), *changed.buffers(), changed_inputs]:
            tensor.zero_()
    model, (inputs, _) = load_demo(key)
    assert model.get_parameter(DEMOS[key].layer).any()
    assert inputs.any()


@each_demo
def test_demo_trains_on(key: str) -> None:
    """Gradients reach every parameter, as they would in a network built the usual way."""
    model, (inputs, targets) = load_demo(key)
    nn.functional.cross_entropy(model.train()(inputs[:64]), targets[:64]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_cnn_opens_with_a_picture_of_64_by_576() -> None:
    model, _ = load_demo("cnn")
    assert model.get_parameter(DEMOS["cnn"].layer).shape == (64, 64, 3, 3)


class Zero(nn.Module):
    """A parametrisation that prunes everything."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(weight)


@each_demo
def test_every_weight_counts(key: str) -> None:
    """Zeroing any weight of two or more axes where its module reads it changes the answers."""
    model, (inputs, _) = load_demo(key)
    with torch.no_grad():
        before = model(inputs)
        for name, parameter in list(model.named_parameters()):
            if parameter.ndim < 2:
                continue
            owner = model.get_submodule(name.rpartition(".")[0])
            parametrize.register_parametrization(owner, name.rpartition(".")[2], Zero())
            assert not torch.equal(model(inputs), before), name
            parametrize.remove_parametrizations(owner, name.rpartition(".")[2], leave_parametrized=False)
        assert torch.equal(model(inputs), before)


def test_unknown_key_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"^`key` must be one of 'cnn', 'mlp', 'vit', 'lstm', got 'resnet'$"):
        load_demo("resnet")


def test_training_and_held_out_images_do_not_overlap() -> None:
    digits = Digits.read()
    held_out, training = digits.held_out_part(), digits.training_part()
    assert len(digits.images) == 1797
    assert len(set(digits.held_out.tolist())) == len(held_out[1]) == 599
    assert len(training[1]) == 1797 - 599
    images = {
        inputs: {image.numpy().tobytes() for image in part[0]}
        for inputs, part in (("held out", held_out), ("training", training))
    }
    assert not images["held out"] & images["training"]


def test_held_out_labels_are_stratified() -> None:
    digits = Digits.read()
    shares = np.bincount(digits.labels[digits.held_out]) / np.bincount(digits.labels)
    assert len(shares) == 10
    np.testing.assert_allclose(shares, 1 / 3, atol=0.005)


def test_files_are_few_and_small() -> None:
    assert sorted(path.name for path in FILES.iterdir()) == sorted(NAMES)
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 2_000_000


def test_import_reads_no_weights_and_loading_stays_light() -> None:
    """A first load draws no random number and imports no scikit-learn or other slow package."""
    code = """
import sys
import numpy, torch
before, opened = set(sys.modules), []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
from prunescope.sources.demos import DEMOS, load_demo
assert not [name for name in opened if name.endswith((".safetensors", ".npz"))], "import read the weights"
torch_state, numpy_state = torch.get_rng_state(), numpy.random.get_state()[1].copy()
for key in DEMOS:
    load_demo(key)
assert torch.equal(torch_state, torch.get_rng_state()), "torch's random state moved"
assert (numpy_state == numpy.random.get_state()[1]).all(), "numpy's random state moved"
print({"sklearn", "scipy", "sympy", "torch._dynamo"} & (set(sys.modules) - before) or "light")
"""
    assert run_python(code).strip() == "light"


def test_loading_ignores_the_default_dtype_and_device() -> None:
    code = """
import torch
from prunescope.sources.demos import load_demo
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
model, (inputs, targets) = load_demo("vit")
print(inputs.device, targets.device, {(str(p.device), str(p.dtype)) for p in model.parameters()})
"""
    assert run_python(code).strip() == "cpu cpu {('cpu', 'torch.float32')}"


@needs_sklearn
def test_shipped_digits_are_those_of_scikit_learn() -> None:
    from prunescope.sources.demos.train import split_digits

    made, shipped = split_digits(), Digits.read()
    for name in ("images", "labels", "held_out"):
        np.testing.assert_array_equal(getattr(made, name), getattr(shipped, name))


@pytest.mark.slow
@needs_sklearn
def test_remaking_writes_the_same_kind_of_files(tmp_path: Path) -> None:
    from prunescope.sources.demos.train import count_correct, remake

    state = torch.get_rng_state()
    measured = remake(tmp_path, epochs=1)
    assert torch.equal(state, torch.get_rng_state())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert json.loads((tmp_path / "accuracy.json").read_text(encoding="utf-8")) == measured
    for key in BARS:
        made, shipped = (load_file(folder / f"{key}.safetensors") for folder in (tmp_path, FILES))
        assert {name: (t.shape, t.dtype) for name, t in made.items()} == {
            name: (t.shape, t.dtype) for name, t in shipped.items()
        }
        model, (inputs, targets) = load_demo(key)
        model.load_state_dict(made)
        assert measured[key] == {"correct": count_correct(model, inputs, targets), "total": 599}
