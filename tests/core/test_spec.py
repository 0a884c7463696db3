import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunescope.core.errors import RequestError
from prunescope.core.knobs import parse_norm
from prunescope.core.resolve import resolve
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor

CONV = PrunableTensor(
    "conv.weight",
    "Conv2d",
    torch.ones(4, 2, 3, 3),
    ("output channels", "input channels", "kernel rows", "kernel columns"),
)
FC = PrunableTensor("fc.weight", "Linear", torch.ones(3, 5), ("output features", "input features"))
BIAS = PrunableTensor("fc.bias", "Linear", torch.ones(3), ("output features",))
STRUCTURED = PruneSpec("conv.weight", "ln_structured")

specs = st.builds(
    PruneSpec,
    layer=st.text(),
    method=st.sampled_from(list(METHODS)),
    amount=st.floats(0, 1) | st.integers(0, 10**9),
    n=st.floats(allow_nan=False) | st.integers(-5, 5) | st.sampled_from(["fro", "nuc"]),
    dim=st.integers(0, 5),
    seed=st.integers(0, 2**53 - 1),
)


@settings(deadline=None)
@given(specs)
def test_json_round_trip_keeps_everything_and_the_type_of_amount(spec: PruneSpec) -> None:
    again = PruneSpec.from_json(spec.to_json())
    assert again == spec
    assert type(again.amount) is type(spec.amount)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"layer": "a", "amont": 1}', "{}", '{"layer": NaN'])
def test_json_that_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"^`spec` must be a JSON object of layer, method, amount, n, dim"):
        PruneSpec.from_json(text)


def test_one_unit_is_not_everything() -> None:
    assert PruneSpec("w", amount=1) != PruneSpec("w", amount=1.0)
    assert hash(PruneSpec("w", amount=1)) != hash(PruneSpec("w", amount=1.0))
    assert len({PruneSpec("w", amount=0.5), PruneSpec("w", amount=0.5)}) == 1


@pytest.mark.parametrize(
    ("changes", "parameter", "sentence"),
    [
        ({"amount": 1.5}, "amount", "or a count from 0 to 4 (output channels), got 1.5."),
        ({"amount": -0.1}, "amount", "`amount` must be a float in [0, 1] or a count"),
        ({"amount": 7}, "amount", "or a count from 0 to 4 (output channels), got 7."),
        ({"amount": -1}, "amount", "got -1."),
        ({"amount": True}, "amount", "got True."),
        ({"amount": math.nan}, "amount", "got nan."),
        ({"amount": "half"}, "amount", "got 'half'."),
        ({"amount": None}, "amount", "got None."),
        ({"method": "l1_unstructured", "amount": 73}, "amount", "a count from 0 to 72 (weights), got 73."),
        ({"dim": 9}, "dim", "`dim` must be between -4 and 3 for a tensor of shape (4, 2, 3, 3), got 9."),
        ({"dim": -5}, "dim", "got -5."),
        ({"dim": 1.0}, "dim", "got 1.0."),
        ({"dim": True}, "dim", "got True."),
        ({"n": "abc"}, "n", "`n` must be a number, inf, -inf, 'fro' or 'nuc', got 'abc'."),
        ({"n": ""}, "n", "got ''."),
        ({"n": math.nan}, "n", "got nan."),
        ({"n": None}, "n", "got None."),
        ({"method": "l2"}, "method", "`method` must be one of l1_unstructured, random_unstructured, ln_"),
        ({"method": None}, "method", "got None."),
        ({"seed": -1}, "seed", "`seed` must be a whole number from 0 to 2**53 - 1, got -1."),
        ({"seed": 0.5}, "seed", "got 0.5."),
        ({"seed": True}, "seed", "got True."),
        ({"seed": 2**53}, "seed", "got 9007199254740992."),
    ],
)
def test_what_was_asked_for_and_cannot_be_is_refused_with_a_sentence(
    changes: dict[str, object], parameter: str, sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        resolve(replace(STRUCTURED, **changes), CONV, asked=changes)
    assert caught.value.parameter == parameter
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"`{parameter}` must be")
    assert "\n" not in str(caught.value)


def test_nuc_needs_matrices() -> None:
    assert resolve(replace(STRUCTURED, n="nuc"), CONV).spec.n == "nuc"
    with pytest.raises(RequestError, match="nuc") as caught:
        resolve(PruneSpec("fc.weight", "ln_structured", n="nuc"), FC)
    assert caught.value.parameter == "n"


@pytest.mark.parametrize("asked", ["layer", "method"])
def test_a_vector_has_no_channels_to_remove(asked: str) -> None:
    with pytest.raises(
        RequestError, match=r"needs a tensor of at least 2 axes; fc.bias has shape \(3,\)"
    ) as caught:
        resolve(PruneSpec("fc.bias", "ln_structured"), BIAS, asked={asked})
    assert caught.value.parameter == asked


def test_what_no_longer_fits_is_corrected_with_a_note() -> None:
    wanted = PruneSpec("fc.weight", "ln_structured", amount=20, n="nuc", dim=3)
    resolved = resolve(wanted, FC, asked={"layer"}, previous_units=40)
    assert resolved.spec == PruneSpec("fc.weight", "ln_structured", amount=2, n=2, dim=0)
    assert resolved.notes == {
        "amount": "`amount` is now 2 of 3 output features, the same fraction as before: there are no 20 "
        "here.",
        "n": "`n` was reset to 2: a channel of fc.weight along dim 0 is not a matrix, which 'nuc' needs.",
        "dim": "`dim` was reset to 0: fc.weight of shape (3, 5) has no axis 3.",
    }


def test_a_count_that_fits_stays() -> None:
    resolved = resolve(replace(STRUCTURED, amount=3), CONV, asked={"layer"}, previous_units=64)
    assert resolved.spec.amount == 3
    assert resolved.notes == {}


@settings(deadline=None)
@given(specs)
def test_resolving_again_changes_nothing(spec: PruneSpec) -> None:
    once = resolve(spec, CONV, asked=())
    twice = resolve(once.spec, CONV)
    assert twice.spec == once.spec
    assert twice.notes == {}


def test_a_negative_dim_counts_from_the_end() -> None:
    assert resolve(replace(STRUCTURED, dim=-1), CONV).spec.dim == 3


@pytest.mark.parametrize(
    ("amount", "kind"), [(np.int64(2), int), (np.float32(0.5), float), (1, int), (1.0, float)]
)
def test_amount_keeps_its_type(amount: object, kind: type) -> None:
    assert type(resolve(replace(STRUCTURED, amount=amount), CONV).spec.amount) is kind


@pytest.mark.parametrize(
    ("typed", "n"),
    [("2", 2), (" 0.5 ", 0.5), ("INF", math.inf), ("-inf", -math.inf), ("Fro", "fro"), (3, 3), ("1e1", 10)],
)
def test_norms_can_be_typed(typed: object, n: object) -> None:
    assert parse_norm(typed) == n


def test_the_table_speaks_of_fields_that_exist() -> None:
    for method in METHODS.values():
        assert method.uses <= set(PruneSpec.__dataclass_fields__)
        assert ("dim" in method.uses) == (method.structured or method.groups)
