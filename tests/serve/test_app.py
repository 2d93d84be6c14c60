"""The application as a whole: limits, errors and the description of its interface."""

import pytest
from fastapi.testclient import TestClient

from dml.index import open_index
from dml.index._faiss_index import FaissIndex
from dml.serve import ServiceOptions, create_app
from tests.serve.shop import upload, write_shop


def test_health_metrics_and_a_documented_interface(client, photo):
    upload(client, photo)
    assert client.get("/health").json() == {"status": "ok", "items": 12}
    text = client.get("/metrics").text
    assert 'dml_requests_total{route="/search",status="200"}' in text and "dml_items 12" in text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/search/vector", "/items", "/health", "/metrics"} <= set(paths)


def test_a_token_is_asked_for(shop, photo):
    with TestClient(create_app(shop, ServiceOptions(token="long secret"))) as client:
        assert client.get("/").status_code == client.get("/health").status_code == 200
        assert upload(client, photo).status_code == client.get("/metrics").status_code == 401
        bearer = {"Authorization": "Bearer long secret"}
        assert client.get("/items", headers=bearer).status_code == 200
        assert client.get("/items", headers={"Authorization": "Bearer x"}).status_code == 401
        answer = client.get("/items")
        assert answer.json() == {"detail": "missing or invalid token"}
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.post("/login", json={"token": "x"}).status_code == 401
        answer = client.post("/login", json={"token": "long secret"})
        assert answer.status_code == 200 and "httponly" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "forwarded, secure",
    [({}, False), ({"X-Forwarded-Proto": "http"}, False), ({"X-Forwarded-Proto": "https"}, True),
     ({"X-Forwarded-Proto": "HTTPS, http"}, True)],
)  # fmt: skip
def test_the_cookie_of_a_page_behind_tls_is_secure(shop, forwarded, secure):
    with TestClient(create_app(shop, ServiceOptions(token="secret"))) as client:
        answer = client.post("/login", json={"token": "secret"}, headers=forwarded)
        assert ("secure" in answer.headers["set-cookie"].lower().split("; ")) is secure


def test_a_token_in_a_header_or_a_cookie(shop):
    with TestClient(create_app(shop, ServiceOptions(token="secret"))) as client:
        for header, status, with_cookie in (
            ("bearer secret", 200, 200),
            ("BEARER secret", 200, 200),
            ("secret", 401, 200),
            ("Basic secret", 401, 200),  # of a proxy
            ("Bearer", 401, 200),
            ("bearer x", 401, 401),
        ):
            headers = {"Authorization": header}
            assert client.get("/items", headers=headers).status_code == status
            headers["Cookie"] = "dml_token=secret"
            assert client.get("/items", headers=headers).status_code == with_cookie


def test_failures_are_counted_and_have_the_headers_of_others(shop, photo, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("a bug")

    options = ServiceOptions(token="secret", max_upload_bytes=100)
    bearer = {"Authorization": "Bearer secret"}
    with TestClient(create_app(shop, options), raise_server_exceptions=False) as client:
        assert client.get("/items").status_code == 401
        assert client.post("/search", content=photo, headers=bearer).status_code == 413
        assert client.head("/items", headers=bearer).status_code == 200
        monkeypatch.setattr(FaissIndex, "page", fail)
        answer = client.get("/items", headers=bearer)
        assert answer.status_code == 500 and answer.json() == {"detail": "internal error"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        text = client.get("/metrics", headers=bearer).text
    for route, status in (("other", 401), ("other", 413), ("/items", 200), ("/items", 500)):
        assert f'dml_requests_total{{route="{route}",status="{status}"}} 1.0' in text


def test_other_host_headers_are_refused(shop):
    with TestClient(
        create_app(shop, ServiceOptions(allowed_hosts=("localhost", "[::1]")))
    ) as client:
        answer = client.get("/health")
        assert answer.status_code == 421
        assert answer.json() == {"detail": "Host header not allowed"}
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
            for path in ("/items", "/about", "/page.js", "/health", "/image?id=a.png", "/?x=1"):
                wanted = 200 if path == "/?x=1" else 403
                answer = client.get(path, headers=headers)
                assert answer.status_code == wanted
                assert wanted == 200 or answer.json() == {
                    "detail": "cross-origin request not allowed"
                }
            assert client.post("/search", content=photo, headers=headers).status_code == 403
        for headers in OWN:
            assert client.post("/search", content=photo, headers=headers).status_code == 200


def test_behind_a_token_the_host_may_be_a_proxy(shop):
    headers = {"Origin": "https://example.org", "Authorization": "Bearer secret"}
    with TestClient(create_app(shop, ServiceOptions(token="secret"))) as client:
        assert client.get("/items", headers=headers).status_code == 200


def test_head_is_get_without_a_body(client, shop):
    id = open_index(shop).snapshot.items["id"][0]
    for path in ("/", "/health", "/items", f"/image?id={id}", "/metrics", "/about", "/none"):
        head, get = client.head(path), client.get(path)
        assert head.status_code == get.status_code and head.content == b""
        if path != "/metrics":
            assert head.headers["content-length"] == get.headers["content-length"]
    assert client.head("/search/vector").status_code == 405


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
        assert other.get(f"/image?id={id}").status_code == 200
        assert other.get("/item?id=none").status_code == 404
        assert other.get("/about").json()["labels"] == ["class 0", "class 1", "class 2"]
        open_index(shop).remove([id])
        assert other.get(f"/item?id={id}").status_code == 404
        assert other.get("/items", params={"offset": 16_380, "limit": 4}).json()["items"] == []
        assert other.get("/items", params={"offset": 16_380}).status_code == 400
        assert open_index(shop).reload_if_changed() is None


def test_an_index_that_does_not_answer_is_503(client, shop, monkeypatch):
    def gone(*arguments):
        raise OSError("milvus://10.0.0.7 is out")

    monkeypatch.setattr(FaissIndex, "_search", gone)
    answer = client.post("/search/vector", json={"vector": [1.0] * 6})
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert answer.json() == {"detail": "the index is unavailable; try again later"}
