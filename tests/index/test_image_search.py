"""Searching by images: neighbours, thresholds and verdicts."""

import pytest

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError, OptionError
from dml.index import add_images, index_images, open_index, search_images
from tests.bundles import write_bundle, write_images


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    here = tmp_path_factory.mktemp("shop")
    photos = write_images(here / "photos")
    index_images(write_bundle(here / "bundle"), [photos], here / "shop")
    return here


@pytest.fixture
def query(shop):
    return shop / "photos" / "class 2" / "1.png"


def search(shop, *queries, **options):
    index = open_index(shop / "shop")
    return search_images(index, index.encoder(), queries, **options)


def test_the_image_itself_comes_first_then_its_class(shop, query):
    (result,) = search(shop, query, k=4)
    near = result.neighbours
    assert result.query == near[0].item["id"] == str(query)
    assert near[0].similarity == pytest.approx(1, abs=1e-5) and near[0].same is True
    assert [one.item["label"] for one in near] == ["class 2"] * 4
    assert list(near[0].to_json())[:3] == ["id", "similarity", "same"]


def test_a_filter_and_a_threshold_leave_neighbours_out(shop, query):
    first, second = search(shop, query, query, where='label != "class 2"')
    assert len(first.neighbours) == len(second.neighbours) == 8
    (everything,) = search(shop, query, k=12)
    scores = [near.similarity for near in everything.neighbours]
    assert [near.same for near in everything.neighbours] == [score >= 0.5 for score in scores]
    (some,) = search(shop, query, k=12, threshold=scores[5])
    assert [near.similarity for near in some.neighbours] == scores[:6]
    (empty,) = search(shop, query, where='label == "no"')
    assert empty.neighbours == [] and empty.to_json() == {"query": str(query), "neighbours": []}


def test_a_single_path_is_no_list_of_letters(shop, query):
    index = open_index(shop / "shop")
    with pytest.raises(ValueError, match="images must be a list, such as"):
        search_images(index, index.encoder(), str(query))
    with pytest.raises(ValueError, match="sources must be a list, such as"):
        add_images(index, query.parent)


def test_another_encoder_is_refused(shop, query, tmp_path):
    other = OnnxEncoder(write_bundle(tmp_path / "bundle", seed=1))
    with pytest.raises(DataError, match="shop: built with another encoder than"):
        search_images(open_index(shop / "shop"), other, [query])


def test_without_calibration_there_is_no_verdict(shop, query, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", thresholds=())
    index = open_index(shop / "shop")
    (result,) = search_images(index, index.encoder(bundle), [query], k=3)
    assert [near.same for near in result.neighbours] == [None] * 3


@pytest.mark.parametrize("threshold", [1.5, -2.0, float("nan")])
def test_a_threshold_is_a_similarity(shop, query, threshold):
    with pytest.raises(OptionError, match="threshold must be in"):
        search(shop, query, threshold=threshold)
