"""Labels of tables: one class has one spelling, and rows without a label are refused."""

from decimal import Decimal

import pytest

from bench.data.texts.labels import list_classes, read_labels
from bench.errors import UserError


def list_of(*labels):
    return list_classes(read_labels([{"label": label} for label in labels * 9], "label", "t"), "t")


def test_labels_that_only_look_like_numbers_are_ordered_as_texts():
    assert list_of("3", "--5", "3.5.0", "-5") == {"--5": 0, "-5": 1, "3": 2, "3.5.0": 3}


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("01", "1", "have the same value"),
        ("-0", "0", "have the same value"),
        ("+1", "1.0", "have the same value"),
        ("1e1", "10", "have the same value"),
        (True, 1, "have the same value"),
        ("True", "true", "differ only in case"),
        ("FALSE", "False", "differ only in case"),
    ],
)
def test_one_class_in_two_spellings_is_refused(first, second, reason):
    with pytest.raises(UserError, match=f"^t: the labels '.*' and '.*' {reason}; write each class"):
        list_of(first, second, "2")


@pytest.mark.parametrize("label", [0.5, "0.5", "-1.5", ".5", "5e-1", Decimal("0.50"), 1e-7])
def test_a_number_with_a_fraction_is_no_class_in_any_format(label):
    with pytest.raises(UserError, match=r"^t, row 2: the label .* is no class, because it has a"):
        list_of(1, label)


def test_whole_numbers_of_every_type_are_classes():
    assert list_of("1", Decimal("2.00"), 3.0, "4.0") == {"1": 0, "2": 1, "3": 2, "4": 3}


@pytest.mark.parametrize("label", ["nan", "NaN", "NA", "null", "None", " NULL "])
def test_the_text_of_an_empty_cell_is_not_a_class(label):
    with pytest.raises(UserError, match=r"^t, row 3: the label '\w+' usually means no label; rem"):
        list_of("a", "b", label)


@pytest.mark.parametrize("label", [None, "", " ", float("nan"), float("-inf")])
def test_a_row_without_a_label_is_refused(label):
    with pytest.raises(UserError, match=r"^t, row 2: has no label; remove the row"):
        list_of("a", label)


@pytest.mark.parametrize("label", [[1], [], {"a": 1}])
def test_several_labels_of_a_text_are_refused(label):
    with pytest.raises(
        UserError, match=r"^t, row 2: the label is a (list|dict); give each text one"
    ):
        list_of("a", label)


def test_minus_one_beside_other_classes_means_no_label():
    for labels in ((0, 1, 2, -1), (1, 2, "-1.0")):
        with pytest.raises(UserError, match=rf"^t, row {len(labels)}: the label -1 usually means"):
            list_of(*labels)
    for labels in ((-1, 1), (-1, 0), (-1, 0, 1), (-2, -1, 0, 1, 2), ("-1", "a", "b")):
        assert list(list_of(*labels).values()) == list(range(len(labels)))


def test_a_label_of_many_digits_is_ordered_by_its_value():
    assert list(list_of("9" * 5000, "2", "10").values()) == [0, 1, 2]
    assert list(list_of("9" * 5000, "2", "10")) == ["2", "10", "9" * 5000]
