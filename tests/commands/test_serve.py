"""`dml serve` as it is typed."""

import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from dml.cli import main
from dml.commands.serve import read_token
from tests.serve.shop import write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return str(write_shop(tmp_path_factory.mktemp("shop")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_serves_until_it_is_stopped(shop, host):
    command = [sys.executable, "-m", "dml.cli", "serve", shop, "--port", "0", "--host", host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        address = re.match(rf"(http://{re.escape(host)}:\d+/)", it.stdout.readline())[1]
        assert httpx.get(address + "health").json()["items"] == 12
        it.send_signal(signal.SIGTERM)
        _, err = it.communicate(timeout=120)
    assert err == "" and it.returncode in (0, -signal.SIGTERM)


def test_elsewhere_only_with_a_token(shop, monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("DML_TOKEN", raising=False)
    assert main(["serve", shop, "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "host 0.0.0.0 can be reached by other machines" in capsys.readouterr().err
    empty = tmp_path / "token"
    empty.write_text("\n")
    assert main(["serve", shop, "--token-file", str(empty)]) == 2
    assert "contains no token" in capsys.readouterr().err
    empty.write_bytes(b"\xff\xfe")
    assert main(["serve", shop, "--token-file", str(empty)]) == 2
    assert "not text in UTF-8" in capsys.readouterr().err
    empty.write_text("secret\n")
    assert read_token(empty) == "secret"
    monkeypatch.setenv("DML_TOKEN", "from the environment")
    assert read_token(None) == "from the environment"


def test_bad_input_is_one_line(shop, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", shop, "--port", str(port)]) == 2
        assert f"can't listen on 127.0.0.1 port {port}: Address already in use" in (
            capsys.readouterr().err
        )
    assert main(["serve", shop, "--port", "99999"]) == 2
    assert "port must be in [0, 65535]; got 99999" in capsys.readouterr().err
    assert main(["serve", shop, "--token-file", "none"]) == 2
    assert "none: no such file" in capsys.readouterr().err
    assert main(["serve", str(tmp_path)]) == 2
    assert "not an index" in capsys.readouterr().err
