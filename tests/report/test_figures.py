"""The figures: well-formed, described in words, in the page's colours, the same every time."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dml.report import figures


def drawn():
    edges = np.linspace(-1, 1, 11)
    counts = np.arange(10)
    points = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.arange(30) % 10
    nothing = np.zeros(10, int)
    return {
        "curve": figures.curve_figure({"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}, "Loss"),
        "two curves": figures.curve_figure({"a": ([1], [0.5]), "b": ([1], [0.1])}, "Similarity"),
        "percentages": figures.curve_figure({"v": ([1, 2], [0.5, 0.75])}, "R@1", True, True),
        "gap": figures.curve_figure({"v": ([1, 2], [float("nan"), 0.75])}, "R@1", True, True),
        "ranks": figures.rank_figure(np.array([1, 1, 3, 0, 250])),
        "no rank": figures.rank_figure(np.zeros(3, int)),
        "histogram": figures.histogram_figure(edges, counts, counts[::-1], 0.4, -0.4),
        "one class": figures.histogram_figure(edges, counts, nothing, 0.4, float("nan")),
        "no pairs": figures.histogram_figure(edges, nothing, nothing, float("nan"), float("nan")),
        "map": figures.map_figure(points, labels, np.arange(8), "Map <of> & all"),
        "marker": figures.marker_figure(3),
    }


def parsed(text):
    """Returns the element; its prefix needs no declaration in HTML, but in XML."""
    return ElementTree.fromstring(
        text.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
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
        assert not any(colour in text for colour in figures.PAGE_COLOURS), name
    assert "var(--series-1)" in elements["curve"] and "var(--muted)" in elements["curve"]


def test_share_no_id_that_would_clash_in_one_page(elements):
    for name, text in elements.items():
        assert '<g id="' not in text, name


def test_are_described_in_words(elements):
    def words(name):
        return parsed(elements[name]).get("aria-label")

    assert words("curve") == "Loss: loss from 3 to 1 in 3 epochs."
    assert "v from 50 to 75" in words("percentages")
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
    text = figures.error_figure(accepted, rejected)
    assert "25.0 % at 1 %" in text and "50.0 % at 0.1 %" in text and "5.0 % at 10 %" in text


def test_error_curve_says_the_exact_rates_of_many_points():
    accepted = np.linspace(0, 1, 100_001)
    text = figures.error_figure(accepted, 1 - accepted**0.2)
    assert f"{100 * (1 - 0.01**0.2):.1f} % at 1 %" in text and len(text) < 60_000
