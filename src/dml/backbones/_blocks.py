"""The blocks of a network, from its input to its output, as groups of its variables."""

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


def blocks_of(model: keras.Model) -> list[list[keras.Variable]]:
    """Returns the weights of each block of a network, trainable or not, in order of depth.

    The graph is cut at each tensor through which everything passes that depends on weights. What
    lies between two cuts, such as a residual block, is a block if it holds a kernel. Scales, biases
    and gates belong to the kernel before them; a depthwise convolution or an attention belongs to
    the layers after it that combine channels, with the expansion before it. A layer that holds a
    list of composite layers, such as the encoder of a transformer, is divided at these.

    Args:
        model: Any Keras model; only functional and sequential ones can be divided.

    Returns:
        Each weight of the model exactly once. Random states are not weights.
    """
    units = [unit for unit in _units(model) if unit.weights]
    blocks: list[list[keras.Variable]] = []
    before, waiting = [], False
    for place, unit in enumerate(units):
        if unit.kind in _JOINS_BEFORE:
            (blocks[-1] if blocks else before).extend(unit.weights)
            continue
        joins = waiting and unit.kind in (_Kind.POINTWISE, _Kind.DEPTHWISE)
        if joins:
            blocks[-1].extend(unit.weights)
        else:
            blocks.append([*before, *unit.weights])
            before = []
        expands = unit.kind is _Kind.POINTWISE and not joins
        waiting = unit.kind in (_Kind.DEPTHWISE, _Kind.ATTENTION) or (
            expands and _next_kind(units[place + 1 :]) is _Kind.DEPTHWISE
        )
    return _each_once(blocks if blocks else [before])


class _Kind(enum.Enum):
    """How a unit takes part in a block."""

    SCALE = enum.auto()  # no kernel
    GATE = enum.auto()  # multiplies its input, as squeeze-and-excitation does
    DEPTHWISE = enum.auto()
    ATTENTION = enum.auto()
    POINTWISE = enum.auto()  # combines channels only
    FULL = enum.auto()


_JOINS_BEFORE = (_Kind.SCALE, _Kind.GATE)


@dataclass(frozen=True)
class _Unit:
    """The smallest part of a network that is not divided.

    Args:
        weights: Its weights.
        kind: How it takes part in a block.
    """

    weights: list[keras.Variable]
    kind: _Kind


def _next_kind(units):
    """Returns the kind of the next unit with a kernel of its own; None if there is none."""
    return next((unit.kind for unit in units if unit.kind not in _JOINS_BEFORE), None)


def _each_once(blocks):
    """Returns the blocks without the repetitions of shared weights, and without empty blocks."""
    seen, found = set(), []
    for block in blocks:
        new = list({id(v): v for v in block if id(v) not in seen}.values())
        seen.update(map(id, new))
        if new:
            found.append(new)
    return found


def _units(layer: Any) -> Iterator[_Unit]:
    """Yields the units of a layer or model in order of depth."""
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            yield from _units(inner)
    elif _is_graph(layer):
        for operations in _segments(layer):
            weighted = [o for o in operations if _weights(o)]
            if len(operations) == 1 or any(_is_graph(o) or _is_divided(o) for o in weighted):
                for operation in weighted:
                    yield from _units(operation)
            else:
                yield _Unit([w for o in weighted for w in _weights(o)], _kind(operations))
    elif _is_divided(layer):
        own = _own_weights(layer)
        yield _Unit(own, _Kind.FULL if any(map(_is_kernel, own)) else _Kind.SCALE)
        for inner in layer._layers:
            yield from _units(inner)
    else:
        yield _Unit(_weights(layer), _kind([layer]))


def _segments(model: Any) -> Iterator[list[Any]]:
    """Yields the operations between one tensor through which all passes and the next.

    Only tensors that depend on weights count: positions computed from the image's shape, for
    instance, may pass beside.
    """
    nodes = [
        n
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for n in model._nodes_by_depth[depth]
    ]
    uses = Counter(id(x) for node in nodes for x in node.input_tensors)
    uses.update(id(x) for x in keras.tree.flatten(model.outputs))
    learned, live, operations = set(), set(), []
    for node in nodes:
        operations.append(node.operation)
        inputs = [id(x) for x in node.input_tensors]
        uses.subtract(inputs)
        live -= {x for x in inputs if not uses[x]}
        if _weights(node.operation) or learned.intersection(inputs):
            outputs = [id(x) for x in keras.tree.flatten(node.outputs)]
            learned.update(outputs)
            live.update(x for x in outputs if uses[x])
        if len(live) <= 1:
            yield operations
            operations = []
    yield operations  # not empty for a model of several outputs


def _is_graph(layer):
    """Returns whether a layer is a functional model."""
    return hasattr(layer, "_nodes_by_depth")


def _is_divided(layer):
    """Returns whether a composite layer is divided into its sublayers.

    A wrapper is divided as the layer in it is, others if they, or layers in them, hold a stack.
    """
    inner = [x for x in getattr(layer, "_layers", ()) if _weights(x)]
    if _has_stack(layer):
        return True
    if len(inner) == 1 and not _own_weights(layer):
        return (
            _is_graph(inner[0]) or isinstance(inner[0], keras.Sequential) or _is_divided(inner[0])
        )
    return any(_holds_stack(x) for x in inner)


def _holds_stack(layer):
    """Returns whether a layer, or a layer in it, holds a stack."""
    return _has_stack(layer) or any(map(_holds_stack, getattr(layer, "_layers", ())))


def _has_stack(layer):
    """Returns whether a layer has an attribute that lists composite layers of one class."""
    for name, value in vars(layer).items():
        if name == "_layers" or not isinstance(value, list):
            continue
        listed = [x for x in keras.tree.flatten(list(value)) if isinstance(x, layers.Layer)]
        composite = [x for x in listed if any(map(_weights, x._layers))]
        if len(composite) > 1 and len({type(x) for x in composite}) == 1:
            return True
    return False


def _weights(operation):
    """Returns the weights of a layer; an empty list for operations that are not layers."""
    return getattr(operation, "weights", [])


def _own_weights(layer):
    """Returns the weights of a layer that its sublayers don't hold."""
    inner = {id(w) for x in getattr(layer, "_layers", ()) for w in x.weights}
    return [w for w in layer.weights if id(w) not in inner]


def _kind(operations):
    """Returns the kind of the unit that consists of these operations."""
    kernels = [o for o in operations if any(map(_is_kernel, _weights(o))) and not _is_table(o)]
    if not kernels:
        return _Kind.SCALE
    if type(operations[-1]).__name__ == "Multiply":  # the layer's, and the operation's
        return _Kind.GATE
    for kind, is_of_kind in _KINDS.items():
        if all(map(is_of_kind, kernels)):
            return kind
    return _Kind.FULL


def _is_kernel(weight):
    """Returns whether a weight combines channels, unlike scales, biases, tokens and positions."""
    rank = len(weight.shape)
    return rank > 1 and not (rank == 3 and weight.shape[0] == 1)


def _is_table(layer):
    """Returns whether a layer looks vectors up, such as those of positions."""
    return isinstance(layer, layers.Embedding)


def _is_depthwise(layer):
    if isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
        return True
    groups = getattr(layer, "groups", 1)
    return groups > 1 and groups == getattr(layer, "filters", None)


def _is_attention(layer):
    return isinstance(layer, (layers.MultiHeadAttention, layers.GroupQueryAttention))


def _is_pointwise(layer):
    if isinstance(layer, (layers.Conv1D, layers.Conv2D)) and layer.groups == 1:
        return set(layer.kernel_size) == {1}
    return isinstance(layer, (layers.Dense, layers.EinsumDense))


_KINDS = {
    _Kind.DEPTHWISE: _is_depthwise,
    _Kind.ATTENTION: _is_attention,
    _Kind.POINTWISE: _is_pointwise,
}
