"""Models that hold more than ordinary arrays: sparse, nested, a library's layout, what cannot be copied."""

import copy
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunescope import prune
from prunescope.core.errors import RequestError
from prunescope.export import pruned_model, save
from prunescope.measure.costs.measuring import measure, nonzero
from prunescope.measure.states import accuracy, eval_copy, evaluate, known_accuracy
from prunescope.session import Session
from prunescope.sources import copy_of, module_source
from prunescope.sources.module import not_prunable

pytestmark = pytest.mark.filterwarnings("ignore")


def nested(**how: object) -> Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.zeros(3)], **how)


LAYOUTS = {
    "sparse_coo": lambda: torch.eye(4).to_sparse(),
    "sparse_csr": lambda: torch.eye(4).to_sparse_csr(),
    "sparse_bsr": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "mkldnn": lambda: torch.eye(4).to_mkldnn(),
    "nested": nested,
    "jagged": lambda: nested(layout=torch.jagged),
}


class Holder(nn.Module):
    """A linear layer, and beside it something unusual."""

    def __init__(self, held: object, how: str) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        if how == "buffer":
            self.register_buffer("held", held)
        else:
            self.held = nn.Parameter(held, requires_grad=False) if how == "parameter" else held

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def session_of(model: nn.Module) -> Session:
    session = Session(module_source(model, (torch.ones(5, 4), torch.zeros(5, dtype=torch.int64))))
    session.apply(session.preview(session.resolve(session.first_spec)))
    return session


@pytest.mark.parametrize("how", ["buffer", "parameter", "attribute"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_of_any_layout_is_no_hindrance(layout: str, how: str, tmp_path: Path) -> None:
    session = session_of(Holder(LAYOUTS[layout](), how))
    assert list(session.tensors) == ["fc.weight", "fc.bias"]
    assert accuracy(session, session.applied).total == 5
    assert pruned_model(session, permanent=True).fc.weight.count_nonzero() < 12
    if layout == "mkldnn" and how != "attribute":
        with pytest.raises(RequestError, match="^`model` cannot be saved by torch: "):
            save(session, "state_dict", tmp_path / "m.pt")
    else:
        save(session, "state_dict", tmp_path / "m.pt")
        assert "fc.weight" in torch.load(tmp_path / "m.pt", weights_only=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_its_numbers_are_counted_and_no_safetensors_file_is_promised(layout: str, tmp_path: Path) -> None:
    session = session_of(Holder(LAYOUTS[layout](), "parameter"))
    plain = session_of(Holder(torch.ones(1), "attribute"))
    of_it = 2 if layout in ("nested", "jagged") else 4
    assert nonzero(session) == nonzero(plain) + of_it
    said = f"`model` holds held as a {layout.replace('jagged', 'nested')} tensor, which safetensors cannot"
    *_, costs = measure(session)
    assert costs.problems["files"].startswith(said)
    assert costs.flops is not None
    with pytest.raises(RequestError, match=said):
        save(session, "state_dict", tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_sparse_parameter_says_why_it_is_not_pruned() -> None:
    model = Holder(torch.eye(4).to_sparse(), "parameter")
    assert not_prunable(model) == {"held": "is sparse_coo, with no place for a mask"}


@pytest.mark.parametrize("dtype", [torch.complex128, torch.quint8])
def test_a_type_that_safetensors_has_not_gets_a_sentence(dtype: torch.dtype, tmp_path: Path) -> None:
    held = (
        torch.ones(2, dtype=dtype)
        if dtype.is_complex
        else torch.quantize_per_tensor(torch.ones(2), 1, 0, dtype)
    )
    session = session_of(Holder(held, "buffer"))
    with pytest.raises(RequestError, match=f"holds held as {str(dtype)[6:]}, which safetensors cannot"):
        save(session, "state_dict", tmp_path / "m.safetensors")


# What cannot be copied.


def test_what_cannot_be_copied_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 3), Holder(threading.Lock(), "attribute"))
    session = Session(module_source(model, example=torch.ones(1, 4)))
    for copied in (lambda: copy_of(model), lambda: pruned_model(session), lambda: eval_copy(session)):
        with pytest.raises(RequestError) as caught:
            copied()
        assert caught.value.parameter == "model"
        assert "its attribute 1.held is a lock (cannot pickle '_thread.lock' object)" in str(caught.value)
        assert "Explore a copy that you have made without" in str(caught.value)


def test_what_is_copied_has_the_same_ties() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].shown = model[0].weight * 2
    copied = copy_of(model)
    assert copied[1].weight is copied[0].weight
    assert torch.equal(copied[0].shown, model[0].shown)


# What is read is not changed.


def test_a_masked_copy_that_has_been_run_is_measured_after_it_was_looked_at() -> None:
    model = copy.deepcopy(nn.Sequential(nn.Linear(4, 3)).eval())
    prune.l1_unstructured(model[0], "weight", 0.5)
    with torch.no_grad():
        model(torch.ones(1, 4))
    held = [torch._lazy_clone(each) for each in (model[0].weight_orig, model[0].weight_mask)]
    session = Session(module_source(model, (torch.ones(5, 4), torch.zeros(5, dtype=torch.int64))))
    preview = session.preview(session.resolve(session.first_spec))
    measuring = evaluate(session, preview)
    for each in (model[0].weight_orig, model[0].weight_mask):
        each.detach().numpy()  # as a picture does; memory that is shared lazily is left by that
    assert [counted.total for counted in measuring] == [5]
    assert known_accuracy(session, preview) is not None
    assert session.tensor("0.weight") is preview.tensor
    assert all(
        torch.equal(a, b) for a, b in zip(held, (model[0].weight_orig, model[0].weight_mask), strict=True)
    )


def test_looking_at_memory_that_is_shared_lazily_is_no_change() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    weights = module_source(model).weights()
    held = torch._lazy_clone(model[0].weight)
    before, state = weights.state("0.weight"), weights.state_of_all()
    address = torch._C._data_address(model[0].weight)
    model[0].weight.detach().numpy()
    assert torch._C._data_address(model[0].weight) != address, "this is what has to go unnoticed"
    weights.current("0.weight")
    assert (weights.state("0.weight"), weights.state_of_all()) == (before, state)
    with torch.no_grad():
        model[0].weight.add_(1)
    assert weights.state_of_all() != state
    assert not torch.equal(held, model[0].weight)
