"""`dml parts`: families, their parts and options."""

import pytest

from dml.cli import main
from dml.losses import LOSSES


@pytest.fixture
def reported(capsys):
    def lines(*arguments):
        assert main(["parts", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return lines


def test_lists_the_families(reported):
    lines = reported()
    assert any(line.startswith("losses (") and "proxy_anchor" in line for line in lines)
    assert any(line.startswith("miners (") for line in lines)


def test_lists_every_loss_with_its_options(reported):
    lines = reported("losses")
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == sorted(LOSSES)
    assert "    --loss.margin 0.1" in lines


@pytest.mark.parametrize(
    "family", ["datasets", "backbones", "samplers", "augmentations", "miners", "regularizers"]
)
def test_every_family_is_listed(reported, family):
    assert len(reported(family)) > 1


def test_an_unknown_family_names_the_nearest(capsys):
    assert main(["parts", "loses"]) == 2
    assert "Did you mean 'losses'" in capsys.readouterr().err
