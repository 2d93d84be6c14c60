"""What a search tells."""

import json
import re

import pytest

from dml.commands.search import Calibrated, parse_threshold, search
from dml.errors import OptionError
from dml.index import index_images
from tests.bundles import write_bundle, write_images


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    here = tmp_path_factory.mktemp("shop")
    photos = write_images(here / "photos")
    index_images(write_bundle(here / "bundle"), [photos], here / "shop")
    return here


def test_the_image_itself_comes_first_then_its_class(shop):
    lines = []
    query = shop / "photos" / "class 2" / "1.png"
    (found,) = search(shop / "shop", [query], k=4, report=lines.append)
    near = found["neighbours"]
    assert near[0]["id"] == str(query) and near[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert {n["label"] for n in near} == {"class 2"} and near[0]["same"] is True
    assert len(lines) == 5 and re.search(r"1 +1\.000 +same +class 2", lines[1])


def test_a_threshold_is_calibrated_or_a_similarity():
    assert parse_threshold("calibrated") is Calibrated.CALIBRATED
    assert parse_threshold("-0.25") == -0.25
    for wrong in ("high", "2", "-1.1", "nan", ""):
        with pytest.raises(OptionError, match=r"threshold must be 'calibrated' or in \[-1, 1\]"):
            parse_threshold(wrong)


def test_json_html_filter_and_threshold(shop, tmp_path):
    query, lines = shop / "photos" / "class 2" / "1.png", []
    page = tmp_path / "page.html"
    search(
        shop / "shop", [query, query], 3, 'label != "class 2"', as_json=True, html=page,
        report=lines.append,
    )  # fmt: skip
    found = json.loads("\n".join(lines))
    assert len(found) == 2 and {n["label"] for n in found[0]["neighbours"]} <= {
        "class 0",
        "class 1",
    }
    text = page.read_text()
    assert text.count("data:image/jpeg") == 8 and "http" not in text
    (strict,) = search(shop / "shop", [query], 12, threshold=0.9999999, report=lines.append)
    assert len(strict["neighbours"]) <= 2
    (loose,) = search(
        shop / "shop", [query], 12, threshold=Calibrated.CALIBRATED, report=lines.append
    )
    assert all(n["similarity"] >= 0.5 for n in loose["neighbours"])
    (empty,) = search(shop / "shop", [query], 3, 'label == "no"', report=lines.append)
    assert empty["neighbours"] == [] and lines[-1] == "  nothing"


def test_another_encoder_is_refused(shop, tmp_path):
    other = write_bundle(tmp_path / "other", seed=5)
    with pytest.raises(ValueError, match="built with another encoder"):
        search(shop / "shop", [shop / "photos/class 0/0.png"], bundle=other)
