"""Filters of an index's items: `label in ["cat", "dog"] and price < 10`."""

import ast
import operator

import numpy as np

COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
LONGEST = 10_000  # characters; Python's parser recurses


def matching(text, items):
    """Returns which items a filter keeps.

    Fields are compared with numbers, texts, `True`, `False` and, by `in` and `not in`, lists of
    them; comparisons are joined by `and`, `or`, `not` and brackets. A field without a value
    matches only `!=` and `not in`.

    Args:
        text: The filter. Read by Python's parser, never executed.
        items: A pandas frame (N, fields).

    Returns:
        Booleans (N,).

    Raises:
        ValueError: The text is no filter, or names a field that the items do not have.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a filter has at most {LONGEST:,} characters; got {len(text):,}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return mask(tree, items)
    except (SyntaxError, RecursionError, MemoryError):
        raise refused(text) from None
    except TypeError:
        raise ValueError(f"{text!r} compares a field with a value of another type") from None


def refused(text):
    return ValueError(
        f'can\'t read the filter {text!r}: write it like label in ["cat", "dog"] and not price > 10'
    )


def mask(node, items):
    """Returns which items a part of a filter keeps."""
    if isinstance(node, ast.BoolOp):
        parts = [mask(value, items) for value in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce(parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~mask(node.operand, items)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise SyntaxError
    values, (comparison,) = field(node.left, items), node.ops
    wanted = constant(node.comparators[0])
    if isinstance(comparison, ast.In | ast.NotIn):
        if not isinstance(wanted, list | tuple | set):
            raise SyntaxError
        found = values.isin(list(wanted)).to_numpy(bool)
        return found if isinstance(comparison, ast.In) else ~found
    if type(comparison) not in COMPARISONS or isinstance(wanted, list | tuple | set):
        raise SyntaxError
    present = values.notna().to_numpy()
    result = np.full(len(values), isinstance(comparison, ast.NotEq))
    compared = COMPARISONS[type(comparison)](values[present], wanted)
    result[present] = compared.to_numpy(bool)
    return result


def field(node, items):
    """Returns the column that a part of a filter names."""
    if not isinstance(node, ast.Name):
        raise SyntaxError
    if node.id not in items.columns:
        fields = ", ".join(map(str, items.columns))
        raise ValueError(f"items have no field {node.id!r}; they have {fields}")
    return items[node.id]


def constant(node):
    """Returns the value that a part of a filter spells out."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise SyntaxError from None
