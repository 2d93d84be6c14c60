"""The retrieval grids: what is shown, framed and signed."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dml.report.queries import DRAWN, NEIGHBOURS, WORST, Queries
from tests.report.example import colour, example


class Grid(HTMLParser):
    """Collects, for each query, its attributes and the classes and captions of its images."""

    def __init__(self, html):
        super().__init__()
        self.queries = []
        self.inside = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "li":
            self.queries.append({"first": attributes["data-first"], "shots": [], "text": []})
        elif tag == "figure":
            verdict = attributes["class"].removeprefix("shot").strip()
            self.queries[-1]["shots"].append(verdict or "query")
        elif tag in ("img", "span") and ("alt" in attributes or "aria-label" in attributes):
            text = attributes.get("alt") or attributes["aria-label"]
            self.queries[-1]["text"].append(text)


def test_frames_what_is_right_and_what_is_wrong():
    data = example()
    grid = Grid(Queries(data).drawn_section())
    assert len(grid.queries) == len(data.labels) < DRAWN
    for query in grid.queries:
        assert query["shots"][0] == "query" and len(query["shots"]) == 1 + NEIGHBOURS
        own = re.fullmatch(r"Query of class (bird \d)", query["text"][0])[1]
        for shot, text in zip(query["shots"][1:], query["text"][1:], strict=True):
            name = re.search(r"(bird \d), (right|wrong), similarity -?[01]\.\d\d$", text)
            assert shot == name[2] == ("right" if name[1] == own else "wrong")
        assert query["first"] == query["shots"][1]


def test_counts_right_and_wrong_queries():
    data = example()
    right = int((data.first_positive == 1).sum())
    assert 0 < right < 20
    text = Queries(data).drawn_section()
    assert f"All {20}<" in text and f"✓ Right {right}<" in text and f"✗ Wrong {20 - right}<" in text


def test_a_right_image_has_another_sign_than_a_wrong_one_and_not_only_another_colour():
    text = Queries(example()).drawn_section()
    assert text.count(">✓</span>") == text.count('class="shot right"')
    assert text.count(">✗</span>") == text.count('class="shot wrong"')


def test_worst_queries_end_with_the_answer():
    data = example(spread=2.0)
    grid = Grid(Queries(data).worst_section())
    worst = sorted(data.first_positive[data.first_positive > 1])[::-1][:WORST]
    assert len(grid.queries) == len(worst)
    answers = [query["text"][-1] for query in grid.queries]
    assert [int(re.search(r"at rank (\d+): ", text)[1]) for text in answers] == worst
    assert all(q["shots"][-1] == "right" for q in grid.queries)


def test_no_worst_section_where_all_are_right():
    data = example(first_positive=np.ones(20, int))
    assert Queries(data).worst_section() == ""


def test_no_grid_without_queries_or_neighbours():
    nobody = example(first_positive=np.zeros(20, int))
    assert Queries(nobody).drawn_section() == "" and Queries(nobody).worst_section() == ""
    assert Queries(example(neighbours=np.zeros((20, 0), int))).drawn_section() == ""


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_an_unreadable_image_becomes_a_box(error):
    def thumbnail(row):
        if row == 3:
            raise error("truncated")
        return colour(row)

    text = Queries(example(thumbnail=thumbnail)).drawn_section()
    assert '<span class="missing" role="img" aria-label="Query of class bird 0">' in text
    assert text.count("data:image/jpeg") > 100


def test_reads_each_image_once():
    asked = []

    def thumbnail(row):
        asked.append(row)
        return colour(row)

    queries = Queries(example(thumbnail=thumbnail))
    queries.drawn_section()
    queries.worst_section()
    assert len(asked) == len(set(asked))


def test_query_and_gallery_images_are_not_mixed_up():
    data = example(gallery=True)
    text = Queries(data).query(0, 1)
    uris = re.findall(r'src="([^"]+)"', text)
    queries = Queries(data)
    found = int(data.neighbours[0, 0])
    assert uris == [queries.uri(colour, 0), queries.uri(lambda row: 255 - colour(row), found, True)]


def test_escapes_the_names_of_classes():
    names = ["<script>alert(1)</script>", '"><img src=x>', "a & b", "ok"]
    text = Queries(example(class_names=names)).drawn_section()
    assert "<script" not in text and '"><img src=x>' not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "a &amp; b" in text
