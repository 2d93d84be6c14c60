"""A cluster is joined or started, and one that does not answer is refused at once."""

import pytest

from dml._ray import joined_cluster
from dml.errors import StorageError

ray = pytest.importorskip("ray", reason="needs dml[ray]")


def test_a_node_that_does_not_come_up_is_tried_again(monkeypatch):
    tried = []
    comes_up_at = 3

    def init(address, **options):
        tried.append(address)
        if len(tried) < comes_up_at:
            raise Exception("The current node timed out during startup.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    with joined_cluster():
        assert tried == ["local"] * 3
    tried.clear()
    comes_up_at = 4
    text = "Ray did not start on this machine: The current node timed"
    with pytest.raises(StorageError, match=text), joined_cluster():
        pytest.fail("it did not start")
    assert len(tried) == 3


@pytest.mark.parametrize("port", ["1", "99999"])
def test_an_address_without_a_cluster_is_refused_at_once(monkeypatch, port):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    # Ray itself would try for half a minute.
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray tries to connect"))
    text = f"no Ray cluster answers at RAY_ADDRESS .*:{port}"
    with pytest.raises(StorageError, match=text), joined_cluster():
        pytest.fail("it was joined")


def test_an_address_that_can_not_be_joined_is_one_line(monkeypatch):
    def init(**options):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(ray, "init", init)
    text = "RAY_ADDRESS auto can't be joined: Could not find any running Ray instance"
    with pytest.raises(StorageError, match=text), joined_cluster():
        pytest.fail("it was joined")
