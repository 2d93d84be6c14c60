"""Too little address space is reported before libraries crash."""

import os
import resource
import subprocess
import sys

import pytest

from dml._console.runtime import ADDRESS_SPACE, Runtime, check_address_space


@pytest.mark.parametrize("runtime", [Runtime.ENCODER, Runtime.KERAS])
def test_refuses_a_limit_below_what_is_needed(monkeypatch, runtime):
    first, each = ADDRESS_SPACE[runtime]
    least = int((first + each * os.cpu_count()) * 2**30)
    for limit in (resource.RLIM_INFINITY, least):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=limit: (soft, soft))
        check_address_space(runtime)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (least - 1, least))
    with pytest.raises(MemoryError, match="ulimit -v"):
        check_address_space(runtime)


@pytest.mark.parametrize("words", ["search no/index a.jpg", "serve no/index", "train glyphs"])
def test_a_gibibyte_is_one_line(words):
    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))

    command = [sys.executable, "-m", "dml", *words.split()]
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("dml: not enough memory: the address space is limited to 1.0 ")


def test_what_needs_no_library_runs_in_any_address_space(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**20, 2**20))
    check_address_space(Runtime.NONE)
