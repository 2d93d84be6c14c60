"""`dml parts`: families, their parts and options."""

import pytest

from dml.commands.parts import parts
from dml.losses import LOSSES


def reported(*arguments):
    lines = []
    parts(*arguments, report=lines.append)
    return lines


def test_lists_the_families():
    lines = reported()
    assert any(line.startswith("losses (") and "proxy_anchor" in line for line in lines)
    assert any(line.startswith("miners (") for line in lines)


def test_lists_every_loss_with_its_options():
    lines = reported("losses")
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == sorted(LOSSES)
    assert "    --loss.margin 0.1" in lines


@pytest.mark.parametrize(
    "family", ["datasets", "backbones", "samplers", "augmentations", "miners", "regularizers"]
)
def test_every_family_is_listed(family):
    assert len(reported(family)) > 1


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'losses'"):
        reported("loses")
