"""Addresses, the end of a service, and the settings of the process, which are restored."""

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import OptionError
from dml.index import build_index
from dml.serve import run_server, server
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items
from tests.jpegs import many_scans
from tests.serve.shop import served, write_shop

PATIENCE = 120  # seconds, which only a service that does not stop takes
DECODER = """#!{python}
# Receives an image, connects to a port, and never answers.
import socket, sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[-1]))
connection.send("ready")
connection.recv_bytes()
with socket.create_connection(("127.0.0.1", {port})):
    connection.recv_bytes()
"""
SERVICE = """
import functools, sys
from dml._console.reporter import ConsoleReporter
from dml.serve import server
_, shop, sys.executable = sys.argv
server._SHUTDOWN_TIMEOUT = 1
server.ServiceOptions = functools.partial(
    server.ServiceOptions, decoders=2, timeout=3600.0, decode_timeout=3600.0
)
server.run_server(shop, port=0, reporter=ConsoleReporter())
"""
HANGING = """
import sys, time
import fsspec
from dml._console.reporter import ConsoleReporter
from dml.serve import server

class Hanging(fsspec.AbstractFileSystem):
    protocol = "hanging"

    def _open(self, path, *arguments, **options):
        print("reading", flush=True)
        time.sleep(3600)

fsspec.register_implementation("hanging", Hanging)
server._SHUTDOWN_TIMEOUT = 1
server.run_server(sys.argv[1], port=0, reporter=ConsoleReporter())
"""


def test_it_stops_while_an_image_is_not_read(tmp_path):
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    table = items(5).assign(path="hanging://server/a.png")
    build_index(tmp_path / "shop", encoder, table, clusters(5, DIMENSION))
    command = [sys.executable, "-c", HANGING, str(tmp_path / "shop")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        ThreadPoolExecutor(1) as threads,
        subprocess.Popen(command, **pipes, text=True) as service,
    ):
        address = service.stdout.readline().split()[0]
        answer = threads.submit(httpx.get, f"{address}image?id=i1", timeout=None)
        assert service.stdout.readline() == "reading\n"
        try:
            service.send_signal(signal.SIGTERM)
            _, errors = service.communicate(timeout=PATIENCE)
        finally:
            service.kill()
    assert answer.exception() or answer.result().status_code == 503
    assert "Traceback" not in errors


def test_it_stops_while_images_are_decoded(tmp_path):
    shop, image = write_shop(tmp_path), many_scans(501, 500, 100)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        decoder = tmp_path / "decoder"
        decoder.write_text(DECODER.format(python=sys.executable, port=listener.getsockname()[1]))
        decoder.chmod(0o755)
        command = [sys.executable, "-c", SERVICE, str(shop), str(decoder)]
        with (
            ThreadPoolExecutor(3) as threads,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as service,
        ):
            address = service.stdout.readline().split()[0]
            answers = [
                threads.submit(httpx.post, f"{address}search", content=image, timeout=None)
                for _ in range(3)
            ]
            decoders = [listener.accept()[0] for _ in range(2)]
            try:
                service.send_signal(signal.SIGTERM)
                service.communicate(timeout=PATIENCE)
            finally:
                service.kill()
    assert all(answer.exception() or answer.result().status_code == 503 for answer in answers)
    assert [decoder.recv(1) for decoder in decoders] == [b"", b""]  # they have ended, too


@pytest.mark.parametrize("token, status", [("", 421), ("secret", 200)])
def test_a_proxy_may_keep_its_host_where_a_token_is_required(tmp_path, token, status):
    with served(write_shop(tmp_path), token) as (address, _):
        headers = {"Host": "search.example", "Authorization": "Bearer secret"}
        assert httpx.get(f"{address}items", headers=headers, timeout=600).status_code == status


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
