import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunescope.core.spec import PruneSpec
from prunescope.measure import Accuracy, Effect
from prunescope.measure.effect import CHANGES, FATES
from prunescope.measure.states import accuracy, effect
from prunescope.session import Session
from prunescope.sources import demo_source


def effect_of(targets: list[int], was: list[int], now: list[int], names: tuple[str, ...] = ()) -> Effect:
    target, before, after = (torch.tensor(values) for values in (targets, was, now))
    accuracies = (
        Accuracy(int((answers == target).sum()), len(targets), answers) for answers in (before, after)
    )
    return Effect(torch.zeros(len(targets), 3), target, *accuracies, names)


def test_counts_by_class_worked_by_hand() -> None:
    effect = effect_of([0, 0, 0, 2, 2, 5], [0, 0, 1, 2, 2, 0], [0, 2, 0, 1, 1, 1])
    assert [(each.name, each.before, each.after, each.moved) for each in effect.classes] == [
        ("0", Accuracy(2, 3), Accuracy(2, 3), 0),
        ("2", Accuracy(2, 2), Accuracy(0, 2), 2),
        ("5", Accuracy(0, 1), Accuracy(0, 1), 0),
    ]


def test_examples_that_changed_come_first_and_say_how() -> None:
    effect = effect_of([0, 0, 1, 1, 2], [0, 0, 0, 1, 0], [0, 1, 1, 1, 1], ("cat", "dog", "ox"))
    assert [(each.index, each.target, each.before, each.after, each.fate) for each in effect.examples(9)] == [
        (1, "cat", "cat", "dog", "became wrong"),
        (2, "dog", "cat", "dog", "became right"),
        (4, "ox", "cat", "dog", "became wrong in another way"),
        (0, "cat", "cat", "cat", "right as before"),
        (3, "dog", "dog", "dog", "right as before"),
    ]
    assert [each.changed for each in effect.examples(9)] == [True, True, True, False, False]
    assert effect.sentence == (
        "3 of 5 answers changed: 1 became wrong, 1 became right, 1 became wrong in another way."
    )


def test_nothing_changed() -> None:
    effect = effect_of([0, 1], [0, 0], [0, 0])
    assert effect.sentence == "None of 2 answers changed."
    assert [each.fate for each in effect.examples(1)] == ["wrong as before"]


def test_names_that_are_the_same_are_still_two_classes() -> None:
    assert effect_of([0], [0], [1], ("cat", "cat")).examples(1)[0].changed


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=60))
def test_counts_and_order_hold_for_any_answers(rows: list[tuple[int, int, int]]) -> None:
    effect = effect_of(*(list(column) for column in zip(*rows, strict=True)))
    assert sum(each.before.right for each in effect.classes) == effect.before.right
    assert sum(each.after.right for each in effect.classes) == effect.after.right
    assert sum(each.after.total for each in effect.classes) == len(rows)
    examples = effect.examples(len(rows))
    assert sorted(each.index for each in examples) == list(range(len(rows)))
    places = [(FATES.index(each.fate), each.index) for each in examples]
    assert places == sorted(places)
    assert sum(each.fate in CHANGES for each in examples) == sum(was != now for _, was, now in rows)
    assert effect.changed == sum(was != now for _, was, now in rows)


def test_of_a_demo_against_torch() -> None:
    source = demo_source("cnn")
    session = Session(source)
    assert effect(session) is None
    spec = PruneSpec("block2.conv2.weight", "ln_structured", 0.75)
    preview = session.preview(session.resolve(spec))
    accuracy(session)
    accuracy(session, preview)
    found = effect(session, preview)
    model, (inputs, targets) = source.module, source.data
    with torch.no_grad():
        was = model(inputs).argmax(1)
        model.block2.conv2.weight.masked_fill_(~preview.mask, 0)
        now = model(inputs).argmax(1)
    for number, each in enumerate(found.classes):
        mine = targets == number
        assert each.before == Accuracy(int((was[mine] == number).sum()), int(mine.sum()))
        assert each.after == Accuracy(int((now[mine] == number).sum()), int(mine.sum()))
    assert found.changed == int((was != now).sum()) > 0


def test_counts_alone_have_no_effect() -> None:
    with pytest.raises(ValueError, match="must hold the answers, got only counts"):
        Effect(torch.zeros(2), torch.zeros(2), Accuracy(1, 2), Accuracy(1, 2))
