"""Slow and greedy clients, against a service that listens."""

import contextlib
import resource
import socket
import threading
import time

import httpx
import pytest
import uvicorn

from dml.serve.app import ServiceOptions, create_app
from dml.serve.limits import ImpatientProtocol
from tests.serve.shop import write_shop


class Impatient(ImpatientProtocol):
    seconds = 1


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    shop = write_shop(tmp_path_factory.mktemp("shop"))
    app = create_app(shop, ServiceOptions(seconds=1.0, most_bytes=100_000))
    bound = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = uvicorn.Config(app, http=Impatient, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def healthy(port):
    return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200


def ended(connection):
    """Returns what a connection still says until it is closed."""
    connection.settimeout(6)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(4096):
            said += part
    return said


HEAD = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"


@pytest.mark.parametrize(
    "sent, answer",
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost", b""),
        (HEAD + b"Content-Length: 5000\r\n\r\n--b\r\n", b"408"),
        (HEAD + b"Content-Length: 500000\r\n\r\n", b"413"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n--b\r\n\r\n", b"408"),
    ],
    ids=["silent", "half a header", "half a body", "announced too much", "endless"],
)
def test_a_slow_client_is_let_go(port, sent, answer):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        said = ended(connection)
    assert answer in said.split(b"\r\n")[0] and time.monotonic() - started < 5
    assert healthy(port)


@pytest.mark.slow
def test_a_thousand_slow_clients_do_not_stop_it(port):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4000:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4000), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(HEAD + b"Content-Length: 90000\r\n\r\n--b\r\n")
        assert healthy(port)
    assert healthy(port)
