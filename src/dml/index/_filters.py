"""Filters of an index's items: `label in ["cat", "dog"] and price < 10`."""

from __future__ import annotations

import ast
import json
import math
import operator
from collections.abc import Iterable, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np

from dml._storage.columns import KINDS, kinds_of
from dml.errors import FilterError

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
SIGNS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
OPPOSITE = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
# Comparisons with the nearest value of the field's type that have the meaning of the original
# comparison with a number between two such values, if the nearest is below or above that number.
BELOW = {ast.Lt: ast.LtE, ast.LtE: ast.LtE, ast.Gt: ast.Gt, ast.GtE: ast.Gt}
ABOVE = {ast.Lt: ast.Lt, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.GtE}
LONGEST = 10_000  # characters; Python's parser recurses
INTEGERS = range(-(2**63), 2**63)


def matching(text: str, items: pd.DataFrame) -> np.ndarray:
    """Returns which items a filter keeps.

    Fields are compared with values of their own type (numbers, text, `True` and `False`) and, by
    `in` and `not in`, with lists of them; comparisons are joined by `and`, `or`, `not` and
    brackets. A field whose name is no word is written as `field("unit price")`. A field without a
    value matches only `!=` and `not in`.

    Args:
        text: The filter. Read by Python's parser, never executed.
        items: A pandas DataFrame (N, fields), its columns as `dml._storage.columns.typed` returns
            them.

    Returns:
        Booleans (N,).

    Raises:
        FilterError: The text is not a filter, names a field that the items do not have, or
            compares one with a value of another type.
    """
    kinds = kinds_of(items)

    def compared(name, comparison, wanted, negated):
        values = items[name]
        if comparison in (ast.In, ast.NotIn):
            kept = values.isin(wanted).to_numpy(bool) ^ (comparison is ast.NotIn)
        else:
            present = values.notna().to_numpy()
            kept = np.full(len(values), comparison is ast.NotEq)
            kept[present] = COMPARISONS[comparison](values[present], wanted).to_numpy(bool)
        return ~kept if negated else kept

    def joined(parts, every):
        return (np.logical_and if every else np.logical_or).reduce(parts)

    return read(text, kinds, compared, joined)


def milvus_filter(text: str, kinds: Mapping[str, type]) -> str:
    """Returns a filter as a Milvus expression, which keeps the items that `matching` keeps.

    Milvus drops items without a value where `not` is applied; so `not` is moved into the
    comparisons, which name missing values where they keep them.

    Args:
        text: The filter.
        kinds: Field -> `bool`, `int`, `float` or `str`.

    Raises:
        FilterError: As for `matching`.
    """

    def compared(name, comparison, wanted, negated):
        if negated:
            comparison = OPPOSITE[comparison]
            keeps_missing = comparison not in (ast.Eq, ast.In)
        else:
            keeps_missing = comparison in (ast.NotEq, ast.NotIn)
        if comparison in (ast.In, ast.NotIn):
            values = ", ".join(map(literal, wanted))
            plain = f"{name} {'not in' if comparison is ast.NotIn else 'in'} [{values}]"
            if not wanted:
                return always(comparison is ast.NotIn)
        else:
            plain = f"{name} {SIGNS[comparison]} {literal(wanted)}"
        return f"({plain} or {name} is null)" if keeps_missing else plain

    def joined(parts, every):
        return f"({(' and ' if every else ' or ').join(parts)})"

    return read(text, kinds, compared, joined)


def check_kind(name, kind, comparison, value):
    """Raises FilterError for a comparison that a field's type does not allow."""
    own = bool if isinstance(value, bool) else str if isinstance(value, str) else float
    if own is not (float if kind is int else kind):
        quoted = f": write {str(value)!r}" if kind is str and own is float else ""
        raise FilterError(
            f"the field {name!r} holds {KINDS[kind]}: it can't be compared with {value!r}{quoted}"
        )
    if kind is bool and comparison not in (ast.Eq, ast.NotEq, ast.In, ast.NotIn):
        raise FilterError(f"the field {name!r} holds {KINDS[kind]}, which have no order")


def exact(kind, comparison, value):
    """Returns a comparison of a field with a number in the field's own type, with the same meaning.

    An integer of more than 53 bits is not a float, and a fraction is not an integer: compared as
    floats, their neighbours would seem equal to them.

    Args:
        kind: The Python type of the field.
        comparison: A type of comparison in `ast`, not `In` or `NotIn`.
        value: What the field is compared with.

    Returns:
        Another type of comparison, and another value.
    """
    if kind is int and isinstance(value, float):
        near = min(max(math.floor(value), INTEGERS[0]), INTEGERS[-1])
    elif kind is float and isinstance(value, int):
        near = float(value)
    else:
        return comparison, value
    if near == value:
        return comparison, near if kind is int else value
    if comparison in (ast.Eq, ast.NotEq):
        return ast.In if comparison is ast.Eq else ast.NotIn, []
    return (BELOW if near < value else ABOVE)[comparison], near


def exact_members(kind, values):
    """Returns the values that a field of a type can have."""
    if kind is int:
        return [int(n) for n in values if n == int(n) and int(n) in INTEGERS]
    if kind is float:
        return [n for n in values if n == float(n)]
    return list(values)


def literal(value: Any) -> str:
    """Returns a value as a Milvus literal."""
    return json.dumps(value, ensure_ascii=False)


def check_filter(text: str, fields: Iterable[str]) -> None:
    """Raises FilterError if a text is not a valid filter.

    Args:
        text: The filter.
        fields: Names that it may use.
    """
    read(text, dict.fromkeys(fields), lambda *comparison: None, lambda *parts: None)


def always(kept):
    """Returns a filter that keeps all items, or none; every item has an id."""
    return 'id != ""' if kept else 'id == ""'


def read(text, kinds, compared, joined):
    """Evaluates a filter bottom-up, starting with its comparisons.

    Args:
        text: The filter.
        kinds: Fields that it may use -> their Python type, or None to accept any value.
        compared: Called with a field's name, the type of a comparison in `ast`, a value or list of
            values, and whether the comparison is negated; returns its result.
        joined: Called with a list of results, and whether `and` or `or` joins them; returns the
            joint result.

    Raises:
        FilterError: The text is not a filter.
    """

    def meaning(node, negated):
        if isinstance(node, ast.BoolOp):
            parts = [meaning(value, negated) for value in node.values]
            return joined(parts, isinstance(node.op, ast.And) != negated)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return meaning(node.operand, not negated)
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            raise SyntaxError
        name, comparison = field(node.left, kinds), type(node.ops[0])
        wanted = constant(node.comparators[0])
        several = isinstance(wanted, list | tuple | set)
        if several != (comparison in (ast.In, ast.NotIn)) or comparison not in OPPOSITE:
            raise SyntaxError
        for one in wanted if several else [wanted]:
            check_value(one)
        if kinds[name] is not None:
            for one in wanted if several else [wanted]:
                check_kind(name, kinds[name], comparison, one)
        if several:
            wanted = exact_members(kinds[name], wanted)
        else:
            comparison, wanted = exact(kinds[name], comparison, wanted)
        return compared(name, comparison, wanted, negated)

    if len(text) > LONGEST:
        raise FilterError(f"a filter has at most {LONGEST:,} characters; got {len(text):,}")
    try:
        return meaning(ast.parse(text.strip(), mode="eval").body, False)
    except (SyntaxError, RecursionError, MemoryError, UnicodeError):
        hint = ""
        if odd := [name for name in kinds if not name.isidentifier() or iskeyword(name)]:
            hint = f", and a field whose name is no word like field({literal(odd[0])}) == 2"
        raise FilterError(
            f"can't read the filter {text!r}: write it like "
            f'label in ["cat", "dog"] and not price > 10{hint}'
        ) from None


def field(node, fields):
    """Returns the field that a part of a filter names: a word, or `field("any text")`."""
    if isinstance(node, ast.Name):
        name = node.id
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        name = constant(node.args[0])
        if node.func.id != "field" or node.keywords or not isinstance(name, str):
            raise SyntaxError
    else:
        raise SyntaxError
    if name in fields:
        return name
    # Python's parser writes words in this form, whatever that of the field.
    same = [other for other in fields if normalize("NFKC", other) == normalize("NFKC", name)]
    if not same:
        raise FilterError(f"items have no field {name!r}; they have {', '.join(fields)}")
    return same[0]


def check_value(value):
    """Raises an error if a filter can't compare with a value."""
    if isinstance(value, str):
        value.encode()  # a lone surrogate, which no field has, is a UnicodeError
    elif not isinstance(value, int | float):
        raise SyntaxError
    elif not (-(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)):
        raise FilterError("a filter's numbers are finite, and integers have at most 64 bits")


def constant(node):
    """Returns the value of a literal in a filter."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # TypeError: a set of lists
        raise SyntaxError from None
