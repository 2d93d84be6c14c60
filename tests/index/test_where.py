"""Filters keep what they say, and nothing in them is executed."""

import pandas as pd
import pytest

from dml.index.where import matching

ITEMS = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "label": ["cat", "dog", None, "cow"],
        "price": [1.0, 5.0, 10.0, float("nan")],
        "sold": [True, False, True, False],
    }
)


@pytest.mark.parametrize(
    "text, kept",
    [
        ('label in ["cat", "dog"]', "ab"),
        ('label not in ["cat"]', "bcd"),
        ('label == "cow"', "d"),
        ('label != "cow"', "abc"),
        ("price < 5", "a"),
        ("price <= 5 and price > 1", "b"),
        ("price >= 10 or label == 'cat'", "ac"),
        ("not (price > 1)", "ad"),
        ("sold == True", "ac"),
        ("price == -1", ""),
    ],
)
def test_keeps(text, kept):
    assert "".join(ITEMS["id"][matching(text, ITEMS)]) == kept


@pytest.mark.parametrize(
    "text",
    ["", "label", "label = 'cat'", "__import__('os')", "label == price", "label in 'cat'", "1 < 2",
     "price < 5 < 7", "label == ['cat']", "label.str == 'a'", "(" * 3000, "f(label) == 1"],
)  # fmt: skip
def test_refuses_what_is_no_filter(text):
    with pytest.raises(ValueError, match="can't read the filter"):
        matching(text, ITEMS)


def test_names_the_fault():
    with pytest.raises(ValueError, match="no field 'colour'; they have id, label, price, sold"):
        matching("colour == 'red'", ITEMS)
    with pytest.raises(ValueError, match="another type"):
        matching("label < 3", ITEMS)
    with pytest.raises(ValueError, match="at most 10,000 characters"):
        matching("x" * 20_000, ITEMS)
