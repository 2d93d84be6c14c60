"""An index of coloured images, and a client of the service that serves it."""

import pytest
from fastapi.testclient import TestClient

from dml.serve import ServiceOptions, create_app
from tests.serve.shop import write_shop


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
