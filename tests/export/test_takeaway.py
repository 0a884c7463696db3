"""What is taken home does again, elsewhere, what was explored."""

import copy
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunescope import prune
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS
from prunescope.export import code, load_plan, plan, pruned_model, save
from prunescope.measure.costs.measuring import silencing
from prunescope.session import Session
from prunescope.sources import Source, demo_source, module_source
from tests.support import networks

STEPS = {
    "l1_unstructured": [{"method": "l1_unstructured", "amount": 0.3}],
    "count": [{"method": "l1_unstructured", "amount": 7}],
    "random_unstructured": [{"method": "random_unstructured", "amount": 0.5, "seed": 3}],
    "random_structured": [{"method": "random_structured", "amount": 2, "dim": 1, "seed": 9}],
    "ln_structured": [{"method": "ln_structured", "amount": 0.5, "n": 1, "dim": 0}],
    "inf": [{"method": "ln_structured", "amount": 0.5, "n": -math.inf, "dim": 1}],
    "fro": [{"method": "ln_structured", "amount": 1, "n": "fro", "dim": 0}],
    "nuc": [{"method": "ln_structured", "amount": 1, "n": "nuc", "dim": 0, "layer": "0.weight"}],
    "global": [{"method": "global_unstructured", "amount": 0.4}],
    "bias": [{"layer": "0.bias", "amount": 0.5}],
    "sequence": [
        {"method": "ln_structured", "amount": 1, "layer": "0.weight"},
        {"method": "random_unstructured", "amount": 0.5, "seed": 1, "layer": "0.weight"},
        {"method": "global_unstructured", "amount": 0.4},
        {"method": "random_structured", "amount": 0.5, "dim": 0, "seed": 2, "layer": "4.weight"},
        {"method": "l1_unstructured", "amount": 0.5, "layer": "0.weight"},
    ],
    "silence": [{"method": "ln_structured", "amount": 2}, {"method": "silence"}],
    "silence after all else": [
        {"layer": "1.bias", "amount": 0.5},
        {"method": "ln_structured", "amount": 0.5},
        {"method": "random_structured", "amount": 1, "seed": 2, "layer": "4.weight"},
        {"method": "global_unstructured", "amount": 0.4},
        {"method": "silence"},
        {"method": "l1_unstructured", "amount": 1, "layer": "1.weight"},
    ],
}


def network() -> nn.Sequential:
    model = networks.network(3, norm=True)
    nn.init.normal_(model[1].bias)
    nn.init.normal_(model[1].weight)
    return model


def explored(model: nn.Module, steps: list[dict[str, object]]) -> Session:
    session = Session(Source(model, "network", example=torch.ones(2, 3, 3, 3)))
    for changes in steps:
        if changes == {"method": "silence"}:
            session.silence(silencing(session))
            continue
        wanted = replace(session.first_spec, **changes)
        session.apply(session.preview(session.resolve(wanted, frozenset(changes))))
    return session


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    return {
        name.removesuffix("_mask"): mask.bool()
        for name, mask in model.named_buffers()
        if name.endswith("_mask")
    }


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def run(script: str, model: nn.Module) -> nn.Module:
    names: dict[str, object] = {}
    exec(compile(script, "exported.py", "exec"), names)
    return names["apply_pruning"](model)


@pytest.mark.parametrize("engine", ["torch", "prunescope"])
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_exported_code_gives_the_same_masks(steps: list[dict[str, object]], engine: str) -> None:
    model = network()
    session = explored(model, steps)
    script = code(session, engine=engine)
    fresh = network()
    torch.manual_seed(77)
    before = torch.get_rng_state()
    assert same(masks_of(run(script, fresh)), session.history.masks())
    assert torch.equal(torch.get_rng_state(), before)
    assert not masks_of(model)


def test_exported_code_is_plain_calls() -> None:
    session = explored(network(), STEPS["sequence"])
    script = code(session)
    assert "import torch.nn.utils.prune as prune" in script
    assert "prune.ln_structured(model.get_submodule('0'), 'weight', amount=1, n=2, dim=0)" in script
    assert "unpack(" not in script
    assert "prunescope" not in script


def test_where_torch_breaks_ties_otherwise_the_code_carries_the_mask() -> None:
    model = nn.Linear(40, 40, bias=False)
    nn.init.ones_(model.weight)
    session = explored(model, [{"amount": 0.5}, {"method": "ln_structured", "amount": 3}])
    script = code(session)
    assert "torch's own call gives another mask here" in script
    assert same(masks_of(run(script, copy.deepcopy(model))), session.history.masks())
    assert "unpack(" not in code(session, engine="prunescope")


def test_exported_code_masks_the_same_entries_of_all_parameters_in_one_loop() -> None:
    script = code(explored(network(), STEPS["silence"]))
    assert script.count("prune.custom_from_mask(module, name, mask)") == 1
    for pair in ("'0'), 'bias'", "'1'), 'weight'", "'1'), 'bias'"):
        assert f"    (model.get_submodule({pair}),\n" in script


@pytest.mark.parametrize("key", ["cnn", "mlp", "vit", "lstm"])
def test_a_plan_does_the_same_on_another_copy(key: str) -> None:
    session = Session(demo_source(key))
    for method in ("l1_unstructured", "random_structured", "global_unstructured"):
        session.apply(session.preview(session.resolve(replace(session.first_spec, method=method, seed=4))))
    other = Session(demo_source(key))
    load_plan(other, plan(session))
    assert same(other.history.masks(), session.history.masks())
    assert [step.title for step in other.history.done] == [step.title for step in session.history.done]


@pytest.mark.parametrize("name", ["silence", "silence after all else"])
def test_a_plan_silences_without_an_example_to_run(name: str) -> None:
    session = explored(network(), STEPS[name])
    other = Session(module_source(network()))
    load_plan(other, plan(session))
    assert same(other.history.masks(), session.history.masks())
    assert [step.effect for step in other.history.done] == [step.effect for step in session.history.done]
    assert plan(other) == plan(session)


def test_a_plan_keeps_one_and_one_point_nought_apart() -> None:
    session = explored(network(), [{"amount": 1}, {"amount": 1.0}, {"layer": "4.weight", "n": math.inf}])
    amounts = [step["amount"] for step in json.loads(plan(session))["steps"]]
    assert [type(amount) for amount in amounts] == [int, float, float]


def test_a_plan_for_another_model_applies_nothing() -> None:
    text = plan(explored(network(), STEPS["sequence"]))
    other = explored(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()), [{"amount": 0.1}])
    before = other.history
    with pytest.raises(RequestError) as caught:
        load_plan(other, text)
    assert str(caught.value) == (
        "`plan` is for another model: 0.weight is 5×3×3×3 here, [6, 3, 3, 3] in the plan; "
        "4.weight is not in this model."
    )
    assert other.history is before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "`plan` must be JSON that Prunescope saved"),
        ("[" * 100_000, "`plan` must be JSON that Prunescope saved"),
        ("[]", '"format": "prunescope-plan"'),
        ('{"format": "prunescope-plan", "version": 2}', "must be of version 1, got version 2"),
        ('{"format": "prunescope-plan", "version": 1}', '"tensors" maps names to shapes'),
        (
            '{"format": "prunescope-plan", "version": 1, "tensors": {}, "steps": [{"colour": 1}]}',
            "contains an invalid step",
        ),
        (
            '{"format": "prunescope-plan", "version": 1, "tensors": {},'
            ' "steps": [{"layer": "0.weight"}, {"layer": "0.weight", "amount": 2.5}]}',
            "step 2 cannot be applied: `amount` must be",
        ),
        *(
            (
                '{"format": "prunescope-plan", "version": 1, "tensors": {},'
                f' "steps": [{{"method": "silence", "layer": "0.weight", "channels": {channels}}}]}}',
                says,
            )
            for channels, says in {
                '{"1.bias": [6]}': "step 1 cannot be applied: `steps`: only entries of a vector",
                '{"1.bias": [-1]}': "only entries of a vector are masked one by one; 1.bias is 6, and asked",
                '{"1.bias": []}': "and asked were 0 entries",
                '{"0.weight": [0]}': "0.weight is 6×3×3×3",
                '{"nothing": [0]}': "nothing is not in this model",
                '{"0": [0]}': "0 is not in this model",
                '{"1.bias": [true]}': "contains an invalid step",
                '{"1.bias": [1.0]}': "contains an invalid step",
                '{"1.bias": 3}': "contains an invalid step",
                "{}": "contains an invalid step",
                '["1.bias"]': "contains an invalid step",
            }.items()
        ),
    ],
)
def test_a_bad_plan_is_refused_and_nothing_is_lost(text: str, says: str) -> None:
    session = explored(network(), [{"amount": 0.1}])
    before = session.history
    with pytest.raises(RequestError) as caught:
        load_plan(session, text)
    assert says in str(caught.value)
    assert session.history is before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
STEP = st.fixed_dictionaries(
    {"layer": st.sampled_from(["0.weight", "3.weight", "0.bias"]) | JSON},
    optional={
        "method": st.sampled_from(list(METHODS)) | JSON,
        "amount": st.floats(0, 1) | st.integers(0, 3) | JSON,
        "n": st.sampled_from([1, "inf", "nuc"]) | JSON,
        "dim": st.integers(-2, 2) | JSON,
        "seed": st.integers(0, 9) | JSON,
        "keep_channels": st.lists(st.integers(0, 7), max_size=2) | JSON,
        "silence": JSON,
    },
)


@settings(max_examples=200, deadline=None)
@given(
    tensors=st.dictionaries(st.sampled_from(["0.weight", "9.weight"]), JSON, max_size=1) | JSON,
    steps=st.lists(STEP, min_size=1, max_size=3) | JSON,
)
def test_no_plan_does_harm(tensors: object, steps: object) -> None:
    session = explored(network(), [{"amount": 0.1}])
    before = session.history
    text = json.dumps({"format": "prunescope-plan", "version": 1, "tensors": tensors, "steps": steps})
    try:
        load_plan(session, text)
    except RequestError:
        assert session.history is before
    else:
        assert len(session.history.done) == len(steps)


def test_the_files(tmp_path: Path) -> None:
    session = explored(network(), STEPS["sequence"])
    for what, name in {"state_dict": "w.safetensors", "masks": "m.safetensors", "plan": "p.json"}.items():
        save(session, what, tmp_path / name)
    fresh = network()
    fresh.load_state_dict(safetensors.torch.load_file(tmp_path / "w.safetensors"))
    assert same(
        dict(fresh.named_parameters()), dict(pruned_model(session, permanent=True).named_parameters())
    )
    assert same(safetensors.torch.load_file(tmp_path / "m.safetensors"), session.history.masks())
    other = Session(module_source(network()))
    load_plan(other, (tmp_path / "p.json").read_text())
    assert same(other.history.masks(), session.history.masks())


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_tensors_are_written_as_the_files_name_says(tmp_path: Path, suffix: str) -> None:
    session = explored(network(), STEPS["sequence"])
    for what in ("state_dict", "masks"):
        save(session, what, tmp_path / f"{what}{suffix}")
        save(session, what, tmp_path / f"{what}.safetensors")
        written = torch.load(tmp_path / f"{what}{suffix}", weights_only=True)
        assert same(written, safetensors.torch.load_file(tmp_path / f"{what}.safetensors"))


def test_a_file_that_is_there_is_kept_unless_told(tmp_path: Path) -> None:
    session = explored(network(), STEPS["count"])
    path = tmp_path / "plan.json"
    path.write_text("mine")
    with pytest.raises(RequestError, match=r"exists: pass `overwrite=True` to replace it\."):
        save(session, "plan", path)
    assert path.read_text() == "mine"
    save(session, "plan", path, overwrite=True)
    assert json.loads(path.read_text())["version"] == 1


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = explored(network(), STEPS["count"])
    path = tmp_path / "plan.json"
    path.write_text("mine")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RequestError, match=r"could not be written: No space left on device\."):
        save(session, "plan", path, overwrite=True)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_no_such_file_or_folder(tmp_path: Path) -> None:
    session = explored(network(), STEPS["count"])
    with pytest.raises(
        RequestError, match="`what` must be one of state_dict, masks, plan, scores, torch, prunescope"
    ):
        save(session, "onnx", tmp_path / "x")
    with pytest.raises(RequestError, match="could not be written: No such file"):
        save(session, "plan", tmp_path / "none" / "x")


def test_the_pruned_model_is_one_that_the_engine_pruned() -> None:
    model = pruned_model(explored(network(), STEPS["silence after all else"]))
    containers = {
        f"{name}.{hook._tensor_name}": [type(part).__name__ for part in hook]
        for name, module in model.named_modules()
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, prune.PruningContainer)
    }
    assert containers == {
        "0.weight": ["LnStructured", "CustomFromMask"],
        "4.weight": ["RandomStructured", "CustomFromMask"],
        "1.weight": ["CustomFromMask", "L1Unstructured"],
    }


def test_a_model_trained_on_since_is_not_passed_off_as_the_explored_one() -> None:
    model = network()
    session = explored(model, [{"amount": 0.5}])
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight.flip(0))
    with pytest.raises(RequestError, match=r"0.weight has changed since it was pruned"):
        pruned_model(session)
