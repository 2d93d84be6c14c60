"""Every numeric option of every part refuses what is no number, or no whole one, by its name."""

import dataclasses
import math

import pytest

from dml.errors import OptionError
from dml.recipe._schema import FAMILIES, GROUPS, group_of

MAY_BE_INFINITE = {"epsilon"}  # of multi_similarity, loss and miner: keeps all pairs


def options():
    """Yields section, part, its class and the field of each numeric option."""
    for section in (*FAMILIES, *GROUPS):
        family = FAMILIES.get(section)
        parts = family.parts() if family else {section: group_of(section)}
        for name, part in sorted(parts.items()):
            for field in dataclasses.fields(part):
                if field.type in (int, float, int | None, float | None):
                    yield section, name, part, field


@pytest.mark.parametrize("section", [s for s in (*FAMILIES, *GROUPS) if s != "auxiliary_loss"])
def test_numbers_that_are_none_are_refused(section):
    for own, name, part, field in options():
        if own != section:
            continue
        whole = field.type in (int, int | None)
        bad = [2.5, math.nan] if whole else [math.nan, math.inf, -math.inf]
        if name == "multi_similarity" and field.name in MAY_BE_INFINITE:
            bad.remove(math.inf)
        for value in bad:
            with pytest.raises(OptionError, match=field.name) as raised:
                part(**{field.name: value})
            assert raised.value.option == field.name, f"{section}.{name}"
