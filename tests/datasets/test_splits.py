"""The names of splits, and the protocol that splits amount to."""

import pytest

from dml.datasets._splits import check_test, check_validation, protocol_of, split_named
from dml.errors import OptionError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training_Set", "train"),
        ("valid", "val"),
        ("test-images", "test"),
        (" eval ", "test"),
        ("gallery", "gallery"),
        ("trained", None),
        ("cats", None),
        (3, None),
    ],
)
def test_common_names_of_splits(name, split):
    assert split_named(name) == split


@pytest.mark.parametrize(
    ("names", "splits", "protocol"),
    [
        ("aabb", ["train", "train", "test", "test"], "zero-shot"),
        ("aaab", ["train", "test", "train", "train"], "seen-class"),
        ("aab", ["train", "query", "gallery"], "query-gallery"),
        ("aab", ["train", "query", "train"], "zero-shot"),
        ("aa", ["train", "val"], "zero-shot"),
        (["e\u0301", "\u00e9"], ["train", "test"], "seen-class"),
    ],
)
def test_protocols(names, splits, protocol):
    assert protocol_of(names, splits) == protocol


@pytest.mark.parametrize(
    ("values", "option"),
    [((1.0, 0, "classes"), "validation_fraction"), ((0.1, -1, "classes"), "validation_seed")],
)
def test_the_option_at_fault_is_named(values, option):
    with pytest.raises(OptionError) as raised:
        check_validation(*values)
    assert raised.value.option == option
    with pytest.raises(OptionError, match="test_fraction"):
        check_test(1.0, 0)
    check_test(0.0, 0)
