"""A lock keeps a second writer out, names the first, and ends with its process."""

import os
import subprocess
import sys

import pytest

from dml._storage.locks import locked

HOLD = """
import sys, time
from dml._storage.locks import locked
with locked(sys.argv[1], "runs/mine"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a" / ".lock")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_error_of_a_second_process_names_the_holder_of_the_lock(holder, tmp_path):
    with (
        pytest.raises(ValueError, match=f"runs/mine: process {holder.pid} on .* is writing it"),
        locked(tmp_path / "a" / ".lock", "runs/mine"),
    ):
        raise AssertionError("the lock was given twice")


def test_a_killed_process_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    with locked(tmp_path / "a" / ".lock", "runs/mine"):
        assert (tmp_path / "a" / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_is_free_again_after_the_block_even_if_the_file_was_removed(tmp_path):
    for _ in range(2):
        with locked(tmp_path / ".lock", "it"):
            (tmp_path / ".lock").unlink()


def test_the_same_process_is_refused_as_well(tmp_path):
    with (
        locked(tmp_path / ".lock", "it"),
        pytest.raises(ValueError, match="it: process"),
        locked(tmp_path / ".lock", "it"),
    ):
        raise AssertionError("the lock was given twice")


def test_what_a_link_or_pipe_leads_to_is_not_written(tmp_path):
    (tmp_path / "diary").write_text("mine")
    (tmp_path / "link").symlink_to("diary")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("link", "link: a link"), ("pipe", "pipe: not a regular")):
        with pytest.raises(OSError, match=reason), locked(tmp_path / name, "it"):
            raise AssertionError("locked")
    assert (tmp_path / "diary").read_text() == "mine"
