"""Options: accepted values are canonical and in range; errors list the valid values."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.options import (
    Choice,
    Flag,
    Integer,
    Option,
    Real,
    Text,
    check_options,
    make_unknown_error,
)

DECLARED: dict[str, Option] = {
    "window": Integer(30, low=1, high=100, doc="snapshots"),
    "share": Real(0.5, low=0.0, high=1.0),
    "unit": Choice("layer", ("layer", "block")),
    "norm": Flag(default=False),
    "note": Text(""),
}


@given(st.integers(-50, 50), st.integers(0, 50), st.integers(-200, 200))
def test_integers_in_range_are_accepted_as_int_float_and_str(low, width, value):
    option = Integer(low, low=low, high=low + width)
    for form in (value, float(value), str(value), f" {value}"):
        if low <= value <= low + width:
            accepted = option.accept(form)
            assert (accepted, type(accepted)) == (value, int)
        else:
            with pytest.raises(ValueError):
                option.accept(form)


@given(st.integers(2**52, 2**53))
def test_large_integers_keep_every_digit(value):
    assert Integer(0).accept(str(value)) == value


@given(st.floats(), st.floats(-10, 10), st.floats(0, 10))
@example(-0.0, -1.0, 2.0)
def test_reals_in_range_are_accepted_as_float_and_str(value, low, width):
    option = Real(low, low=low, high=low + width)
    for form in (value, repr(value)):
        if low <= value <= low + width:
            assert option.accept(form) == value
            assert math.copysign(1, option.accept(form)) == (
                1 if value == 0 else math.copysign(1, value)
            )
        else:
            with pytest.raises(ValueError):
                option.accept(form)


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("window", 0, "a whole number from 1 to 100"),
        ("window", 101, "a whole number from 1 to 100"),
        ("window", 1.5, "a whole number from 1 to 100"),
        ("window", "many", "a whole number from 1 to 100"),
        ("window", True, "a whole number from 1 to 100"),
        ("window", float("inf"), "a whole number from 1 to 100"),
        ("window", float("nan"), "a whole number from 1 to 100"),
        ("window", None, "a whole number from 1 to 100"),
        ("share", 1.01, "a number from 0 to 1"),
        ("share", float("nan"), "a number from 0 to 1"),
        ("share", "half", "a number from 0 to 1"),
        ("share", False, "a number from 0 to 1"),
        ("share", [0.5], "a number from 0 to 1"),
        ("unit", "head", "one of layer, block"),
        ("unit", ["layer"], "one of layer, block"),
        ("norm", 1, "true or false"),
        ("norm", "yes", "true or false"),
        ("note", 7, "a string"),
    ],
)
def test_the_error_for_a_bad_value_names_the_key_the_value_and_the_valid_values(key, value, valid):
    with pytest.raises(UserError) as caught:
        check_options("strategy smartfrz", DECLARED, {key: value})
    expected = f"strategy smartfrz: {key} = {value!r} is not valid; give {valid}"
    assert str(caught.value) == expected


def test_the_error_for_an_unknown_key_suggests_the_nearest_and_lists_all_keys():
    with pytest.raises(UserError) as caught:
        check_options("strategy smartfrz", DECLARED, {"windows": 3})
    assert str(caught.value) == (
        "strategy smartfrz: option 'windows' is unknown (did you mean 'window'?);"
        " valid: window, share, unit, norm, note"
    )
    assert str(make_unknown_error("model", "x", [])) == "model 'x' is unknown; valid: none"


def test_check_options_returns_all_options_in_declared_order():
    given = {"note": "n", "window": "7", "norm": "TRUE"}
    values = check_options("owner", DECLARED, given)
    assert list(values.items()) == [
        ("window", 7), ("share", 0.5), ("unit", "layer"), ("norm", True), ("note", "n")
    ]  # fmt: skip
    assert check_options("owner", DECLARED, values) == values


@pytest.mark.parametrize(
    ("option", "valid"),
    [
        (Integer(0), "a whole number of at least 0"),
        (Real(0.0), "a number"),
        (Real(0.0, low=0.0), "a number of at least 0"),
        (Real(0.0, high=1e-3), "a number of at most 0.001"),
    ],
)
def test_open_ranges_are_described_and_infinity_and_nan_are_rejected(option, valid):
    assert option.describe_valid() == valid
    for value in (math.inf, -math.inf, math.nan):
        with pytest.raises((ValueError, OverflowError)):
            option.accept(value)
