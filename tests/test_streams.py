"""What libraries print on standard error is hidden, unless they fail."""

import os

import pytest

from dml._streams import held_back


def test_what_a_block_prints_is_shown_if_it_fails(capfd):
    with held_back():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError), held_back():
        os.write(2, b"the reason\n")
        raise ValueError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the reason\nafterwards\n"
