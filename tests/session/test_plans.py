"""Kept plans: names that are checked, and histories that come back as they were."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.session import Session
from prunescope.session.history import History
from prunescope.session.plans import LONGEST_NAME, MOST_PLANS, Plans
from prunescope.sources import module_source


def history(steps: int) -> History:
    torch.manual_seed(0)
    session = Session(module_source(nn.Linear(8, 4)))
    for _ in range(steps):
        session.apply(session.preview(session.resolve(PruneSpec("weight", amount=2))))
    return session.history


THREE = history(3)


def test_a_plan_is_the_steps_that_were_carried_out() -> None:
    plans = Plans().keep("two of three", THREE.at(2))
    assert plans["two of three"].steps == THREE.steps[:2]
    assert plans["two of three"].done == THREE.steps[:2]


def test_plans_are_renamed_in_their_place_and_removed() -> None:
    plans = Plans().keep("a", THREE.at(1)).keep("b", THREE.at(2)).keep("c", THREE)
    renamed = plans.rename("b", " second ")
    assert list(renamed) == ["a", "second", "c"]
    assert renamed["second"] is plans["b"]
    assert list(plans) == ["a", "b", "c"]
    assert list(renamed.rename("a", "a")) == ["a", "second", "c"]
    assert list(renamed.remove("second")) == ["a", "c"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "`plans` must have names of 1 to 60 characters on one line, got ''."),
        ("   ", "got '   '."),
        ("two\nlines", r"got 'two\nlines'."),
        ("x" * 10_000, "got a longer one."),
        (7, "got 7."),
        (None, "got None."),
        ("l1_unstructured", "`plans` must not be named like a method, got 'l1_unstructured'."),
        ("taken", "`plans` already has 'taken': choose another name."),
        ("  taken ", "`plans` already has 'taken': choose another name."),
    ],
)
def test_a_name_that_will_not_do_gets_a_sentence(name: str, says: str) -> None:
    plans = Plans().keep("taken", THREE).keep("other", THREE)
    with pytest.raises(RequestError) as kept:
        plans.keep(name, THREE)
    assert says in str(kept.value)
    assert kept.value.parameter == "plans"
    with pytest.raises(RequestError) as renamed:
        plans.rename("other", name)
    assert says in str(renamed.value)


def test_what_is_not_there_and_what_is_too_much() -> None:
    with pytest.raises(RequestError, match="keep applied steps, and there are none"):
        Plans().keep("empty", THREE.at(0))
    plans = Plans().keep("a", THREE)
    for act in (
        lambda: plans["b"],
        lambda: plans.remove("b"),
        lambda: plans.rename("b", "c"),
        lambda: plans[["a"]],
    ):
        with pytest.raises(RequestError, match=r"`plans` has none named .*: there are 'a'\."):
            act()
    for number in range(MOST_PLANS - 1):
        plans = plans.keep(str(number), THREE)
    with pytest.raises(RequestError, match="at most 50: remove one first"):
        plans.keep("one more", THREE)


@settings(deadline=None)
@given(names=st.lists(st.text(max_size=LONGEST_NAME + 5) | st.sampled_from(list(METHODS)), max_size=6))
def test_any_name_is_kept_once_or_refused(names: list[str]) -> None:
    plans = Plans()
    for name in names:
        before = list(plans)
        try:
            plans = plans.keep(name, THREE)
        except RequestError:
            assert list(plans) == before
        else:
            assert list(plans) == [*before, name.strip()]
            assert name.strip().isprintable()
