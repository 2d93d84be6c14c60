"""The ranges of a study hold for every loss and augmentation: options exist and take both ends."""

import pytest

from dml.augmentations import AUGMENTATIONS
from dml.errors import OptionError
from dml.losses import LOSSES
from dml.recipe import options_of
from dml.tuning import Choice, Interval
from dml.tuning._ranges import (
    AUGMENTATION_RANGES,
    CLASS_LOSSES,
    CROPPING,
    LOSS_RANGES,
    PAIR_LOSSES,
    WEIGHT_DECAYS,
)

PARTS = [
    (part, name, ranges)
    for family, known in ((LOSSES, LOSS_RANGES), (AUGMENTATIONS, AUGMENTATION_RANGES))
    for name, ranges in known.items()
    for part in [family[name]]
]


def test_every_loss_and_augmentation_is_listed():
    own = {name for name, part in LOSSES.items() if part.__module__.startswith("dml.")}
    assert set(LOSS_RANGES) == own
    assert set(AUGMENTATION_RANGES) == set(AUGMENTATIONS)
    assert {*CLASS_LOSSES, *PAIR_LOSSES} <= own and set(CROPPING) <= set(AUGMENTATIONS)


@pytest.mark.parametrize("part, name, ranges", PARTS, ids=lambda value: value if value else "none")
def test_both_ends_are_allowed_and_the_default_is_between(part, name, ranges):
    defaults = {option.name: option.default for option in options_of(part)}
    assert set(ranges) <= set(defaults)
    for option, interval in ranges.items():
        assert interval.low <= defaults[option] <= interval.high
        assert isinstance(defaults[option], int) >= interval.whole
        for end in (interval.low, interval.high):
            part(**{option: end})


def test_losses_of_classes_have_proxies_and_losses_of_pairs_have_none():
    assert all(LOSSES[name].proxies_per_class for name in CLASS_LOSSES)
    assert not any(LOSSES[name].proxies_per_class for name in PAIR_LOSSES)


def test_an_interval_is_widened_to_a_value_that_it_can_hold():
    interval = Interval(0.1, 1, log=True)
    assert interval.including(0.5) == interval
    assert interval.including(3) == Interval(0.1, 3, log=True)
    assert interval.including(0.01) == Interval(0.01, 1, log=True)
    assert interval.allows(2) and not interval.allows(0) and not interval.allows("a")
    whole = Interval(1, 4, whole=True)
    assert whole.allows(9) and not whole.allows(2.5) and not whole.allows(True)


def test_a_new_value_of_a_choice_comes_first():
    assert Choice((1, 2)).including(2) == Choice((1, 2))
    assert Choice((1, 2)).including(0) == Choice((0, 1, 2))
    assert 0 in WEIGHT_DECAYS.values


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: Interval(1, 1), "high must be above low, 1"),
        (lambda: Interval(0, 1, log=True), "low must be positive"),
        (lambda: Choice(()), "values must be different values"),
        (lambda: Choice((1, 1)), "values must be different values"),
    ],
)
def test_empty_domains_are_refused(make, text):
    with pytest.raises(OptionError, match=text):
        make()
