"""Arguments that several commands share."""

import argparse

from dml.commands._arguments import add_allow_parts, add_bundle


def test_parts_are_not_allowed_and_the_encoder_is_the_indexs_own_by_default():
    parser = argparse.ArgumentParser()
    add_allow_parts(parser)
    add_bundle(parser)
    defaults = parser.parse_args([])
    assert defaults.allow_parts is False and defaults.bundle is None
    given = parser.parse_args(["--allow-parts", "--bundle", "folder"])
    assert given.allow_parts is True and given.bundle == "folder"
