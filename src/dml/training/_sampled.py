"""Training the proxies of a sample of the classes: their layer and the optimizer's slots."""

import math
from typing import Any

import keras

from dml._devices import whole
from dml._options import check_interval
from dml.errors import OptionError
from dml.heads import Head, ProxyHead, SampledProxyHead
from dml.losses import MetricLoss
from dml.ops import set_rows, take_rows


def sample_size(share: float, classes: int) -> int:
    """Returns how many classes a share of them is, in each step."""
    return math.ceil(share * classes)


def sampled_head(
    head: Any, loss: MetricLoss, share: float, correct_bias: bool, storage: str
) -> SampledProxyHead:
    """Returns the head of a loss that compares with a share of the classes.

    Args:
        head: The loss's own.
        loss: The loss.
        share: The share of the classes, in (0, 1).
        correct_bias: Whether to correct the bias of the softmax over a sample.
        storage: Format of the table of all proxies.

    Raises:
        OptionError: The loss has another head, or no softmax of cosines to correct; or all classes
            are taken.
    """
    check_interval("(0, 1]", sample=share)
    name = type(loss).__name__
    if correct_bias and not loss.is_softmax_of_cosines:
        raise OptionError(
            "correct_bias", f"is for softmax losses of cosines to proxies, and {name} is none"
        )
    if share == 1 and correct_bias:
        raise OptionError("correct_bias", "needs a sample below 1: all classes have no bias")
    if share == 1:
        raise OptionError(
            "storage", "needs a sample below 1: otherwise there is no table of proxies"
        )
    if type(head) is not ProxyHead:
        why = "compares with no proxies" if head is None else f"has a {type(head).__name__}"
        raise OptionError("sample", f"is for losses with plain proxies, and {name} {why}")
    return SampledProxyHead(
        head.classes,
        head.embedding_dim,
        sample_size(share, head.classes),
        head.proxies_per_class,
        head.initial_length,
        correction=1 / loss.scale if correct_bias else 0.0,
        storage=storage,
    )


def slots_of(optimizer: Any, variable: keras.Variable) -> list[keras.Variable]:
    """Returns a built optimizer's state for a variable, such as its moments."""
    prefix = variable.path.replace("/", "_") + "_"
    shape = tuple(variable.shape)
    return [v for v in optimizer.variables if v.name.startswith(prefix) and tuple(v.shape) == shape]


def _first(slot):
    """Returns the number that a new slot is filled with."""
    return float(whole(slot.value).flat[0])


def slot_tables(
    head: Head | None, optimizer: Any, variables: list[keras.Variable]
) -> "SlotTables | None":
    """Returns tables of an optimizer's state for all proxies; None if a step takes them all.

    Args:
        head: The learner's.
        optimizer: The learner's, which is built if there are tables.
        variables: Those that it trains.
    """
    if not isinstance(head, SampledProxyHead):
        return None
    optimizer.build(variables)
    return SlotTables(slots_of(optimizer, head.proxies), head)


class SlotTables(keras.layers.Layer):
    """An optimizer's state for the proxies of all classes, such as their moments.

    Args:
        slots: The optimizer's variables for the proxies of a sample, each (S, K, D).
        head: The head of the proxies, whose format the tables have.
    """

    def __init__(self, slots, head: SampledProxyHead):
        super().__init__(name="slots")
        self.tables = [
            self.add_weight(
                name=slot.name,
                shape=(head.classes, *slot.shape[1:]),
                dtype=head.storage,
                initializer=keras.initializers.Constant(_first(slot)),
                trainable=False,
            )
            for slot in slots
        ]
        self.built = True

    def draw(self, optimizer: Any, head: SampledProxyHead) -> None:
        """Gives the optimizer what it knows of the classes that were drawn."""
        for table, slot in zip(self.tables, slots_of(optimizer, head.proxies), strict=True):
            slot.assign(take_rows(table, head.rows))

    def put_back(self, optimizer: Any, head: SampledProxyHead) -> None:
        """Keeps what the optimizer knows of them."""
        for table, slot in zip(self.tables, slots_of(optimizer, head.proxies), strict=True):
            set_rows(table, head.rows, head.as_stored(slot))
