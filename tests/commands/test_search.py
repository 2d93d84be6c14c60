"""`dml search` as it is typed."""

import json
import re

import pytest

from dml.cli import main
from dml.index import index_images
from tests.bundles import write_bundle, write_images


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    here = tmp_path_factory.mktemp("shop")
    photos = write_images(here / "photos")
    index_images(write_bundle(here / "bundle"), [photos], here / "shop")
    return here


@pytest.fixture
def search(shop, capsys):
    """Returns a function that runs `dml search`, and returns its exit code and what it printed."""

    def run(*arguments):
        code = main(["search", str(shop / "shop"), *map(str, arguments)])
        return code, capsys.readouterr()

    return run


@pytest.fixture
def query(shop):
    return shop / "photos" / "class 2" / "1.png"


def test_the_image_itself_comes_first(search, query):
    code, printed = search(query, "-k", 4)
    lines = printed.out.splitlines()
    assert code == 0 and len(lines) == 5 and lines[0] == str(query)
    assert re.fullmatch(rf"   1   1\.000  same       class 2  {re.escape(str(query))}", lines[1])


def test_json_a_filter_and_a_page(search, query, tmp_path):
    page = tmp_path / "page.html"
    options = ("-k", 3, "--where", 'label != "class 2"', "--json", "--html", page)
    code, printed = search(query, query, *options)
    found = json.loads(printed.out)
    assert code == 0 and [len(one["neighbours"]) for one in found] == [3, 3]
    assert {near["label"] for near in found[0]["neighbours"]} <= {"class 0", "class 1"}
    text = page.read_text()
    assert text.count("data:image/jpeg") == 8 and "http:" not in text and "https:" not in text
    code, printed = search(query, "--html", page)
    assert code == 0 and printed.out.endswith(f"page: {page}\n")


def test_thresholds_are_numbers_or_calibrated(search, query):
    def scores(threshold):
        printed = search(query, "-k", 12, "--json", "--threshold", threshold)[1]
        return [near["similarity"] for near in json.loads(printed.out)[0]["neighbours"]]

    everything = scores("-1")
    assert len(everything) == 12
    assert scores("calibrated") == [score for score in everything if score >= 0.5]
    assert len(scores("0.9999999")) <= 2
    printed = search(query, "--where", 'label == "no"', "--threshold", "0.5")[1]
    assert printed.out.endswith("  nothing with a similarity of 0.500 or more\n")


def test_an_image_that_can_not_be_read_costs_no_other_its_answer(search, query, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(query.read_bytes()[:60])
    code, printed = search(query, bad, "no.jpg", query, "-k", 2)
    lines = printed.out.splitlines()
    assert code == 2 and [lines[0], lines[3]] == [str(query)] * 2 and len(lines) == 6
    assert re.fullmatch(rf"dml: {bad}: .*; no\.jpg: no such file\n", printed.err)


@pytest.mark.parametrize("wrong", ["high", "2", "-1.1", "nan", ""])
def test_other_thresholds_are_refused(search, query, wrong):
    code, printed = search(query, f"--threshold={wrong}")
    assert code == 2 and "threshold must be " in printed.err and printed.out == ""


def test_another_encoder_is_refused(search, query, tmp_path):
    code, printed = search(query, "--bundle", write_bundle(tmp_path / "other", seed=5))
    assert code == 2 and "built with another encoder" in printed.err
