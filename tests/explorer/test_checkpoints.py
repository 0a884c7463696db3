"""Checkpoints in the explorer: by path, by name, many layers, and a pruned copy of the file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prunescope import Explorer, explore, prune
from prunescope.core.errors import RequestError
from prunescope.explorer import dashboard
from prunescope.explorer.panels.layers import LIST_LIMIT, MATCH_LIMIT
from prunescope.export import load_plan, plan, pruned_model, save
from prunescope.figures import View
from prunescope.session import Session
from prunescope.sources import MODELS_VARIABLE, OPEN_VARIABLE, checkpoint_source, module_source
from tests.support.checkpoint_files import (
    hub_folder,
    network,
    safetensors_file,
    sparse_safetensors,
    state,
    torch_file,
)


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Explorer]:
    shapes = {
        f"model.layers.{i}.mlp.{part}_proj.weight": (3, 4) for i in range(3000) for part in ("up", "down")
    }
    explorer = explore(sparse_safetensors(tmp_path / "m.safetensors", {"lm_head.weight": (5, 4), **shapes}))
    yield explorer
    explorer.close()


def options(explorer: Explorer) -> list[str]:
    return [name for _, name in explorer.screen.controls.layer.options]


def type_search(explorer: Explorer, words: str) -> None:
    explorer.screen.controls.layers.search.set_state({"value": words})


@pytest.mark.parametrize("make", [safetensors_file, torch_file, lambda folder: hub_folder(folder / "hub")])
def test_a_checkpoint_is_explored_like_its_module(tmp_path: Path, make: object) -> None:
    spec = {"layer": "conv", "method": "ln_structured", "amount": 2, "n": 1}
    file, module = explore(make(tmp_path), **spec), explore(network(), **spec)
    assert torch.equal(file.preview.mask, module.preview.mask)
    assert file.preview.unit_name == module.preview.unit_name == "output channels"
    file.close()
    module.close()


def test_data_does_not_go_with_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="^`data` needs a module: a checkpoint only has weights and cannot"
    ):
        explore(safetensors_file(tmp_path), data=(torch.zeros(1, 2), torch.zeros(1)))


def test_pruning_in_the_file_counts_as_earlier_steps(tmp_path: Path) -> None:
    net = network()
    prune.l1_unstructured(net.head, "weight", 0.5)
    explorer = explore(torch_file(tmp_path, net.state_dict()), layer="head", amount=0.5)
    assert explorer.preview.units == 20
    assert torch.equal(~explorer.preview.pruned_earlier, net.head.weight_mask.bool())
    assert explorer.preview.pruned_weights == 30
    explorer.close()


def test_a_tensor_that_cannot_be_pruned_says_why_and_the_picture_stays(tmp_path: Path) -> None:
    explorer = explore(safetensors_file(tmp_path))
    before = explorer.preview
    with pytest.raises(RequestError, match=r"norm\.num_batches_tracked is a single number\.$"):
        explorer.layer = "norm.num_batches_tracked"
    assert explorer.preview is before
    explorer.close()


def test_a_file_that_goes_away_says_so_and_the_picture_stays(tmp_path: Path) -> None:
    path = safetensors_file(tmp_path)
    explorer = explore(path)
    path.unlink()
    with pytest.raises(RequestError, match="cannot be read: No such file or directory"):
        explorer.layer = "head"
    explorer.close()


# Many layers.


def test_a_small_checkpoint_has_one_list(tmp_path: Path) -> None:
    explorer = explore(safetensors_file(tmp_path))
    assert len(options(explorer)) == 6
    assert explorer.screen.controls.layers.search.layout.display == "none"
    assert explorer.screen.controls.layers.group.layout.display == "none"
    explorer.close()


def test_many_layers_are_listed_by_group(many: Explorer) -> None:
    many.layer = "model.layers.7.mlp.up_proj"
    assert many.screen.controls.layers.group.value == "model.layers.7"
    assert options(many) == [f"model.layers.7.mlp.{part}_proj.weight" for part in ("down", "up")]
    many.screen.controls.layers.group.set_state({"index": 2})
    assert many.layer == "model.layers.1.mlp.down_proj.weight"


def test_a_search_lists_what_matches_and_chooses_nothing(many: Explorer) -> None:
    before = many.snapshot
    type_search(many, "Layers.29 UP")
    assert many.snapshot is before
    assert options(many)[0] == many.layer
    assert options(many)[1:3] == ["model.layers.29.mlp.up_proj.weight", "model.layers.290.mlp.up_proj.weight"]
    assert "111 of 6,001 layers match, the first 100 are listed" in many.screen.controls.layers.found.value
    assert len(options(many)) == MATCH_LIMIT + 1
    many.screen.controls.layer.set_state({"index": 2})
    assert many.layer == "model.layers.290.mlp.up_proj.weight"
    type_search(many, "nothing like that")
    assert options(many) == [many.layer]
    assert "No layer matches." in many.screen.controls.layers.found.value
    type_search(many, "")
    assert len(options(many)) == 2
    assert many.screen.controls.layers.found.layout.display == "none"


def test_names_with_markup_are_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    explorer = explore(safetensors_file(tmp_path, {f"{evil}.weight": torch.ones(2, 2), "b": torch.tensor(1)}))
    problem = explorer.request(layer=evil + "nowhere")
    assert evil in str(problem)
    shown = [w.value for w in explorer.screen.controls.messages.values()] + [
        explorer.screen.readout.numbers.value
    ]
    assert not any(evil in text for text in shown)
    assert "&lt;img" in explorer.screen.controls.messages["layer"].value
    explorer.close()


# Steps, and taking them home.


def stepped(session: Session) -> Session:
    for layer in ("conv", "head"):
        wanted = session.first_spec.__class__(layer, "ln_structured", 0.5, 2, 0)
        session.apply(session.preview(session.resolve(wanted)))
    return session


def test_a_pruned_copy_equals_the_module_pruned_by_the_same_steps(tmp_path: Path) -> None:
    session = stepped(Session(checkpoint_source(safetensors_file(tmp_path))))
    out = save(session, "state_dict", tmp_path / "pruned.safetensors")
    expected = pruned_model(stepped(Session(module_source(network()))), permanent=True).state_dict()
    loaded = load_file(out)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    network().load_state_dict(loaded)


def test_a_plan_of_a_checkpoint_goes_to_its_module(tmp_path: Path) -> None:
    session = stepped(Session(checkpoint_source(safetensors_file(tmp_path))))
    module = Session(module_source(network()))
    load_plan(module, plan(session))
    assert all(torch.equal(module.history.masks()[k], m) for k, m in session.history.masks().items())


@pytest.mark.parametrize(
    ("make", "name"),
    [(safetensors_file, "m-pruned.safetensors"), (torch_file, "m-pruned.pt")],
)
def test_the_page_saves_a_pruned_copy_of_the_same_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, name: str
) -> None:
    explorer = explore(make(tmp_path), method="l1_unstructured", amount=0.5)
    explorer.apply()
    saved: dict[str, bytes] = {}
    monkeypatch.setattr(explorer.screen.page, "save", saved.__setitem__)
    explorer.screen.panels["export"].save.click()
    path = tmp_path / name
    path.write_bytes(saved[name])
    loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    net = network()
    prune.remove(prune.l1_unstructured(net.conv, "weight", 0.5), "weight")
    assert all(torch.equal(loaded[key], value) for key, value in net.state_dict().items())
    network().load_state_dict(loaded)
    explorer.close()


@pytest.mark.parametrize("kind", ["large", "sharded"])
def test_what_a_page_does_not_take_is_refused_with_the_way_to_get_it(tmp_path: Path, kind: str) -> None:
    large = {"v.weight": (4, 3), "w.weight": (4096, 4096)}
    path = (
        sparse_safetensors(tmp_path / "m.safetensors", large)
        if kind == "large"
        else hub_folder(tmp_path / "m")
    )
    explorer = explore(path, layer="v" if kind == "large" else "head", amount=0.5)
    explorer.apply()
    explorer.screen.panels["export"].save.click()
    said = explorer.screen.panels["export"].message.value
    why = "m.safetensors has 67 MB" if kind == "large" else "m lies in 2 files"
    assert f"{why}, and a page takes one file of at most 64 MB. Take the plan, then:" in said
    text = explorer.plan()
    explorer.close()
    again = explore(path)
    again.load_plan(text)
    again.save("state_dict", tmp_path / ("out.safetensors" if kind == "large" else "out"))
    again.close()


def test_the_page_offers_what_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors_file(tmp_path)
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    explorer = dashboard()
    offered = explorer.screen.panels["export"].what
    every = ("state_dict", "masks", "plan", "torch", "prunescope")
    assert tuple(key for _, key in offered.options) == every
    explorer.request(front="export")
    offered.value = "torch"
    explorer.apply()
    assert "prune.ln_structured(" in explorer.screen.panels["export"].text.value
    assert explorer.request(model="models/m.safetensors") is None
    assert tuple(key for _, key in offered.options) == every[:3]
    assert offered.value == "state_dict"
    assert explorer.screen.panels["export"].text.value.startswith("<p>Apply a step first")
    explorer.amount = 0.5
    explorer.apply()
    assert explorer.screen.panels["export"].text.value == ""
    explorer.close()


def test_code_needs_a_module(tmp_path: Path) -> None:
    session = stepped(Session(checkpoint_source(safetensors_file(tmp_path))))
    with pytest.raises(
        RequestError, match="is a checkpoint, which has weights but no network to run or copy"
    ):
        save(session, "torch", tmp_path / "code.py")


def test_ranking_a_whole_checkpoint_together_has_a_limit(tmp_path: Path) -> None:
    path = sparse_safetensors(tmp_path / "m.safetensors", {"w": (1 << 14, 1 << 14), "v": (2, 2)})
    session = Session(checkpoint_source(path))
    wanted = session.first_spec.__class__("v", "global_unstructured", 0.5)
    with pytest.raises(
        RequestError, match="^`method` that ranks all weights together needs them in memory: at m"
    ):
        session.resolve(wanted)
    small = Session(checkpoint_source(safetensors_file(tmp_path, state(), "small")))
    preview = small.preview(small.resolve(wanted.__class__("conv.weight", "global_unstructured", 0.5)))
    assert preview.pruned_units == 128


def test_colours_of_a_whole_checkpoint_have_a_limit_and_the_picture_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse_safetensors(tmp_path / "m.safetensors", {"v": (2, 2), "w": (1 << 14, 1 << 14)})
    monkeypatch.setenv(OPEN_VARIABLE, str(safetensors_file(tmp_path, state(), "small")))
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    explorer, colours = dashboard(), View(heatmap="weights", colour_range="model")
    try:
        explorer.view = colours
        assert explorer.view == colours
        assert explorer.request(model="models/m.safetensors") is None
        assert explorer.view == replace(colours, colour_range="layer")
        explorer.screen.view.lists["colour_range"].set_state({"index": 2})
        sentence = "`view` with colours of the whole model reads all of its weights: at most 134,217,728, and"
        assert sentence in explorer.screen.readout.problem.value
        assert explorer.screen.view.lists["colour_range"].value == explorer.view.colour_range == "layer"
    finally:
        explorer.close()


# What the dashboard offers.


def test_the_dashboard_opens_the_file_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPEN_VARIABLE, str(hub_folder(tmp_path / "hub")))
    explorer = dashboard()
    assert explorer.layer == "conv.weight"
    explorer.close()


def test_a_file_of_the_folder_that_is_opened_is_offered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPEN_VARIABLE, str(safetensors_file(tmp_path, name="one")))
    safetensors_file(tmp_path, name="two")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    explorer = dashboard()
    assert [title for title, _ in explorer.screen.controls.model.options] == [
        "one.safetensors",
        "two.safetensors",
    ]
    explorer.close()


def test_the_dashboard_offers_a_folder_and_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = safetensors_file(tmp_path, name="outside")
    models = tmp_path / "models"
    models.mkdir()
    safetensors_file(models, name="inside")
    (models / "broken.pt").write_text("")
    (models / "link.safetensors").symlink_to(outside)
    monkeypatch.setenv(MODELS_VARIABLE, str(models))
    explorer = dashboard()
    assert explorer.request(model="models/inside.safetensors") is None
    assert explorer.layer == "conv.weight"
    assert "it is not a zip archive" in str(explorer.request(model="models/broken.pt"))
    assert "`model` must be one of" in str(explorer.request(model="models/link.safetensors"))
    assert "`model` must be one of" in str(explorer.request(model=str(outside)))
    assert "`model` must be one of" in str(explorer.request(model="models/../outside.safetensors"))
    assert LIST_LIMIT > 8
    explorer.close()
