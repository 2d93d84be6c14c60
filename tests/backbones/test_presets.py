"""Presets with a name of their own: their addresses, licences and documentation."""

import pytest

from dml.backbones import BACKBONES
from dml.backbones._presets import named_presets
from dml.cli import main

PRESETS = list(named_presets())


def test_addresses_on_kaggle_are_those_of_keras_hub():
    library = pytest.importorskip("keras_hub")
    known = {preset["kaggle_handle"] for preset in library.models.Backbone.presets.values()}
    ours = {preset.handle for preset in PRESETS if preset.handle.startswith("kaggle://")}
    assert not ours - known


def test_names_are_registered_once():
    names = [preset.name for preset in PRESETS]
    assert len(set(names)) == len(names) and set(names) <= set(BACKBONES)
    assert all(BACKBONES[p.name]().preset == p.handle for p in PRESETS)


def test_licences_and_what_must_be_accepted_are_listed(capsys):
    assert main(["parts", "backbones"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = {line.partition(":")[0]: i for i, line in enumerate(lines) if line[0] != " "}
    for name, licence in {
        "dinov2_base": "Apache-2.0",
        "dinov3_vit_base": "to be accepted on the hub first",
        "metaclip2": "no commercial use",
        "hub": "the preset's own",
    }.items():
        assert licence in lines[starts[name] + 1]
    assert "licence" not in lines[starts["conv4"] + 1]
