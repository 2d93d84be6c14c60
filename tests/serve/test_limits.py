"""Slow and greedy clients, against a service that listens."""

import asyncio
import contextlib
import http.client
import re
import resource
import socket
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from dml.serve import ServiceOptions, create_app
from dml.serve._limits import ImpatientProtocol
from tests.serve.shop import served, write_shop


class Service(threading.Thread):
    """A service in a thread, whose clock can be put forward.

    Args:
        app: The application.
    """

    def __init__(self, app):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, http=ImpatientProtocol, log_level="error"))
        self.loop = asyncio.new_event_loop()
        self.ahead, real = 0, self.loop.time
        self.loop.time = lambda: real() + self.ahead

    def run(self):
        self.loop.run_until_complete(self.server.serve([self.socket]))
        self.loop.close()

    def put_forward(self):
        """Moves the clock beyond every timeout."""
        self.ahead += 3600
        self.loop.call_soon_threadsafe(lambda: None)  # wakes the loop


@contextlib.contextmanager
def running(shop, **options):
    """Gives a service of an index."""
    service = Service(create_app(shop, ServiceOptions(max_upload_bytes=100_000, **options)))
    service.start()
    assert healthy(service.port)
    yield service
    service.server.should_exit = True
    service.join(60)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def service(shop):
    with running(shop) as service:
        yield service


def healthy(port):
    return httpx.get(f"http://127.0.0.1:{port}/health", timeout=600).status_code == 200


def ended(connection, service):
    """Returns what a connection still says until it is closed, while the hours fly."""
    connection.settimeout(0.05)
    said = b""
    for _ in range(1000):
        try:
            part = connection.recv(4096)
        except TimeoutError:
            service.put_forward()
            continue
        except ConnectionResetError:
            return said
        if not part:
            return said
        said += part
    raise TimeoutError("the connection stays open")


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
def test_a_slow_client_is_let_go(service, sent, answer):
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(sent)
        said = ended(connection, service)
    assert answer in said.split(b"\r\n")[0]
    assert healthy(service.port)


@pytest.fixture(scope="module")
def guarded(shop):
    with running(shop, token="secret") as service:
        yield service


REFUSED = [  # the service, headers, bytes of the body, the answer
    ("guarded", {"Authorization": "Bearer wrong"}, 90_000, 401),
    ("service", {"Origin": "http://other"}, 90_000, 403),
    ("guarded", {"Authorization": "Bearer secret"}, 5_000_000, 413),
    ("guarded", {"Authorization": "Bearer wrong"}, 5_000_000, 413),
    ("service", {}, iter([b"x" * 50_000] * 100), 413),  # in chunks, of no declared length
]


@pytest.mark.parametrize("name, headers, body, status", REFUSED)
def test_a_client_that_sends_before_it_reads_can_read_a_refusal(
    request, name, headers, body, status
):
    port = request.getfixturevalue(name).port
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 600)) as connection:
        content = b"x" * body if isinstance(body, int) else body
        connection.request("POST", "/search", content, headers)
        response = connection.getresponse()
        assert response.status == status and b"detail" in response.read()


def test_a_refused_body_is_received_within_bounds(service):
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nx")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")  # before the rest
        ended(connection, service)


def allow_files(count):
    """Lets this process open so many files, or skips the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


@pytest.mark.slow
def test_a_thousand_slow_clients_do_not_stop_it(service):
    allow_files(4000)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            connection.sendall(HEAD + b"Content-Length: 90000\r\n\r\n--b\r\n")
        assert healthy(service.port)
    assert healthy(service.port)


def memory_mib(process, field):
    """Returns a field of a process's memory, as Linux counts it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_thousand_clients_that_send_a_mebibyte_each_take_a_bounded_memory(tmp_path):
    allow_files(4000)
    shop = write_shop(tmp_path)
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"
    with served(shop) as (address, service), contextlib.ExitStack() as stack:
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        assert healthy(port)
        before = memory_mib(service, "VmRSS")
        for _ in range(1000):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):  # it receives 503 and is cut off
                connection.sendall(head + bytes(2**20))
        assert healthy(port)
        # ServiceOptions: 16 bodies of 16 MiB; as much again for what is between them and a socket.
        assert memory_mib(service, "VmHWM") - before < 512
