"""The routes respond, and reject invalid requests."""

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from dml.index import open_index
from dml.serve import create_app
from tests.serve.shop import png_header, upload, write_shop

JSON = {"Content-Type": "application/json"}


def test_an_upload_finds_its_class(client, photo):
    found = upload(client, photo, k=4, crop=True).json()
    assert [one["label"] for one in found["results"]] == ["class 1"] * 4
    assert found["results"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert found["results"][0]["same"] is True and found["threshold"] == 0.5
    assert found["crop"].startswith("data:image/jpeg;base64,")
    assert "path" not in found["results"][0]


def test_search_by_item_leaves_it_out_and_heeds_the_filter(client, shop):
    id = open_index(shop).snapshot.items["id"][0]
    found = client.get("/search", params={"id": id, "k": 3}).json()["results"]
    assert len(found) == 3 and id not in [one["id"] for one in found]
    where = 'label == "class 2"'
    found = client.get("/search", params={"id": id, "where": where}).json()["results"]
    assert {one["label"] for one in found} == {"class 2"} and len(found) == 4
    assert client.get("/search", params={"id": "/etc/passwd"}).status_code == 404


def test_search_by_vector(client, shop):
    vector = (3 * open_index(shop).snapshot.vectors[5]).tolist()
    found = client.post("/search/vector", json={"vector": vector, "k": 1}).json()["results"]
    assert found[0]["id"] == open_index(shop).snapshot.items["id"][5]
    for wrong in ([0.0] * 6, [1.0], []):
        answer = client.post("/search/vector", json={"vector": wrong})
        assert answer.status_code == 400 and "6 finite numbers" in answer.json()["detail"]


def test_items_and_their_images(client, shop):
    page = client.get("/items", params={"offset": 10, "limit": 5}).json()
    assert page["total"] == 12 and len(page["items"]) == 2 and "path" not in page["items"][0]
    id = page["items"][0]["id"]
    assert client.get(f"/item?id={id}").json()["label"] == "class 2"
    image = client.get(f"/image?id={id}")
    assert image.headers["content-type"] == "image/jpeg" and image.content[:2] == b"\xff\xd8"
    for wrong in ("/image?id=../../etc/passwd", "/image?id=/etc/passwd", "/item?id=none"):
        assert client.get(wrong).status_code == 404
    assert client.get("/about").json()["labels"] == ["class 0", "class 1", "class 2"]


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
    id = open_index(shop).snapshot.items["id"][0]
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


def test_the_page_needs_no_other_host_and_no_inline_script(client):
    for path in ("/", "/page.css", "/page.js"):
        answer = client.get(path)
        assert answer.status_code == 200 and "http:" not in answer.text.replace(
            "http://www.w3.org", ""
        )
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy and answer.headers["x-content-type-options"]
    assert client.get("/docs").status_code == 404


def test_without_calibration_no_result_is_marked_as_the_same(tmp_path, photo):
    with TestClient(create_app(write_shop(tmp_path, thresholds=()))) as client:
        found = upload(client, photo).json()
        assert found["threshold"] is None and found["results"][0]["same"] is None
