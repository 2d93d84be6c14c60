"""Concurrent searches, and images that are slow to decode or missing."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from fastapi.testclient import TestClient

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index import build_index, index_images, open_index
from dml.serve import ServiceOptions, create_app
from dml.serve._batching import Overloaded
from dml.serve._decoding import Decoder
from dml.serve._holder import Snapshot
from dml.serve._searcher import Searcher
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items
from tests.jpegs import many_scans
from tests.serve.shop import png_header, upload, write_shop

SQUARE = np.full((20, 20, 3), 200, "uint8")


def test_searches_at_the_same_time_each_get_their_own(client, shop):
    index = open_index(shop)

    def near(row, k):
        query = {"vector": index.snapshot.vectors[row].tolist(), "k": k}
        return [one["label"] for one in client.post("/search/vector", json=query).json()["results"]]

    rows, sizes = [row % 12 for row in range(60)], [1 + row % 5 for row in range(60)]
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(near, rows, sizes))
    for row, k, labels in zip(rows, sizes, found, strict=True):
        assert len(labels) == k and labels[0] == index.snapshot.items["label"][row]


def test_items_whose_files_are_no_images_any_more_hold_nobody_up(tmp_path):
    shop = write_shop(tmp_path)
    items = open_index(shop).snapshot.items.iloc[:6]
    for path in items["path"]:
        Path(path).unlink()
    pipe, folder, text, scans, large, _ = map(Path, items["path"])
    os.mkfifo(pipe)
    folder.mkdir()
    text.write_text("no image")
    scans.write_bytes(many_scans(500, 500, 10_000))
    large.write_bytes(png_header(50_000, 50_000))
    with TestClient(create_app(shop)) as client:
        for id in list(items["id"]) * 4:  # more than there are threads
            answer = client.get(f"/image?id={id}")
            assert answer.status_code == 404
            assert answer.json() == {"detail": "the image is missing or can't be read"}
            found = client.get("/search", params={"id": id, "crop": True}).json()
            assert len(found["results"]) == 10 and found["crop"] is None


@pytest.fixture
def hung():
    """An event until which images at hung:// are not read."""
    released = threading.Event()

    class Hung(fsspec.AbstractFileSystem):
        protocol = "hung"
        cachable = False

        def _open(self, path, *arguments, **options):
            released.wait(600)
            raise FileNotFoundError(path)

    fsspec.register_implementation("hung", Hung, clobber=True)
    yield released
    released.set()


def test_images_that_are_never_read_hold_up_no_search(tmp_path, hung):
    encoder, vectors = OnnxEncoder(write_bundle(tmp_path / "bundle")), clusters(40, DIMENSION)
    paths = [f"hung://server/{n}.png" for n in range(40)]
    index = build_index(tmp_path / "shop", encoder, items(40).assign(path=paths), vectors)
    snapshot = Snapshot(index, encoder)

    async def work():
        async with Searcher(ServiceOptions(workers=2, max_pending=4, timeout=600.0)) as searcher:
            searcher._readers._timeout = 0.01
            for _ in range(3):  # more than there are threads
                with pytest.raises(TimeoutError):
                    await searcher.thumbnail(snapshot, "i1")
            for _ in range(6):  # more than may wait
                found = await searcher.by_item(snapshot, "i1", 3, None, crop=True)
                assert len(found.neighbours) == 3 and found.crop is None
            with pytest.raises(Overloaded):
                await searcher.thumbnail(snapshot, "i1")
            assert await searcher.run(index.page, "price < 3", 0, 1) == ([index.item("i0")], 3)
            hung.set()

    asyncio.run(work())


def test_items_without_an_image_are_searched_by(tmp_path):
    encoder, vectors = OnnxEncoder(write_bundle(tmp_path / "bundle")), clusters(20, DIMENSION)
    build_index(tmp_path / "shop", encoder, items(20).drop(columns="path"), vectors)
    with TestClient(create_app(tmp_path / "shop")) as client:
        answer = client.get("/image?id=i1")
        assert answer.status_code == 404
        assert answer.json() == {"detail": "the image is missing or can't be read"}
        found = client.get("/search?id=i1&k=3&crop=true").json()
        assert len(found["results"]) == 3 and found["crop"] is None


def test_drawn_images_are_shown_and_searched_by(tmp_path):
    names = [f"glyph:seed=0,size=64,class={n % 2},sample={n}" for n in range(4)]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["id,path", *(f'i{n},"{name}"' for n, name in enumerate(names))]))
    bundle = write_bundle(tmp_path / "bundle")
    index_images(bundle, [listed], tmp_path / "shop")
    with TestClient(create_app(tmp_path / "shop")) as client:
        assert client.get("/image?id=i0").content[:2] == b"\xff\xd8"
        found = client.get("/search", params={"id": "i0", "crop": True}).json()
        assert len(found["results"]) == 3 and found["crop"]


def test_parts_of_images_are_shown_and_searched_by(tmp_path):
    whole = np.zeros((600, 800, 3), "uint8")  # too large to be decoded in the server's process
    whole[100:200, 300:500] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "a.png"), whole)
    mask = np.full((600, 800, 3), 255, "uint8")
    mask[150:] = 0
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    box = "path,mask,x0,y0,x1,y1\na.png,m.png,{}\na.png,m.png,0,0,800,600\n"
    (tmp_path / "list.csv").write_text(box.format("300,100,500,200"))
    index_images(write_bundle(tmp_path / "bundle"), [tmp_path / "list.csv"], tmp_path / "shop")
    id = "crop:pixels=300,100,500,200:mask:m.png:a.png"
    with TestClient(create_app(tmp_path / "shop")) as client:
        shown = client.get(f"/image?id={id}").content
        image = cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image.shape == (100, 200, 3)
        assert np.abs(image[:40] - np.array([255.0, 0, 0])).max() < 12
        assert (image[60:] > 243).all()
        found = client.get("/search", params={"id": id, "crop": True}).json()
        assert len(found["results"]) == 1 and found["crop"]


def test_excess_requests_receive_503(shop, photo):
    app = create_app(shop, ServiceOptions(max_pending=2, max_batch_size=1))
    with TestClient(app) as client:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(upload(client, photo)))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert all(a.headers["retry-after"] == "1" for a in answers if a.status_code == 503)
        assert upload(client, photo).status_code == 200


def test_an_image_that_takes_long_is_given_up(shop, photo):
    slow = many_scans(5000, 5000, 99)
    with TestClient(create_app(shop, ServiceOptions(decode_timeout=0.3, timeout=600.0))) as client:
        answer = upload(client, slow)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "the upload: decoding takes longer than 0.3 s"
        assert upload(client, photo).status_code == 200


def test_images_that_take_long_hold_up_no_others(shop, photo, monkeypatch):
    released, answers = threading.Event(), []
    monkeypatch.setattr(Decoder, "__call__", lambda *arguments: released.wait(600) and SQUARE)
    slow = many_scans(501, 500, 100)
    with TestClient(create_app(shop, ServiceOptions(timeout=600.0))) as client:
        threads = [
            threading.Thread(target=lambda: answers.append(upload(client, slow))) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        assert [upload(client, photo).status_code for _ in range(5)] == [200] * 5
        assert answers == []
        released.set()
        for thread in threads:
            thread.join()
    assert [answer.status_code for answer in answers] == [200] * 12
