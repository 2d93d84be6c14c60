"""Locations are parsed, and an existing index is not overwritten."""

import subprocess
import sys

import pytest

from dml.errors import OccupiedError, OptionError
from dml.index._open import check_build, check_free, is_milvus, normal_location
from tests.index.shops import items


@pytest.mark.parametrize(
    "location, milvus, normal",
    [
        ("shop", False, "shop"),
        ("./shop//", False, "shop"),
        ("shop.db", True, "shop.db"),
        ("a//shop.db/", True, "a/shop.db"),
        ("milvus://host/cars", True, "milvus://host/cars"),
        ("shop.db.old", False, "shop.db.old"),
    ],
)
def test_locations(location, milvus, normal):
    assert is_milvus(location) is milvus and normal_location(location) == normal


def test_what_is_there_is_not_free(tmp_path):
    check_free(tmp_path / "shop")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link", "."):
        with pytest.raises(OccupiedError, match="already exists"):
            check_free(tmp_path / name)


def test_an_empty_location_is_not_the_current_folder():
    with pytest.raises(OptionError, match=r"location must name an index\. The name is empty"):
        normal_location("")


def test_a_build_is_checked_without_vectors():
    check_build("shop", items(2000), "ivf_pq", 0.9)
    for options, message in (
        ({"kind": "annoy"}, "kind must be one of auto, flat, hnsw"),
        ({"kind": "ivf_pq"}, "kind ivf_pq needs at least 1,024 images; got 10"),
        ({"recall": 0}, r"recall must be in \(0, 1\]; got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            check_build("shop", items(10), **options)


def test_importing_the_package_loads_neither_faiss_nor_a_backend():
    code = (
        "import sys, dml; dml.index; heavy = ('faiss', 'keras', 'pandas', 'onnxruntime'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
