"""Filters keep the right items, and nothing in them is executed."""

import pandas as pd
import pytest

from dml._storage.columns import kinds_of, typed
from dml.index._filters import check_filter, matching, milvus_filter

ITEMS = typed(
    pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "label": ["cat", "dog", None, "cow"],
            "price": [1.0, 5.0, 10.0, float("nan")],
            "sold": [True, False, True, False],
            "sku": pd.array([2**53 + 1, 2**53, None, -3], "Int64"),
            "big": [2.0**53, 2.0**53 + 2, None, float("nan")],
        }
    )
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
        ("price == 5", "b"),
        (f"sku == {2**53 + 1}", "a"),
        (f"sku in [{2**53 + 1}, -3.0, 2.5]", "ad"),
        (f"sku not in [{2**53}]", "acd"),
        ("sku < 2.5", "d"),
        ("not sku > 0", "cd"),
        ("sku >= 2.5", "ab"),
        ("sku != 2.5", "abcd"),
        ("not sku == 2.5", "abcd"),
        ("sku < 1e300 and sku > -1e300", "abd"),
        ("sku > 9223372036854775808.0 or sku <= -9223372036854777856.0", ""),
        # The only float near 2**53 + 1 is 2**53: compared as floats, the two would be equal.
        (f"sku > {2.0**53}", "a"),
        (f"sku <= {2.0**53}", "bd"),
        (f"big == {2**53 + 1}", ""),
        (f"big in [{2**53 + 1}]", ""),
        (f"big != {2**53 + 1}", "abcd"),
        (f"big < {2**53 + 1}", "a"),
        (f"big <= {2**53 + 1}", "a"),
        (f"big >= {2**53 + 1}", "b"),
        (f"not big > {2**53 + 1}", "acd"),
        # 2**53 + 3 lies between the floats 2**53 + 2 and 2**53 + 4; the nearest even one is above.
        (f"big < {2**53 + 3}", "ab"),
        (f"big > {2**53 + 3}", ""),
    ],
)
def test_keeps(text, kept):
    assert "".join(ITEMS["id"][matching(text, ITEMS)]) == kept


@pytest.mark.parametrize(
    "text",
    ["", "label", "label = 'cat'", "__import__('os')", "label == price", "label in 'cat'", "1 < 2",
     "price < 5 < 7", "label == ['cat']", "label.str == 'a'", "(" * 3000,
     "label in {[1]}", "label == None", "label == b'a'", "f(label) == 1"],
)  # fmt: skip
def test_refuses_what_is_no_filter(text):
    with pytest.raises(ValueError, match="can't read the filter"):
        matching(text, ITEMS)


def test_names_the_error():
    with pytest.raises(
        ValueError, match="no field 'colour'; they have id, label, price, sold, sku"
    ):
        matching("colour == 'red'", ITEMS)
    with pytest.raises(ValueError, match="at most 10,000 characters"):
        matching("x" * 20_000, ITEMS)


@pytest.mark.parametrize(
    "value",
    ["9223372036854775808", "-9223372036854775809", "9" * 400, "1e999", "[1, 9223372036854775808]"],
)
@pytest.mark.parametrize("field", ["price", "label"])
def test_numbers_that_no_field_can_have_are_refused(field, value):
    text = f"{field} {'in' if '[' in value else '=='} {value}"
    for read in (lambda: matching(text, ITEMS), lambda: milvus_filter(text, KINDS)):
        with pytest.raises(ValueError, match="finite, and integers have at most 64 bits"):
            read()


def test_text_that_no_file_can_have_is_refused():
    for text in ("label == '\ud800'", r"label == '\ud800'", "label == 'a\0b'"):
        with pytest.raises(ValueError, match="can't read the filter"):
            matching(text, ITEMS)


def test_only_the_fields_that_are_named_may_be_asked_about():
    check_filter('label == "a" and not price in [1, 2]', ["label", "price"])
    with pytest.raises(ValueError, match=r"no field 'price'; they have label$"):
        check_filter('label == "a" or not price > 1', ["label"])


OTHER_TYPES = [
    ("label == 7", "'label' holds text: it can't be compared with 7: write '7'"),
    ("label != 7", "'label' holds text"),
    ("label < 3", "'label' holds text"),
    ("label == True", "'label' holds text: it can't be compared with True"),
    ('label in ["cat", 7]', "'label' holds text"),
    ("price == 'cheap'", "'price' holds numbers: it can't be compared with 'cheap'"),
    ("price < '10'", "'price' holds numbers"),
    ("price == True", "'price' holds numbers: it can't be compared with True"),
    ("not (price > 3 or sold == 1)", "'sold' holds true or false: it can't be compared with 1"),
    ("sold == 'yes'", "'sold' holds true or false"),
    ("sold < True", "'sold' holds true or false, which have no order"),
    ("sku == '7'", "'sku' holds whole numbers"),
]


@pytest.mark.parametrize("text, message", OTHER_TYPES)
def test_what_can_not_be_true_of_a_type_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        matching(text, ITEMS)
    with pytest.raises(ValueError, match=message):
        milvus_filter(text, kinds_of(ITEMS))


KINDS = {"id": str, "label": str, "price": float, "sold": bool, "count": int}


@pytest.mark.parametrize(
    "text, words",
    [
        ('label == "a" and price < 3', '(label == "a" and price < 3)'),
        ('label != "a"', '(label != "a" or label is null)'),
        ('not (label == "a" or price < 3)',
         '((label != "a" or label is null) and (price >= 3 or price is null))'),
        ('not label in ["a"]', '(label not in ["a"] or label is null)'),
        ("sold == True", "sold == true"),
        ("count in []", 'id == ""'),
        ("count in [2.0, 2.5]", "count in [2]"),
        ("count in [1e300]", 'id == ""'),
        ("count < 2.5", "count <= 2"),
        ("count >= -2.5", "count > -3"),
        ("count == 2.5", 'id == ""'),
        ("not count == 2.5", 'id != ""'),
        ("count not in [2.5]", 'id != ""'),
        ("label == 'quo\"te'", 'label == "quo\\"te"'),
    ],
)  # fmt: skip
def test_in_the_words_of_milvus(text, words):
    assert milvus_filter(text, KINDS) == words


def test_milvus_refuses_the_same():
    for text, message in {
        "colour == 'red'": "no field 'colour'",
        "f(label) == 1": "can't read the filter",
    }.items():
        with pytest.raises(ValueError, match=message):
            milvus_filter(text, KINDS)


ODD = typed(
    pd.DataFrame({"id": ["a", "b"], "from": [1, 2], "unit price": [3, 4], "gro\u0308sse": [5, 6]})
)


@pytest.mark.parametrize(
    "text, kept",
    [
        ('field("unit price") == 3', [True, False]),
        ("field('from') in [2] or not field('from') < 2", [False, True]),
        ('field("id") == "a"', [True, False]),
        ("gr\u00f6sse > 5", [False, True]),  # whichever way its name is written
        ("gro\u0308sse > 5", [False, True]),
        ('field("gr\u00f6sse") > 5', [False, True]),
    ],
)
def test_fields_of_any_name(text, kept):
    assert matching(text, ODD).tolist() == kept


@pytest.mark.parametrize(
    "text",
    ["from == 1", "unit price == 3", 'field("from", "id") == 1', "field(1) == 1", "field() == 1",
     'field(name="from") == 1', 'fields("from") == 1', 'field("from")("id") == 1'],
)  # fmt: skip
def test_how_to_name_a_field_that_is_no_word_is_told(text):
    with pytest.raises(
        ValueError, match=r'and a field whose name is no word like field\("from"\) == 2'
    ):
        matching(text, ODD)


def test_a_field_that_is_not_there_is_named_however_it_is_written():
    for text in ("width == 1", 'field("width") == 1'):
        with pytest.raises(ValueError, match="items have no field 'width'; they have id, from"):
            matching(text, ODD)
