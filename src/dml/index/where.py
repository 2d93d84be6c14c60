"""Filters of an index's items: `label in ["cat", "dog"] and price < 10`."""

import ast
import json
import math
import operator

import numpy as np

from dml._storage.columns import KINDS, kinds_of

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
LONGEST = 10_000  # characters; Python's parser recurses


def matching(text, items):
    """Returns which items a filter keeps.

    Fields are compared with values of their own type (numbers, text, `True` and `False`) and, by
    `in` and `not in`, with lists of them; comparisons are joined by `and`, `or`, `not` and
    brackets. A field without a value matches only `!=` and `not in`.

    Args:
        text: The filter. Read by Python's parser, never executed.
        items: A pandas frame (N, fields), its columns as `dml._storage.columns.typed` returns them.

    Returns:
        Booleans (N,).

    Raises:
        ValueError: The text is no filter, names a field that the items do not have, or compares
            one with a value of another type.
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


def milvus_filter(text, kinds):
    """Returns a filter in Milvus's words, which keeps the items that `matching` keeps.

    Milvus leaves an item out where a field without a value meets `not`; so `not` is worked into
    the comparisons, and those that keep such items say so.

    Args:
        text: The filter.
        kinds: Field -> `bool`, `int`, `float` or `str`.

    Raises:
        ValueError: As of `matching`.
    """

    def compared(name, comparison, wanted, negated):
        if negated:
            comparison = OPPOSITE[comparison]
            keeps_missing = comparison not in (ast.Eq, ast.In)
        else:
            keeps_missing = comparison in (ast.NotEq, ast.NotIn)
        if comparison in (ast.In, ast.NotIn):
            values = ", ".join(map(spelled, wanted))
            plain = f"{name} {'not in' if comparison is ast.NotIn else 'in'} [{values}]"
            if not wanted:
                return always(comparison is ast.NotIn)
        else:
            plain = f"{name} {SIGNS[comparison]} {spelled(wanted)}"
        return f"({plain} or {name} is null)" if keeps_missing else plain

    def joined(parts, every):
        return f"({(' and ' if every else ' or ').join(parts)})"

    return read(text, kinds, compared, joined)


def check_kind(name, kind, comparison, value):
    """Raises ValueError where a comparison can't be true of a field's type."""
    own = bool if isinstance(value, bool) else str if isinstance(value, str) else float
    if own is not (float if kind is int else kind):
        quoted = f": write {str(value)!r}" if kind is str and own is float else ""
        raise ValueError(
            f"the field {name!r} holds {KINDS[kind]}: it can't be compared with {value!r}{quoted}"
        )
    if kind is bool and comparison not in (ast.Eq, ast.NotEq, ast.In, ast.NotIn):
        raise ValueError(f"the field {name!r} holds {KINDS[kind]}, which have no order")


def spelled(value):
    """Returns a value as Milvus reads it."""
    return json.dumps(value, ensure_ascii=False)


def check_filter(text, fields):
    """Raises ValueError where a text is no filter of some fields.

    Args:
        text: The filter.
        fields: Names that it may use.
    """
    read(text, dict.fromkeys(fields), lambda *comparison: None, lambda *parts: None)


def always(kept):
    """Returns a filter that keeps all items, or none; every item has an id."""
    return 'id != ""' if kept else 'id == ""'


def read(text, kinds, compared, joined):
    """Returns what a filter means, put together from its comparisons.

    Args:
        text: The filter.
        kinds: Fields that it may use -> their Python type, or None where any value will do.
        compared: Gives the meaning of a field's name, the type of a comparison in `ast`, a value
            or list of values, and whether all of it is negated.
        joined: Gives the meaning of a list of meanings, joined by `and` (true) or `or`.

    Raises:
        ValueError: The text is no filter.
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
        if several and kinds[name] is int:
            wanted = [int(number) for number in wanted if number == int(number)]
        return compared(name, comparison, list(wanted) if several else wanted, negated)

    if len(text) > LONGEST:
        raise ValueError(f"a filter has at most {LONGEST:,} characters; got {len(text):,}")
    try:
        return meaning(ast.parse(text.strip(), mode="eval").body, False)
    except (SyntaxError, RecursionError, MemoryError, UnicodeError):
        raise ValueError(
            f"can't read the filter {text!r}: write it like "
            'label in ["cat", "dog"] and not price > 10'
        ) from None


def field(node, fields):
    """Returns the field that a part of a filter names."""
    if not isinstance(node, ast.Name):
        raise SyntaxError
    if node.id not in fields:
        raise ValueError(f"items have no field {node.id!r}; they have {', '.join(fields)}")
    return node.id


def check_value(value):
    """Raises an error where a filter can't compare with a value."""
    if isinstance(value, str):
        value.encode()  # a lone surrogate, which no field has, is a UnicodeError
    elif not isinstance(value, int | float):
        raise SyntaxError
    elif not (-(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)):
        raise ValueError("a filter's numbers are finite, and integers have at most 64 bits")


def constant(node):
    """Returns the value that a part of a filter spells out."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # TypeError: a set of lists
        raise SyntaxError from None
