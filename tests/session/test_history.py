"""Steps: any sequence of apply, undo, redo, jump and reset keeps masks, weights and history consistent."""

from dataclasses import replace

import pytest
import torch
import torch.nn.utils.prune as oracle
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.export import code, load_plan, plan, pruned_model
from prunescope.measure import Accuracy
from prunescope.measure.costs.measuring import silencing
from prunescope.measure.states import accuracy, known_accuracy
from prunescope.session import Session
from prunescope.sources import Source, demo_source, module_source
from tests.support.networks import network


def step(session: Session, **changes: object) -> None:
    wanted = replace(session.first_spec, **changes)
    session.apply(session.preview(session.resolve(wanted, frozenset(changes))))


def bits(tensor: torch.Tensor) -> bytes:
    """Return the tensor to the last bit; to ``torch.equal``, zero and minus zero are the same."""
    return tensor.detach().numpy().tobytes()


class Exploration(RuleBasedStateMachine):
    """The session beside a plain model of it: a list of all masks after each step, and a place in it."""

    @initialize()
    def start(self) -> None:
        self.model = network(norm=True)
        self.state = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.session = Session(Source(self.model, "network", example=torch.ones(2, 2, 3, 3)))
        self.places: list[dict[str, torch.Tensor]] = [{}]
        self.here = 0

    @rule(
        layer=st.sampled_from(["0.weight", "0.bias", "1.bias", "4.weight"]),
        method=st.sampled_from(list(METHODS)),
        amount=st.sampled_from([0.0, 0.3, 0.5, 1.0, 1, 2]),
        dim=st.sampled_from([0, 1]),
        seed=st.integers(0, 3),
        by_hand=st.sampled_from([(), (), (0,), (1, 3)]),
    )
    def apply(
        self, layer: str, method: str, amount: float, dim: int, seed: int, by_hand: tuple[int, ...]
    ) -> None:
        spec = PruneSpec(layer, method, amount, dim=dim, seed=seed, prune_channels=by_hand)
        asked = frozenset({"layer", "method", "amount"})
        try:
            preview = self.session.preview(self.session.resolve(spec, asked))
        except RequestError:
            return  # A bias has no channels; no such count is left.
        before = len(self.session.history.done)
        self.session.apply(preview)
        assert len(self.session.history.steps) == before + 1
        self.then({name: mask.clone() for name, mask in preview.masks.items()})

    @rule(layer=st.sampled_from(["0.weight", "4.weight"]))
    def prune_a_channel(self, layer: str) -> None:
        self.apply(layer, "ln_structured", 1, 0, 0, ())

    def then(self, masks: dict[str, torch.Tensor]) -> None:
        self.places = [*self.places[: self.here + 1], {**self.places[self.here], **masks}]
        self.here += 1

    @rule()
    def silence(self) -> None:
        masks = {}
        for layer, others in {"0": ("0.bias", "1.weight", "1.bias"), "4": ("4.bias",)}.items():
            mask = self.places[self.here].get(f"{layer}.weight")
            dead = None if mask is None else ~mask.flatten(1).any(1)
            for name in others if dead is not None and dead.any() else ():
                before = self.places[self.here].get(name, torch.ones(len(dead), dtype=torch.bool))
                if (before & dead).any():
                    masks[name] = before & ~dead
        if masks:
            self.session.silence(silencing(self.session))
            self.then(masks)
        else:
            with pytest.raises(RequestError, match="^`silence`: "):
                silencing(self.session)

    @rule()
    def undo(self) -> None:
        if self.here == 0:
            with pytest.raises(RequestError, match="nothing to undo"):
                self.session.undo()
            return
        self.session.undo()
        self.here -= 1

    @rule()
    def redo(self) -> None:
        if self.here == len(self.places) - 1:
            with pytest.raises(RequestError, match="nothing to redo"):
                self.session.redo()
            return
        self.session.redo()
        self.here += 1

    @rule(data=st.data())
    def jump(self, data: st.DataObject) -> None:
        self.here = data.draw(st.integers(0, len(self.places) - 1))
        self.session.jump(self.here)

    @rule()
    def reset(self) -> None:
        self.session.reset()
        self.here = 0

    @invariant()
    def masks_and_history_agree(self) -> None:
        if not hasattr(self, "session"):
            return
        session, expected = self.session, self.places[self.here]
        assert session.history.position == self.here
        masks = session.history.masks()
        assert masks.keys() == expected.keys()
        assert all(torch.equal(masks[name], expected[name]) for name in masks)
        for name in session.tensors:
            tensor = session.tensor(name)
            assert bits(tensor.weight) == bits(self.state[name])
            mask = expected.get(name)
            if mask is None:
                assert bits(tensor.effective) == bits(self.state[name])
            assert (tensor.default_mask is None) == (mask is None)
            assert mask is None or torch.equal(tensor.default_mask, mask)

    @invariant()
    def the_model_is_as_given(self) -> None:
        if hasattr(self, "session"):
            now = self.model.state_dict()
            assert now.keys() == self.state.keys()
            assert all(bits(now[name]) == bits(self.state[name]) for name in now)

    @precondition(lambda self: self.here < 4)
    @rule(permanent=st.booleans())
    def take_home(self, permanent: bool) -> None:
        model = pruned_model(self.session, permanent=permanent)
        for name, weight in self.state.items():
            mask = self.places[self.here].get(name)
            layer = model.get_submodule(name.rpartition(".")[0])
            shown = getattr(layer, name.rpartition(".")[2])
            assert torch.equal(shown, weight if mask is None else torch.where(mask, weight, 0))

    @precondition(lambda self: self.here < 4)
    @rule(engine=st.sampled_from(["torch", "prunescope"]))
    def take_home_by_other_ways(self, engine: str) -> None:
        names: dict[str, object] = {}
        exec(code(self.session, engine=engine), names)
        by_code = Session(module_source(names["apply_pruning"](network(norm=True))))
        by_plan = Session(module_source(network(norm=True)))
        load_plan(by_plan, plan(self.session))
        for name, mask in self.places[self.here].items():
            assert torch.equal(by_plan.history.masks()[name], mask)
            carried = by_code.tensor(name).default_mask
            assert bool(mask.all()) if carried is None else torch.equal(carried, mask)


TestExploration = pytest.mark.filterwarnings("ignore:global pruning left almost nothing")(
    Exploration.TestCase
)
TestExploration.settings = settings(max_examples=150, stateful_step_count=14, deadline=None)


def test_half_and_half_is_three_quarters_and_the_step_says_so() -> None:
    session = Session(module_source(nn.Linear(8, 2, bias=False)))
    step(session, amount=0.5)
    step(session, amount=0.5)
    first, second = session.history.done
    assert first.effect == "pruned 8 of 16 weights; sparsity 50.0 %"
    assert second.effect == (
        "pruned 4 of the 8 remaining weights (50.0 % of what remained); sparsity 50.0 % → 75.0 %"
    )
    assert second.title == "l1_unstructured(amount=0.5)"


def test_a_global_step_prunes_as_torch_does() -> None:
    model, other = network(norm=True), network(norm=True)
    session = Session(module_source(model))
    step(session, layer="4.weight", amount=0.5)
    step(session, method="global_unstructured", amount=0.6)
    oracle.l1_unstructured(other[4], "weight", amount=0.5)
    oracle.global_unstructured(
        [(other[0], "weight"), (other[4], "weight")], oracle.L1Unstructured, amount=0.6
    )
    masks = session.history.masks()
    assert torch.equal(masks["0.weight"], other[0].weight_mask.bool())
    assert torch.equal(masks["4.weight"], other[4].weight_mask.bool())
    assert session.history.done[1].where == "2 tensors"
    assert "0.bias" not in masks


def test_a_global_preview_counts_the_weights_of_the_model() -> None:
    session = Session(module_source(network(norm=True)))
    preview = session.preview(
        session.resolve(replace(session.first_spec, method="global_unstructured", amount=30))
    )
    assert (preview.units, preview.pruned_units, preview.unit_name) == (132, 30, "weights of the model")
    assert sum(int((~mask).sum()) for mask in preview.masks.values()) == 30
    assert session.model_sparsity(preview) == 30 / session.parameters
    with pytest.raises(RequestError, match=r"a count from 0 to 132 \(weights of the model\), got 133"):
        session.resolve(
            replace(session.first_spec, method="global_unstructured", amount=133), frozenset({"amount"})
        )


def test_a_bias_shown_beside_a_global_method_keeps_all() -> None:
    session = Session(module_source(network(norm=True)))
    preview = session.preview(session.resolve(PruneSpec("0.bias", "global_unstructured", 0.9)))
    assert bool(preview.mask.all())


def test_accuracy_of_steps_is_that_of_the_pruned_model() -> None:
    source = demo_source("mlp")
    session = Session(source)
    step(session, method="ln_structured", amount=0.5)
    step(session, method="global_unstructured", amount=0.5)
    inputs, targets = source.data
    with torch.no_grad():
        answers = pruned_model(session)(inputs).argmax(1)
    right = int((answers == targets).sum())
    assert accuracy(session, session.applied) == Accuracy(right, len(targets))
    assert torch.equal(accuracy(session, session.applied).answers, answers)
    assert accuracy(session) != accuracy(session, session.applied)


def test_a_measured_preview_is_not_measured_again_once_applied() -> None:
    session = Session(demo_source("mlp"))
    preview = session.preview(session.resolve(replace(session.first_spec, amount=0.9)))
    measured = accuracy(session, preview)
    session.apply(preview)
    assert known_accuracy(session, session.applied) is measured


def test_a_preview_from_before_a_step_is_refused() -> None:
    session = Session(module_source(network(norm=True)))
    preview = session.preview(session.resolve(session.first_spec))
    session.apply(preview)
    with pytest.raises(RequestError, match="the model has changed since this preview"):
        session.apply(preview)
    assert len(session.history.steps) == 1


@pytest.mark.parametrize("position", [-1, 2, 1.0, True, "1"])
def test_no_such_place_in_the_history(position: object) -> None:
    session = Session(module_source(network(norm=True)))
    step(session)
    with pytest.raises(RequestError, match="`steps` must be a whole number from 0 to 1, got"):
        session.jump(position)
    assert session.history.position == 1


def test_steps_go_on_from_pruning_the_model_carries() -> None:
    model = network(norm=True)
    oracle.l1_unstructured(model[4], "weight", amount=0.5)
    session = Session(module_source(model))
    step(session, layer="4.weight", amount=0.5)
    home = pruned_model(session)
    assert int(home[4].weight_mask.sum()) == 6
    session.reset()
    assert torch.equal(session.tensor("4.weight").default_mask, model[4].weight_mask.bool())
