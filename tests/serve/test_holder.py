"""The index is reloaded when it changes; failures are logged, shown and retried."""

import asyncio
import shutil
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from dml.index import open_index
from dml.serve import create_app
from dml.serve._holder import IndexHolder
from tests.bundles import threshold
from tests.serve.shop import write_shop


class ExtensionPanic(BaseException):
    """What extension modules written in Rust raise: no Exception."""


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr("dml.serve._holder.CHECK_SECONDS", 0.02)


def search(client, photo, **parameters):
    return client.post("/search", content=photo, params=parameters).json()


def wait_for(is_so):
    """Waits until something is so."""
    for _ in range(6000):
        if is_so():
            return
        time.sleep(0.02)
    raise TimeoutError


def health(client):
    return client.get("/health").json()


def test_a_changed_index_is_reloaded(tmp_path):
    shop = write_shop(tmp_path)
    with TestClient(create_app(shop)) as client:
        open_index(shop).remove(open_index(shop).snapshot.items["id"].tolist())
        wait_for(lambda: health(client)["items"] == 0)
        found = client.post("/search/vector", json={"vector": np.ones(6).tolist()}).json()
        assert found["results"] == [] and client.get("/about").json()["items"] == 0


def test_an_index_with_another_encoder_is_reloaded_with_it(tmp_path, photo):
    shop = write_shop(tmp_path / "old")
    write_shop(tmp_path / "new", seed=1, side=12, thresholds=())
    with TestClient(create_app(shop)) as client:
        shop.rename(tmp_path / "away")
        wait_for(lambda: health(client)["status"] == "stale")
        assert search(client, photo)["threshold"] == 0.5  # the loaded one stays in use
        (tmp_path / "new" / "shop").rename(shop)
        wait_for(lambda: health(client)["status"] == "ok")
        found = search(client, photo, k=1)
        assert found["threshold"] is None
        assert found["results"][0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_a_rebuilt_index_with_other_thresholds_is_reloaded_with_them(tmp_path, photo):
    shop = write_shop(tmp_path / "old")
    write_shop(tmp_path / "new", thresholds=(threshold(similarity=0.25),))
    with TestClient(create_app(shop)) as client:
        assert search(client, photo)["threshold"] == 0.5
        shop.rename(tmp_path / "away")
        (tmp_path / "new" / "shop").rename(shop)
        wait_for(lambda: search(client, photo)["threshold"] == 0.25)
        assert health(client)["status"] == "ok"


@pytest.mark.parametrize(
    "error",
    [RuntimeError, MemoryError, KeyError, ValueError, OSError, SystemExit, ExtensionPanic],
)
def test_a_failed_reload_is_logged_once_shown_and_tried_again(
    shop, tmp_path, monkeypatch, caplog, error
):
    shutil.copytree(shop, tmp_path / "shop")
    reload, failing, attempts = IndexHolder.reload_if_changed, [True], []

    def reload_if_changed(holder):
        attempts.append(holder)
        if failing[0]:
            raise error("broken")
        reload(holder)

    monkeypatch.setattr(IndexHolder, "reload_if_changed", reload_if_changed)
    monkeypatch.setattr("dml.serve._holder.MAX_CHECK_SECONDS", 0.02)
    with TestClient(create_app(tmp_path / "shop")) as client:
        wait_for(lambda: len(attempts) > 3)
        assert health(client) == {"status": "stale", "items": 12}
        (logged,) = caplog.records
        assert logged.levelname == "ERROR" and f"{error.__name__}: " in logged.getMessage()
        assert "reloading the index failed" in logged.getMessage()
        changed = open_index(tmp_path / "shop")
        changed.remove(changed.snapshot.items["id"].tolist()[:5])
        failing[0] = False
        wait_for(lambda: health(client) == {"status": "ok", "items": 7})
        assert caplog.records[-1].levelname == "WARNING"
        assert "the index has been reloaded" in caplog.records[-1].getMessage()
        assert len(caplog.records) == 2


def test_a_failing_reload_is_tried_less_and_less_often(shop, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) > 8:
            raise TimeoutError

    def fail(holder):
        raise RuntimeError("broken")

    monkeypatch.setattr("dml.serve._holder.CHECK_SECONDS", 2.0)
    monkeypatch.setattr("dml.serve._holder.asyncio.sleep", sleep)
    monkeypatch.setattr(IndexHolder, "reload_if_changed", fail)
    with pytest.raises(TimeoutError):
        asyncio.run(IndexHolder(shop).watch())
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_an_index_that_stays_of_another_encoder_is_reported(tmp_path, photo, caplog):
    shop = write_shop(tmp_path / "old")
    other = write_shop(tmp_path / "new", seed=1)
    with TestClient(create_app(shop, bundle=tmp_path / "old" / "bundle")) as client:
        shop.rename(tmp_path / "away")
        other.rename(shop)
        wait_for(lambda: "another encoder" in caplog.text)
        assert health(client) == {"status": "stale", "items": 12}
        assert search(client, photo)["results"][0]["label"] == "class 1"
