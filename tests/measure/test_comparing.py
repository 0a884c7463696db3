"""Two states side by side: laws of their agreement, and the same numbers as torch's."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.utils.prune as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.preview import rank
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.measure import Comparison
from prunescope.measure.compare import Choice, Comparing, chosen, compare, counterpart, measured
from prunescope.measure.costs.measuring import compressed_sizes, flops
from prunescope.measure.states import evaluate, known_accuracy
from prunescope.prune import Ranking
from prunescope.session import Session
from prunescope.sources import demo_source, module_source
from tests.support.networks import network


def session(steps: int = 0) -> Session:
    session = Session(module_source(network()))
    for seed in range(steps):
        spec = PruneSpec("0.weight", "random_unstructured", amount=9, seed=seed)
        session.apply(session.preview(session.resolve(spec)))
    return session


SPECS = st.builds(
    PruneSpec,
    layer=st.just("0.weight"),
    method=st.sampled_from(list(METHODS)),
    amount=st.floats(0, 1),
    n=st.sampled_from([1, 2, float("inf")]),
    dim=st.integers(0, 3),
    seed=st.integers(0, 5),
)


@settings(deadline=None, max_examples=60)
@given(a=SPECS, b=SPECS, steps=st.integers(0, 2))
def test_agreement_is_symmetric_and_counts_add_up(a: PruneSpec, b: PruneSpec, steps: int) -> None:
    explored = session(steps)
    seen, turned = compare(explored, a, b), compare(explored, b, a)
    assert seen.kept_by_both + seen.pruned_by_both + seen.only_a + seen.only_b == seen.weights == 108
    assert seen.pruned_by_both + seen.only_a == seen.a.pruned_weights
    assert seen.pruned_by_both + seen.only_b == seen.b.pruned_weights
    assert (seen.agreement, seen.jaccard) == (turned.agreement, turned.jaccard)
    assert (seen.only_a, seen.only_b) == (turned.only_b, turned.only_a)
    assert seen.jaccard is None or 0 <= seen.jaccard <= 1
    assert 0 <= seen.agreement <= 1
    kept = seen.kept_fractions
    size = 108 // len(seen.norms)
    assert float(kept[0].sum()) * size == pytest.approx(108 - seen.a.pruned_weights)
    assert float(kept[1].sum()) * size == pytest.approx(108 - seen.b.pruned_weights)


@settings(deadline=None, max_examples=30)
@given(spec=SPECS)
def test_whatever_is_compared_with_itself_agrees(spec: PruneSpec) -> None:
    seen = compare(session(1), spec, spec)
    same = 1.0 if seen.a.pruned_weights else None  # of nothing there is no share
    assert (seen.agreement, seen.jaccard, seen.only_a, seen.only_b) == (1.0, same, 0, 0)


def test_two_states_that_prune_nothing_share_nothing() -> None:
    spec = PruneSpec("0.weight", amount=0)
    seen = compare(session(), spec, spec)
    assert seen.jaccard is None
    assert seen.sentence == f"Neither prunes any of the {seen.weights:,} weights of 0.weight."


def test_the_counts_are_those_of_torch() -> None:
    explored = session()
    seen = compare(
        explored,
        PruneSpec("0.weight", "l1_unstructured", 0.3),
        PruneSpec("0.weight", "ln_structured", 2, n=1, dim=0),
    )
    a, b = network(), network()
    oracle.l1_unstructured(a[0], "weight", 0.3)
    oracle.ln_structured(b[0], "weight", 2, n=1, dim=0)
    a, b = a[0].weight_mask.bool(), b[0].weight_mask.bool()
    assert torch.equal(seen.a.mask, a)
    assert torch.equal(seen.b.mask, b)
    assert seen.only_a == int((~a & b).sum())
    assert seen.only_b == int((a & ~b).sum())
    assert seen.agreement == float((a == b).double().mean())
    assert seen.jaccard == int((~a & ~b).sum()) / int((~a | ~b).sum())
    assert torch.allclose(seen.norms, network()[0].weight.detach().flatten(1).norm(2, dim=1))
    assert [seen.a.title, seen.b.title] == ["L1 unstructured", "Ln structured"]
    assert seen.b.what == "ln_structured(amount=2, n=1, dim=0)"


def test_two_plans_on_a_layer() -> None:
    explored = session(2)
    explored.plans = explored.plans.keep("both", explored.history).keep("first", explored.history.at(1))
    explored.undo()
    before = explored.history
    seen = compare(explored, explored.plans["first"], explored.plans["both"], at=PruneSpec("0.weight", dim=1))
    assert (seen.a.title, seen.b.title) == ("first", "both")
    assert (seen.a.what, seen.b.what) == ("1 step", "2 steps")
    assert (seen.a.pruned_weights, seen.b.pruned_weights, seen.only_a, seen.only_b) == (9, 18, 0, 9)
    assert seen.dim == 1
    assert len(seen.norms) == 2
    assert explored.history is before
    elsewhere = compare(explored, explored.plans["both"], explored.history, at=PruneSpec("3.weight"))
    assert elsewhere.agreement == 1
    assert elsewhere.a.model_sparsity == 18 / explored.parameters


def test_steps_before_are_pruned_by_both() -> None:
    explored = session(1)
    seen = compare(
        explored, PruneSpec("0.weight", amount=0.5), PruneSpec("0.weight", "random_unstructured", 0.5)
    )
    earlier = ~explored.history.masks()["0.weight"]
    assert not (seen.a.mask | seen.b.mask)[earlier].any()
    assert seen.a.pruned_weights == seen.b.pruned_weights == 9 + 50


def shown(explored: Session, **fields: object):
    spec = replace(PruneSpec("0.weight"), **fields)
    return explored.preview(explored.resolve(spec, frozenset(fields)))


@pytest.mark.parametrize(
    ("fields", "choice", "amount"),
    [
        ({"amount": 0.3}, Choice(method="ln_structured"), 0.3),
        ({"amount": 1.0}, Choice(method="random_unstructured"), 1.0),
        ({"amount": 54}, Choice(method="random_unstructured"), 54),
        ({"amount": 54}, Choice(method="ln_structured"), 0.5),
        ({"amount": 3, "method": "ln_structured"}, Choice(method="l1_unstructured"), 0.5),
        ({"amount": 3, "method": "ln_structured"}, Choice(n=1), 3),
        ({"amount": 1, "method": "ln_structured", "dim": 1}, Choice(dim=0), 0.5),
        ({"amount": 54}, Choice(method="global_unstructured"), 0.5),
        ({"amount": 0.0, "prune_channels": (0, 1)}, Choice(method="random_unstructured"), 0.33),
    ],
)
def test_a_side_has_the_same_amount(fields: dict[str, object], choice: Choice, amount: float) -> None:
    explored = session()
    state = chosen(explored, choice, shown(explored, **fields), 1)
    assert (state.spec.amount, type(state.spec.amount)) == (amount, type(amount))
    assert not state.spec.by_hand


def test_choices() -> None:
    explored = session(1)
    explored.plans = explored.plans.keep("mine", explored.history)
    preview = shown(explored, amount=0.5)
    assert chosen(explored, Choice(), preview, 1) is preview
    assert chosen(explored, Choice(plan="mine"), preview, 1).done == explored.history.done
    assert chosen(explored, Choice(plan=""), preview, 1).done == ()
    assert Choice.of("random_structured") == Choice(method="random_structured")
    assert Choice.of("mine") == Choice(plan="mine")
    assert Choice.of({"n": 1, "dim": 1}) == Choice(n=1, dim=1)
    for wrong in (7, None, {"amount": 1}, [1]):
        with pytest.raises(RequestError, match="`compare` takes a name, or some of method, n, dim"):
            Choice.of(wrong)
    with pytest.raises(RequestError, match="has none named 'yours': there are 'mine'"):
        chosen(explored, Choice(plan="yours"), preview, 1)
    with pytest.raises(RequestError, match="`method` must be one of"):
        chosen(explored, Choice(method="magic"), preview, 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_other_side_is_chance_unless_told_otherwise(method: str) -> None:
    other = METHODS[counterpart(method).method]
    assert other.structured == METHODS[method].structured
    assert (other.scores is None) != (METHODS[method].scores is None)
    preview = shown(session(), method=method)
    assert Comparing().other(preview) == counterpart(method)
    assert Comparing(b=Choice(n=1)).other(preview) == Choice(n=1)


def test_what_cannot_be_compared_gets_a_sentence() -> None:
    explored = session(1)
    with pytest.raises(RequestError, match="`at` must give the layer"):
        compare(explored, explored.history, explored.history)
    with pytest.raises(RequestError, match="`layer` must be one for both, got 0.weight and 3.weight"):
        compare(explored, PruneSpec("0.weight"), PruneSpec("3.weight"))
    with pytest.raises(RequestError, match="`amount` must be"):
        compare(explored, PruneSpec("0.weight", amount=2.0), PruneSpec("0.weight"))


def test_moving_the_amount_ranks_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    explored = session()
    ranked: list[str] = []

    def counted(spec: PruneSpec, tensors: Sequence[PrunableTensor], scores: dict[str, Tensor]) -> Ranking:
        ranked.append(spec.method)
        return rank(spec, tensors, scores)

    monkeypatch.setattr("prunescope.session.rankings.rank", counted)
    for amount in (0.1, 0.2, 0.3):
        preview = shown(explored, amount=amount)
        compare(explored, preview, chosen(explored, Choice(method="random_unstructured"), preview, 2))
    assert ranked == ["l1_unstructured", "random_unstructured"]


def test_what_can_be_measured_is_measured_for_both_sides() -> None:
    explored = Session(demo_source("mlp"))
    spec = replace(explored.first_spec, method="ln_structured", amount=0.8)
    preview = explored.preview(explored.resolve(spec))
    seen = compare(explored, preview, chosen(explored, Choice(method="l1_unstructured"), preview, 2))
    assert [row[1:] for row in seen.rows[-4:]] == [("…", "…")] * 4
    *_, known = measured(explored, seen)
    assert known_accuracy(explored, preview) == known.a.measure
    assert known.a.measure.fraction < known.b.measure.fraction
    assert known_accuracy(explored, seen.b.variant) == known.b.measure
    assert known.a.flops == known.b.flops == flops(explored).total
    assert known.a.flops_cut > known.b.flops_cut
    for side in (known.a, known.b):
        *_, sizes = compressed_sizes(explored, side.variant)
        assert side.file == sizes.permanent
    *_, accuracy, file, operations, cut = known.rows
    assert accuracy.name == "Held-out accuracy (95 %)"
    assert accuracy.a.startswith(f"{100 * known.a.measure.fraction:.1f} % (")
    assert file.b == f"{known.b.file / 1024:,.1f} KiB"
    assert (operations.a, operations.b) == (f"{known.a.flops:,}",) * 2
    assert cut.a == f"at most {known.a.flops - known.a.flops_cut:,}"


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on() -> None:
    data = torch.zeros(4, 7), torch.zeros(4, dtype=torch.int64)
    explored = Session(module_source(nn.Linear(5, 3), data))
    *_, seen = measured(explored, compare(explored, PruneSpec("weight"), PruneSpec("weight", amount=0.5)))
    assert set(seen.problems) == {"metric", "flops"}
    assert "could not be evaluated" in seen.problems["metric"]
    assert seen.a.file > 0
    assert [row.a for row in seen.rows if row.name.startswith(("Held", "FLOPs", "The same"))] == [
        "not measured"
    ] * 3
    bare = Session(module_source(nn.Linear(5, 3)))
    assert compare(bare, PruneSpec("weight"), PruneSpec("weight")).measures == {"file"}


def test_a_notebook_shows_a_table_without_a_name_breaking_out_of_it() -> None:
    explored = session(1)
    explored.plans = explored.plans.keep("<b>bold</b>", explored.history)
    seen = compare(explored, explored.plans["<b>bold</b>"], PruneSpec("0.weight"))
    html = seen._repr_html_()
    assert isinstance(seen, Comparison)
    assert "A · &lt;b&gt;bold&lt;/b&gt;" in html
    assert "<b>" not in html
    assert html.count("<tr>") == 1 + len(seen.rows)


@pytest.mark.parametrize(
    ("a", "b", "titles"),
    [
        ({"n": 1}, {"n": 2}, ["Ln structured, n=1", "Ln structured, n=2"]),
        ({"n": 1, "dim": 1}, {"n": 2}, ["Ln structured, n=1, dim=1", "Ln structured, n=2, dim=0"]),
        ({"amount": 0.5}, {}, ["Ln structured, amount=0.5", "Ln structured, amount=0.3"]),
        ({}, {"seed": 3}, ["Ln structured", "Ln structured"]),
    ],
)
def test_two_of_one_method_are_told_apart(a: dict[str, int], b: dict[str, int], titles: list[str]) -> None:
    usual = PruneSpec("0.weight", "ln_structured", 0.3)
    seen = compare(session(), replace(usual, **a), replace(usual, **b))
    assert [seen.a.title, seen.b.title] == titles


def test_two_evaluations_may_take_turns_on_one_twin() -> None:
    class Reads(nn.Module):
        """Uses a pruned weight without calling its layer."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(5, 3, bias=False)
            oracle.l1_unstructured(self.fc, "weight", 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs @ self.fc.weight.T

    model = Reads()
    inputs = torch.randn(600, 5, generator=torch.Generator().manual_seed(0))
    explored = Session(module_source(model, (inputs, model(inputs).argmax(1))))
    specs = [PruneSpec("fc.weight", amount=0.9), PruneSpec("fc.weight", "random_unstructured", 0.9)]
    previews = [explored.preview(explored.resolve(spec)) for spec in specs]
    for _ in zip(*(evaluate(explored, preview) for preview in previews), strict=True):
        pass
    for preview in previews:
        answers = (inputs @ (model.fc.weight_orig * preview.mask).T).argmax(1)
        right = int((answers == model(inputs).argmax(1)).sum())
        assert known_accuracy(explored, preview).right == right


def test_a_plan_of_a_layer_that_has_another_size_now_gets_a_sentence() -> None:
    model = network()
    explored = Session(module_source(model))
    explored.apply(explored.preview(explored.resolve(PruneSpec("3.weight", amount=2))))
    plan = explored.history
    explored.reset()
    model[3] = nn.Linear(5, 4)
    with pytest.raises(RequestError, match="3.weight is 4×5 now, not when it was pruned"):
        compare(explored, plan, PruneSpec("3.weight"))
    with pytest.raises(RequestError, match="3.weight is 4×5 now, not when it was pruned"):
        compare(explored, plan, PruneSpec("0.weight"))
