"""Addresses, and the settings of the process, which are restored."""

import gc
import os
import resource
import sys

import pytest

from dml.errors import OptionError
from dml.serve import run_server, server


def test_loopback():
    local = ("localhost", "127.0.0.1", "127.9.9.9", "::1")
    assert all(map(server._is_loopback, local))
    remote = ("0.0.0.0", "::", "example.org", "192.168.0.1")
    assert not any(map(server._is_loopback, remote))


def test_a_browser_is_opened_only_where_there_is_a_display(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert not server._has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert server._has_display()


@pytest.mark.parametrize(
    "options, name",
    [({"host": "0.0.0.0"}, "host"), ({"port": 65536}, "port"), ({"token": "sécret"}, "token")],
)
def test_options_out_of_range_are_named(options, name):
    with pytest.raises(OptionError) as caught:
        run_server("none", **options)
    assert caught.value.option == name


def test_settings_of_the_process_are_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)

    def settings():
        return (
            sys.getswitchinterval(), resource.getrlimit(resource.RLIMIT_NOFILE), dict(os.environ),
            gc.get_freeze_count(),
        )  # fmt: skip

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        before = settings()
        with server._openmp_threads(2), server._open_files(513), server._low_latency():
            assert os.environ["OMP_NUM_THREADS"] == "7"  # the user's
            assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (513, hard)
            assert sys.getswitchinterval() == pytest.approx(0.0005) and gc.get_freeze_count() > 0
        assert settings() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
