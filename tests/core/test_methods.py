"""The table of methods: a row from outside works in the session, in links, in pictures and in code."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunescope import explore, prune
from prunescope.core.knobs import KNOBS
from prunescope.core.methods import METHODS, Context, Method, register
from prunescope.core.scores import Scores
from prunescope.core.tensor import PrunableTensor
from prunescope.export import code, load_plan, plan, pruned_model
from prunescope.figures import PruningFigure, View, draw_histogram
from prunescope.session import Session
from prunescope.sources import module_source


class FarthestFromOne(prune.L1Unstructured):
    """Prunes the weights nearest to one: the lowest |w - 1|."""

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> prune.Ranking:
        scores = (t - 1).abs() if importance_scores is None else importance_scores
        return super().rank(t, default_mask, scores)


def nearest_to_one(module: nn.Module, name: str, amount: int | float) -> nn.Module:
    weight = getattr(module, name)
    prune.l1_unstructured(module, name, amount, importance_scores=(weight.detach() - 1).abs())
    return module


def _distances(tensor: PrunableTensor, context: Context) -> Scores:
    return Scores("distance from one", "|w − 1|", tensor, (tensor,), source=lambda each: each.weight - 1)


@pytest.fixture
def outside() -> Iterator[Method]:
    method = register(
        Method(
            "nearest_to_one",
            "Nearest to one",
            lambda spec: FarthestFromOne(spec.amount),
            _distances,
            function=nearest_to_one,
        )
    )
    yield method
    del METHODS[method.key]


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


def test_a_method_from_outside_prunes_and_is_pictured_by_its_own_scores(outside: Method) -> None:
    session = Session(module_source(model()))
    spec = replace(session.first_spec, method=outside.key, amount=0.4)
    preview = session.preview(session.resolve(spec))
    distances = (preview.tensor.weight - 1).abs().flatten()
    assert preview.threshold == pytest.approx(float(distances.sort().values[11]))
    assert torch.equal(preview.mask.flatten(), distances > preview.threshold)
    ax = draw_histogram(preview)
    assert ax.get_xlabel() == "distance from one"
    assert preview.scores is not None
    assert preview.scores.at((0, 0)) == pytest.approx(float(distances[0]))
    picture = PruningFigure()
    picture.update(preview, View(heatmap="scores"))
    picture.point(picture.place_at(picture.heatmap, 0, 0))
    assert f"score {float(distances[0]):.3g}" in picture.reading()[0]


def test_a_method_from_outside_goes_through_plan_model_and_code(outside: Method) -> None:
    session = Session(module_source(model()))
    spec = replace(session.first_spec, method=outside.key, amount=7)
    step = session.apply(session.preview(session.resolve(spec)))
    assert step.title == "nearest_to_one(amount=7)"
    again = Session(module_source(model()))
    load_plan(again, plan(session))
    assert torch.equal(again.history.masks()["0.weight"], step.masks["0.weight"])
    assert torch.equal(pruned_model(session)[0].weight_mask.bool(), step.masks["0.weight"])
    for engine in ("torch", "prunescope"):
        script = code(session, engine=engine)
        assert f"{__name__}.nearest_to_one(model.get_submodule('0'), 'weight', amount=7)" in script
        names: dict[str, object] = {}
        exec(script, names)
        pruned = names["apply_pruning"](model())  # type: ignore[operator]
        assert torch.equal(pruned[0].weight_mask.bool(), step.masks["0.weight"])


def test_a_method_from_outside_is_offered_and_linked(outside: Method) -> None:
    explorer = explore(model(), method=outside.key, amount=0.4)
    other = explore(model())
    try:
        assert "method=nearest_to_one" in explorer.query
        assert other.open_link(explorer.query) is None
        assert other.spec == explorer.spec
        assert torch.equal(other.preview.mask, explorer.preview.mask)
    finally:
        explorer.close()
        other.close()


def test_a_row_is_refused_that_is_there_or_turns_what_no_spec_has() -> None:
    row = METHODS["l1_unstructured"]
    with pytest.raises(ValueError, match="'l1_unstructured', which is a method already"):
        register(row)
    with pytest.raises(ValueError, match="`knobs` must be some of n, dim, group, seed.*, got 'speed'"):
        register(replace(row, key="new", knobs=(replace(KNOBS["seed"], name="speed"),)))


def test_the_histogram_of_a_pooled_method_is_about_the_pool() -> None:
    session = Session(module_source(model()))
    spec = replace(session.first_spec, method="global_unstructured", amount=0.3)
    preview = session.preview(session.resolve(spec))
    assert preview.scores is not None
    counts, edges = preview.scores.counts(128)
    every = torch.cat([tensor.weight.flatten().abs() for tensor in session.pool()]).numpy()
    assert counts.sum() == every.size == 50
    assert np.array_equal(counts, np.histogram(every, edges)[0])
    ax = draw_histogram(preview)
    assert ax.get_title() == "magnitude |w| in the model"
    assert ax.get_ylabel() == "weights of the model"
