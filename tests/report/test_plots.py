"""The plots: well-formed, described in words, in the page's colours, the same every time."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dml.report import _plots as plots
from dml.report._selection import SimilarityHistograms


def drawn():
    edges = np.linspace(-1, 1, 11)
    counts = np.arange(10)
    points = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.arange(30) % 10
    nothing = np.zeros(10, int)
    return {
        "curve": plots.curve_plot({"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}, "Loss"),
        "two curves": plots.curve_plot({"a": ([1], [0.5]), "b": ([1], [0.1])}, "Similarity"),
        "percentages": plots.curve_plot({"v": ([0, 1, 2], [0.2, 0.5, 0.75])}, "R@1", True, True),
        "gap": plots.curve_plot({"v": ([1, 2], [float("nan"), 0.75])}, "R@1", True, True),
        "ranks": plots.recall_plot(np.array([1, 1, 3, 0, 250])),
        "no rank": plots.recall_plot(np.zeros(3, int)),
        "histogram": plots.similarity_plot(
            SimilarityHistograms(edges, counts, counts[::-1], 0.4, -0.4)
        ),
        "one class": plots.similarity_plot(
            SimilarityHistograms(edges, counts, nothing, 0.4, float("nan"))
        ),
        "no pairs": plots.similarity_plot(
            SimilarityHistograms(edges, nothing, nothing, float("nan"), float("nan"))
        ),
        "map": plots.map_plot(points, labels, np.arange(8), "Map <of> & all"),
        "marker": plots.class_marker(3),
    }


def parsed(text):
    """Returns the element; its prefix needs no declaration in HTML, but in XML."""
    return ElementTree.fromstring(
        str.replace(text, "<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
    )


@pytest.fixture(scope="module")
def elements():
    return drawn()


def test_are_well_formed_elements(elements):
    for name, text in elements.items():
        root = parsed(text)
        assert root.tag.endswith("svg") and root.get("viewBox"), name


def test_load_and_run_nothing(elements):
    for name, text in elements.items():
        for word in ("<script", "<image", "<metadata", "url(http", "@import", "<!DOCTYPE"):
            assert word not in text, name
        links = [v for e in parsed(text).iter() for k, v in e.items() if "href" in k]
        assert all(link.startswith("#") for link in links), name


def test_take_their_colours_from_the_page(elements):
    for name, text in elements.items():
        assert not any(colour in text for colour in plots.PAGE_COLOURS), name
    assert "var(--series-1)" in elements["curve"] and "var(--muted)" in elements["curve"]


def test_share_no_id_that_would_clash_in_one_page(elements):
    for name, text in elements.items():
        assert '<g id="' not in text, name


def test_are_described_in_words(elements):
    def words(name):
        return parsed(elements[name]).get("aria-label")

    assert words("curve") == "Loss: loss from 3 to 1 in 3 epochs."
    assert words("percentages") == "R@1: v from 20 to 75 in 2 epochs."  # 0 is before the first
    assert "v from 20 to 75" in words("percentages")
    assert "50.0 % at 1" in words("ranks") and "75.0 % at 4" in words("ranks")
    assert words("histogram").endswith("different classes, mean -0.40; same class, mean 0.40.")
    assert "different classes" not in words("one class")
    assert words("map") == "Map <of> & all"
    assert parsed(elements["marker"]).get("aria-hidden") == "true"


def test_mark_the_best_epoch(elements):
    assert ">75.0<" in elements["percentages"]


def test_are_the_same_every_time(elements):
    assert drawn() == elements


def test_error_curve_says_what_is_refused():
    accepted = np.array([0.0, 0.0001, 0.001, 0.01, 0.1, 1.0])
    rejected = np.array([0.9, 0.8, 0.5, 0.25, 0.05, 0.0])
    text = plots.error_plot(accepted, rejected)
    assert "25.0 % at 1 %" in text and "50.0 % at 0.1 %" in text and "5.0 % at 10 %" in text


def test_error_curve_says_the_exact_rates_of_many_points():
    accepted = np.linspace(0, 1, 100_001)
    text = plots.error_plot(accepted, 1 - accepted**0.2)
    assert f"{100 * (1 - 0.01**0.2):.1f} % at 1 %" in text and len(text) < 60_000


def test_names_of_spots_are_text():
    spot = plots.Spot(0, "<script>alert(1)</script>", "data:image/jpeg;base64,AA==")
    text = plots.map_plot(np.zeros((1, 2)), np.zeros(1, int), np.array([0]), "Map", [spot])
    assert "<script" not in text and "<title>&lt;script&gt;alert(1)" in text
    assert len(parsed(text).findall(".//image")) == 1
