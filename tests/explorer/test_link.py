"""Links: the whole state in an address, and no harm from one that was tampered with."""

import json
import math
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.explorer import dashboard
from prunescope.explorer.state.link import CONTROLS, from_query
from prunescope.figures import View
from prunescope.measure.compare import Choice, Comparing
from tests.support.networks import network


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(network())
    yield explorer
    explorer.close()


STATES = [
    {"amount": 1},
    {"amount": 1.0},
    {"amount": 0.1 + 0.2},
    {"layer": "3.weight", "method": "ln_structured", "n": -math.inf, "dim": 1, "amount": 2},
    {"layer": "3.weight", "method": "ln_structured", "n": 0.5},
    {"layer": "0.weight", "method": "ln_structured", "n": "nuc"},
    {"method": "random_unstructured", "seed": 2**53 - 1},
    {"method": "global_unstructured", "amount": 90},
    {"view": View(heatmap="weights", scale="log")},
    {"comparing": Comparing(shown=True)},
    {"comparing": Comparing(Choice(plan="first"), Choice(method="ln_structured", n=-math.inf), shown=True)},
    {"comparing": Comparing(Choice(plan=""), Choice(plan="& = ? <é>"), shown=True)},
]


def compared(explorer: Explorer) -> object:
    seen = explorer.snapshot.comparison
    return seen and (seen.rows, seen.sentence)


@pytest.mark.parametrize("state", STATES)
def test_a_link_shows_the_same_to_whoever_opens_it(explorer: Explorer, state: dict[str, object]) -> None:
    explorer.apply()
    explorer.keep_plan("first")
    explorer.request(layer="3.weight", method="random_structured", dim=1, seed=8, amount=1)
    explorer.apply()
    explorer.keep_plan("& = ? <é>")
    explorer.request(layer="0.weight", method="l1_unstructured", amount=0.5)
    assert explorer.request(**state) is None
    other = explore(network())
    try:
        assert other.open_link(explorer.query) is None
        assert other.spec == explorer.spec
        assert torch.equal(other.preview.mask, explorer.preview.mask)
        masks, theirs = explorer.state.session.history.masks(), other.state.session.history.masks()
        assert masks.keys() == theirs.keys()
        assert all(torch.equal(masks[name], theirs[name]) for name in masks)
        assert other.view == explorer.view
        assert other.snapshot.comparing == explorer.snapshot.comparing
        assert compared(other) == compared(explorer)
        assert list(other.plans) == list(explorer.plans)
        for name, kept in explorer.plans.items():
            mine, theirs = kept.masks(), other.plans[name].masks()
            assert all(torch.equal(mine[layer], theirs[layer]) for layer in mine)
        assert other.query == explorer.query
    finally:
        other.close()


def test_a_link_carries_what_was_silenced() -> None:
    explorer, other = explore(), explore()
    try:
        explorer.request(method="ln_structured", amount=3)
        explorer.apply()
        explorer.silence()
        assert other.open_link(explorer.query) is None
        masks, theirs = explorer.state.session.history.masks(), other.state.session.history.masks()
        assert (
            masks.keys()
            == theirs.keys()
            == {
                "block2.conv2.weight",
                "block2.norm2.weight",
                "block2.norm2.bias",
            }
        )
        assert all(torch.equal(masks[name], theirs[name]) for name in masks)
        assert other.query == explorer.query
    finally:
        explorer.close()
        other.close()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("amount=lots", "`amount` must be a float in [0, 1] or a count ≥ 0, got 'lots'."),
        ("amount=nan", "`amount` must be"),
        ("amount=1e999", "`amount` must be"),
        ("dim=7", "`dim` must be between"),
        ("dim=x", "`dim` must be a whole number, got 'x'."),
        ("seed=-1", "`seed` must be a whole number from 0"),
        ("n=many", "`n` must be"),
        ("method=__import__", "`method` must be one of"),
        ("layer=<script>alert(1)</script>", "`layer` must be one of"),
        ("model=../../etc/passwd", "`model` must be one of"),
        ("hide=everything", "`hide` must list some of model, layer"),
        ("steps=[[[", "`steps` must be a JSON list of steps."),
        ("steps=" + "[" * 50_000, "`steps` must be a JSON list of steps."),
        ('steps=[{"layer":"0.weight","amount":7.5}]', "step 1 cannot be applied: `amount` must be"),
        ("steps=[1]", "contains an invalid step"),
        ('steps=[{"method":"silence","layer":"0.weight"}]', "contains an invalid step"),
        (
            'steps=[{"method":"silence","layer":"0.weight","channels":{"0.bias":[9]}}]',
            "only entries of a vector are masked one by one; 0.bias is 6, and asked were 1 entries from 9",
        ),
        ('steps=[{"layer":["0"]}]', "`layer` must be one of"),
        ("view=heatmap", "`heatmap` of a view must be one of mask, weights, scores, got ''."),
        ("view=colour:red", "`view` must list some of heatmap, "),
        ("compare=7", "`compare` must be a JSON list of two sides."),
        ("compare=[null,null]", "`compare` must be a JSON list of two sides."),
        ("compare=" + "[" * 50_000, "`compare` must be a JSON list of two sides."),
        ('compare=[{},{"amount":1}]', "some of method, n, dim, group, seed, criterion, plan"),
        ('compare=[{},{"plan":"mine"}]', "`plans` has none named 'mine': there are none yet."),
        ('compare=[{},{"method":["l1"]}]', "`method` must be one of"),
        ('compare=[{"n":"many"},{}]', "`n` must be"),
        ("plans=[]", "`plans` must be a JSON object with a list of steps for each name."),
        ('plans={"a":7}', "`plans` must be a JSON object with a list of steps for each name."),
        ('plans={"a":[]}', "`plans` keep applied steps, and there are none"),
        ('plans={"":[{"layer":"0.weight"}]}', "`plans` must have names of 1 to 60 characters"),
        ('plans={"a":[{"layer":"9"}]}', "step 1 cannot be applied: `layer` must be one of"),
        ("amount=" + "9" * 200_000, "`link` must be at most 100,000 characters, got 200,007."),
        ("amount=" + "9" * 5_000, "must be"),
    ],
)
def test_a_link_that_does_not_fit_changes_nothing(explorer: Explorer, query: str, says: str) -> None:
    explorer.apply()
    before = explorer.query
    problem = explorer.open_link(query)
    assert problem is not None
    assert str(problem).startswith("The link could not be opened: ")
    assert says in str(problem)
    assert explorer.query == before
    shown = explorer.screen.readout.problem
    assert shown.layout.display is None
    assert "<script>" not in shown.value
    assert explorer.request(amount=0.5) is None
    assert shown.layout.display == "none"


VALUES = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4).map(json.dumps),
    st.lists(
        st.dictionaries(st.sampled_from(["layer", "method", "amount", "n", "dim", "seed", "x"]), st.text()),
        max_size=2,
    ).map(json.dumps),
    st.lists(
        st.none()
        | st.dictionaries(
            st.sampled_from(["method", "n", "dim", "seed", "plan", "x"]),
            st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
            max_size=2,
        ),
        max_size=2,
    ).map(json.dumps),
    st.dictionaries(
        st.text(max_size=5),
        st.just([{"layer": "0.weight", "amount": 2}]) | st.lists(st.integers(), max_size=2),
    ).map(json.dumps),
    st.dictionaries(st.sampled_from(["heatmap", "scale", "x"]), st.sampled_from(["weights", "log", "x"])).map(
        lambda fields: ",".join(f"{name}:{value}" for name, value in fields.items())
    ),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from([*CONTROLS, "view", "compare", "plans", "hide", "lock", "token", "x"]), VALUES
    )
)
def test_no_link_does_harm(shared: Explorer, values: dict[str, str]) -> None:
    problem = shared.open_link(urlencode(values))
    assert problem is None or isinstance(problem, RequestError)
    assert shared.open_link(shared.query) is None


@pytest.fixture(scope="module")
def shared() -> Iterator[Explorer]:
    explorer = explore(network())
    yield explorer
    explorer.close()


def test_parameters_of_others_are_passed_over() -> None:
    assert from_query("token=abc&voila=1&amount=2").changes == {"amount": 2}
    assert from_query("").changes == {}
    assert from_query("").steps is None


def hidden(widget: object) -> bool:
    return "ps-hidden" in widget._dom_classes


def test_a_teacher_hides_and_locks() -> None:
    explorer = explore(network(), hide=("seed", "steps"), lock=["method"])
    try:
        controls = explorer.screen.controls
        assert hidden(controls.seed)
        assert hidden(explorer.screen.steps.bar)
        assert not hidden(controls.layer)
        assert controls.method.disabled
        assert not controls.layer.disabled
        explorer.method = "ln_structured"
        assert controls.method.disabled
        assert "hide=seed%2Csteps&lock=method" in explorer.query
        assert explorer.open_link("lock=amount,steps") is None
        assert not hidden(controls.seed)
        assert not controls.method.disabled
        assert controls.amount.disabled
        assert controls.percent_slider.disabled
        assert all(button.disabled for button in explorer.screen.steps.buttons.values())
    finally:
        explorer.close()


def test_what_is_hidden_leaves_no_frame_behind() -> None:
    explorer = explore(network(), hide=("steps", "compare"))
    try:
        assert explorer.screen.tabs.titles == ("Network", "Recover", "Costs", "Export")
        every = "keep_channels,prune_channels,view,steps,network,recover,compare,costs,takeaway"
        assert explorer.open_link(f"hide=layer,method,criterion,n,dim,seed,{every}") is None
        assert all(map(hidden, (explorer.screen.side, explorer.screen.view.widget, explorer.screen.tabs)))
        assert explorer.open_link("hide=layer,method,criterion,n,dim,seed") is None
        assert explorer.screen.tabs.titles == ("Steps", "Network", "Recover", "Compare", "Costs", "Export")
        panels = (
            explorer.screen.steps.widget,
            explorer.screen.panels["network"].widget,
            explorer.screen.panels["recover"].widget,
            explorer.screen.panels["compare"].widget,
            explorer.screen.costs.widget,
        )
        assert explorer.screen.tabs.children == (*panels, explorer.screen.panels["export"].widget)
        assert not any(map(hidden, (explorer.screen.side, explorer.screen.view.widget, explorer.screen.tabs)))
    finally:
        explorer.close()


def test_what_cannot_be_locked_is_said() -> None:
    with pytest.raises(RequestError, match="`lock` must list some of model, .* steps, got 'view'"):
        explore(network(), lock=["view"])


def test_what_cannot_be_hidden_is_said() -> None:
    with pytest.raises(RequestError, match="`hide` must list some of model, layer, .* got 'picture'"):
        explore(network(), hide=["picture"])


def test_only_a_page_of_its_own_carries_the_state_in_its_address(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explorer.screen.page.query == ""
    monkeypatch.setenv("QUERY_STRING", "model=mlp&amount=3&token=secret")
    page = dashboard()
    try:
        assert (page.model, page.amount) == ("mlp", 3)
        assert page.screen.page.query == page.query
        assert "token" not in page.query
        page.amount = 0.5
        assert "amount=0.5" in page.screen.page.query
    finally:
        page.close()
