"""The service answers, and refuses what it should."""

import os
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from dml.commands import index as commands
from dml.index import FaissIndex, open_index
from dml.serve import ServiceOptions, create_app
from dml.serve._decoding import Decoder
from tests.bundles import write_bundle
from tests.jpegs import many_scans
from tests.serve.shop import write_shop

SQUARE = np.full((20, 20, 3), 200, "uint8")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def client(shop):
    with TestClient(create_app(shop, ServiceOptions(max_upload_bytes=200_000))) as client:
        yield client


@pytest.fixture
def photo(shop):
    return (shop.parent / "photos" / "class 1" / "2.png").read_bytes()


def upload(client, data, name="a.png", kind="image/png", **parameters):
    return client.post("/search", files={"image": (name, data, kind)}, params=parameters)


def test_an_upload_finds_its_class(client, photo):
    found = upload(client, photo, k=4, crop=True).json()
    assert [one["label"] for one in found["results"]] == ["class 1"] * 4
    assert found["results"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert found["results"][0]["same"] is True and found["threshold"] == 0.5
    assert found["crop"].startswith("data:image/jpeg;base64,")
    assert "path" not in found["results"][0]


def test_search_by_item_leaves_it_out_and_heeds_the_filter(client, shop):
    id = FaissIndex(shop).items["id"][0]
    found = client.get("/search", params={"id": id, "k": 3}).json()["results"]
    assert len(found) == 3 and id not in [one["id"] for one in found]
    where = 'label == "class 2"'
    found = client.get("/search", params={"id": id, "where": where}).json()["results"]
    assert {one["label"] for one in found} == {"class 2"} and len(found) == 4
    assert client.get("/search", params={"id": "/etc/passwd"}).status_code == 404


def test_search_by_vector(client, shop):
    vector = (3 * FaissIndex(shop).vectors[5]).tolist()
    found = client.post("/search/vector", json={"vector": vector, "k": 1}).json()["results"]
    assert found[0]["id"] == FaissIndex(shop).items["id"][5]
    for wrong in ([0.0] * 6, [1.0], []):
        answer = client.post("/search/vector", json={"vector": wrong})
        assert answer.status_code == 400 and "6 finite numbers" in answer.json()["detail"]


def test_searches_at_the_same_time_each_get_their_own(client, shop):
    index = FaissIndex(shop)

    def near(row, k):
        query = {"vector": index.vectors[row].tolist(), "k": k}
        return [one["label"] for one in client.post("/search/vector", json=query).json()["results"]]

    rows, sizes = [row % 12 for row in range(60)], [1 + row % 5 for row in range(60)]
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(near, rows, sizes))
    for row, k, labels in zip(rows, sizes, found, strict=True):
        assert len(labels) == k and labels[0] == index.items["label"][row]


def test_items_and_their_images(client, shop):
    page = client.get("/items", params={"offset": 10, "limit": 5}).json()
    assert page["total"] == 12 and len(page["items"]) == 2 and "path" not in page["items"][0]
    id = page["items"][0]["id"]
    assert client.get(f"/items/{id}").json()["label"] == "class 2"
    image = client.get(f"/images/{id}")
    assert image.headers["content-type"] == "image/jpeg" and image.content[:2] == b"\xff\xd8"
    for wrong in ("/images/../../etc/passwd", "/images//etc/passwd", "/items/none"):
        assert client.get(wrong).status_code == 404
    assert client.get("/about").json()["labels"] == ["class 0", "class 1", "class 2"]


def png_header(width, height):
    """Returns a PNG that says how large it is and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunks + struct.pack(">I", 1000) + b"IDAT" + bytes(10)


@pytest.mark.parametrize(
    "data, status",
    [
        (b"", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"PK\x03\x04" + bytes(100), 415),
        (b"\xff\xd8\xff\xe0" + bytes(50), 415),
        (cv2.imencode(".png", np.zeros((8000, 8000), "uint8"))[1].tobytes(), 413),
        (png_header(50_000, 50_000), 415),
        (png_header(100, 100), 415),
        (bytes(300_000), 413),
    ],
    ids=["empty", "svg", "zip", "jpeg header", "bomb", "claim", "truncated", "huge"],
)
def test_bad_uploads_are_named_and_the_service_stays_up(client, photo, data, status):
    answer = upload(client, data, name="../../etc/passwd")
    assert answer.status_code == status and answer.json()["detail"]
    assert upload(client, photo).status_code == 200


def test_a_truncated_photo_is_refused(client, photo):
    assert upload(client, photo[: len(photo) // 2]).status_code == 415


@pytest.mark.parametrize(
    "parameters, status",
    [
        ({"k": 0}, 422),
        ({"k": 10**9}, 422),
        ({"where": "import os"}, 400),
        ({"where": "x == 1"}, 400),
    ],
)
def test_bad_parameters_are_refused(client, photo, parameters, status):
    answer = upload(client, photo, **parameters)
    assert answer.status_code == status and answer.json()["detail"]


@pytest.mark.parametrize(
    "where",
    ["path > '/'", "not path == 'x'", "label == 'a' or path in ['b']",
     "label == 99999999999999999999", "id == 1e999", r"label == '\ud800'", "not " * 2000,
     "(" * 1000 + "id == 1" + ")" * 1000, "label == 7", "label != True", "id in ['a', 7]"],
)  # fmt: skip
def test_filters_that_can_t_be_are_refused_by_every_search(client, shop, photo, where):
    id = FaissIndex(shop).items["id"][0]
    answers = [client.post("/search/vector", json={"vector": [1] * 6, "where": where})]
    answers += [client.get(path, params={"where": where}) for path in ("/items", "/samples")]
    answers += [client.get("/search", params={"where": where, "id": id})]
    answers += [client.post("/search", params={"where": where}, content=photo)]
    for answer in answers:
        assert answer.status_code == 400 and answer.json()["detail"]
        assert ("items have no field 'path'; they have id, label" in answer.text) == (
            "path" in where
        )


@pytest.mark.parametrize(
    "body, status",
    [
        ('{"vector": [NaN, 1, 1, 1, 1, 1]}', 400),
        ('{"vector": [1e400, 1, 1, 1, 1, 1]}', 400),
        ('{"vector": [1e39, 1, 1, 1, 1, 1]}', 200),
        ('{"vector": [1e-200, 0, 0, 0, 0, 0]}', 200),
        ('{"vector": [NaN], "k": NaN}', 422),
        ('{"vector": ["\\ud800"]}', 422),
        ('{"vector": [1, 1, 1, 1, 1, 1], "where": "label == \'\\ud800\'"}', 400),
        ('{"vector": [1], "k": 1' + "0" * 5000 + "}", 400),
        ("[" * 100_000, 400),
        (" " * 2**20 + "{}", 413),
    ],
    ids=["nan", "infinite", "large", "small", "k", "surrogate", "where", "digits", "deep", "long"],
)
def test_odd_bodies_have_an_answer(shop, body, status):
    with TestClient(create_app(shop)) as client:
        answer = client.post("/search/vector", content=body, headers=JSON)
        assert answer.status_code == status and answer.json()


@pytest.mark.parametrize("where", ["label == 7", "label > 3", "id in [1, 2]", "label == True"])
def test_a_comparison_that_can_t_be_true_is_refused_with_the_reason(client, where):
    answer = client.get("/items", params={"where": where})
    assert answer.status_code == 400 and "text" in answer.json()["detail"]


def test_items_whose_files_are_no_images_any_more_hold_nobody_up(tmp_path):
    shop = write_shop(tmp_path)
    items = FaissIndex(shop).items.iloc[:6]
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
            answer = client.get(f"/images/{id}")
            assert answer.status_code == 404
            assert answer.json() == {"detail": "the image is missing or can't be read"}
            found = client.get("/search", params={"id": id, "crop": True}).json()
            assert len(found["results"]) == 10 and found["crop"] is None


def test_drawn_images_are_shown_and_searched_by(tmp_path):
    names = [f"glyph:seed=0,size=64,class={n % 2},sample={n}" for n in range(4)]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["id,path", *(f'i{n},"{name}"' for n, name in enumerate(names))]))
    bundle = write_bundle(tmp_path / "bundle")
    commands.build(bundle, [listed], tmp_path / "shop", report=lambda line: None)
    with TestClient(create_app(tmp_path / "shop")) as client:
        assert client.get("/images/i0").content[:2] == b"\xff\xd8"
        found = client.get("/search", params={"id": "i0", "crop": True}).json()
        assert len(found["results"]) == 3 and found["crop"]


def test_samples_are_of_every_label(client):
    drawn = client.get("/samples", params={"limit": 3}).json()
    assert {one["label"] for one in drawn["items"]} == {"class 0", "class 1", "class 2"}
    assert drawn["total"] == 12 and "path" not in drawn["items"][0]
    drawn = client.get("/samples", params={"where": 'label == "class 1"', "seed": 2**32 - 1}).json()
    assert len(drawn["items"]) == drawn["total"] == 4
    assert client.get("/samples", params={"seed": 2**32}).status_code == 422


def test_a_body_of_another_kind_is_refused(client):
    assert (
        client.post("/search", content=b"x", headers={"content-type": "text/a"}).status_code == 415
    )
    assert client.post("/search", json={"image": "x"}).status_code == 415


def test_health_metrics_and_a_documented_interface(client, photo):
    upload(client, photo)
    assert client.get("/health").json() == {"status": "ok", "items": 12}
    text = client.get("/metrics").text
    assert 'dml_requests_total{route="/search",status="200"}' in text and "dml_items 12" in text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/search/vector", "/items", "/health", "/metrics"} <= set(paths)


def test_the_page_needs_no_other_host_and_no_inline_script(client):
    for path in ("/", "/page.css", "/page.js"):
        answer = client.get(path)
        assert answer.status_code == 200 and "http:" not in answer.text.replace(
            "http://www.w3.org", ""
        )
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy and answer.headers["x-content-type-options"]
    assert client.get("/docs").status_code == 404


def test_a_token_is_asked_for(shop, photo):
    with TestClient(create_app(shop, ServiceOptions(token="long secret"))) as client:
        assert client.get("/").status_code == client.get("/health").status_code == 200
        assert upload(client, photo).status_code == client.get("/metrics").status_code == 401
        bearer = {"Authorization": "Bearer long secret"}
        assert client.get("/items", headers=bearer).status_code == 200
        assert client.get("/items", headers={"Authorization": "Bearer x"}).status_code == 401
        assert client.post("/login", json={"token": "x"}).status_code == 401
        answer = client.post("/login", json={"token": "long secret"})
        assert answer.status_code == 200 and "httponly" in answer.headers["set-cookie"].lower()


def test_other_host_headers_are_refused(shop):
    with TestClient(
        create_app(shop, ServiceOptions(allowed_hosts=("localhost", "[::1]")))
    ) as client:
        assert client.get("/health").status_code == 421
        for host in ("localhost", "localhost:80", "[::1]", "[::1]:80"):
            assert client.get("/health", headers={"Host": host}).status_code == 200
        for host in ("localhost.example.org", "example.org:80", "localhost@example.org", ""):
            assert client.get("/health", headers={"Host": host}).status_code == 421


FOREIGN = [
    {"Origin": "https://example.org"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
OWN = [
    {},
    {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]


def test_cross_origin_requests_may_only_link_to_the_page(shop, photo):
    with TestClient(create_app(shop), base_url="http://localhost:8000") as client:
        for headers in FOREIGN:
            for path in ("/items", "/about", "/page.js", "/health", "/images/a.png", "/?x=1"):
                wanted = 200 if path == "/?x=1" else 403
                assert client.get(path, headers=headers).status_code == wanted
            assert client.post("/search", content=photo, headers=headers).status_code == 403
        for headers in OWN:
            assert client.post("/search", content=photo, headers=headers).status_code == 200


def test_behind_a_token_the_host_may_be_a_proxy(shop):
    headers = {"Origin": "https://example.org", "Authorization": "Bearer secret"}
    with TestClient(create_app(shop, ServiceOptions(token="secret"))) as client:
        assert client.get("/items", headers=headers).status_code == 200


def test_head_is_get_without_a_body(client, shop):
    id = FaissIndex(shop).items["id"][0]
    for path in ("/", "/health", "/items", f"/images/{id}", "/metrics", "/about", "/none"):
        head, get = client.head(path), client.get(path)
        assert head.status_code == get.status_code and head.content == b""
        if path != "/metrics":
            assert head.headers["content-length"] == get.headers["content-length"]
    assert client.head("/search/vector").status_code == 405


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
    with TestClient(create_app(shop, ServiceOptions(decode_timeout=0.3))) as client:
        answer = upload(client, slow)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "the upload: decoding takes longer than 0.3 s"
        assert upload(client, photo).status_code == 200


def test_images_that_take_long_hold_up_no_others(shop, photo, monkeypatch):
    released, answers = threading.Event(), []
    monkeypatch.setattr(Decoder, "__call__", lambda *arguments: released.wait(60) and SQUARE)
    slow = many_scans(501, 500, 100)
    with TestClient(create_app(shop, ServiceOptions(timeout=60.0))) as client:
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


def test_without_calibration_nothing_is_said_to_be_the_same(tmp_path, photo):
    with TestClient(create_app(write_shop(tmp_path, thresholds={}))) as client:
        found = upload(client, photo).json()
        assert found["threshold"] is None and found["results"][0]["same"] is None


def test_answers_the_same_over_milvus(client, photo, tmp_path):
    pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    shop = write_shop(tmp_path, "shop.db")
    with TestClient(create_app(shop, bundle=tmp_path / "bundle")) as other:
        found = [upload(one, photo, k=4, where='label != "class 0"') for one in (client, other)]
        ids = [[near["id"] for near in answer.json()["results"]] for answer in found]
        ids = [[id[id.index("class") :] for id in some] for some in ids]
        assert ids[0] == ids[1]
        listed = other.get("/items", params={"limit": 3, "where": 'label == "class 2"'}).json()
        assert listed["total"] == 4 and len(listed["items"]) == 3
        id = listed["items"][0]["id"]
        assert other.get("/search", params={"id": id}).status_code == 200
        assert other.get(f"/images/{id}").status_code == 200
        assert other.get("/items/none").status_code == 404
        assert other.get("/about").json()["labels"] == ["class 0", "class 1", "class 2"]
        open_index(shop).remove([id])
        assert other.get(f"/items/{id}").status_code == 404
        assert other.get("/items", params={"offset": 16_380, "limit": 4}).json()["items"] == []
        assert other.get("/items", params={"offset": 16_380}).status_code == 400
        assert open_index(shop).renewed() is None


def test_an_index_that_does_not_answer_is_503(client, shop, monkeypatch):
    def gone(*arguments):
        raise OSError("milvus://10.0.0.7 is out")

    monkeypatch.setattr(FaissIndex, "found", gone)
    answer = client.post("/search/vector", json={"vector": [1.0] * 6})
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert answer.json() == {"detail": "the index is unavailable; try again later"}
