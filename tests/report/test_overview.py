"""The page of a whole run: what it shows, what it leaves out, and that it is safe."""

import re

from dml.report import Metric
from dml.report._overview import Link, Overview, ScoreRow, StageRow, render_overview, write_overview

NAME = "<b>photos & more</b>"


def overview(**changes):
    fields = {
        "title": NAME,
        "subtitle": "20 test images of 5 classes, zero-shot protocol",
        "metrics": [
            Metric("R@1", 0.625, (0.5, 0.75), 0.5, (0.4, 0.6)),
            Metric("NMI", 0.5),
        ],
        "scores": [ScoreRow("frozen network", 0.5), ScoreRow("head stage", 0.7512, chosen=True)],
        "stages": [StageRow("head stage", "10 s", "12 s"), StageRow("export", "9 s", "8 s")],
        "thresholds": [(0.7512, "at least 90 % right", "91.2 %")],
        "data": ["photos: 40 images"],
        "notes": ["a note"],
        "commands": [("A page", "dml serve runs/photos/index")],
        "links": [Link("report.html", "the report")],
    }
    return Overview(**{**fields, **changes})


def text_of(page):
    """Returns the text that a page shows, in one line."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_shows_what_was_reached_how_and_where_everything_is():
    page = render_overview(overview())
    text = text_of(page)
    for shown in (
        *("62.5 % R@1", "Frozen network 50.0", "+12.5", "A note.", "photos: 40 images"),
        *(
            "head stage (the result) 75.1",
            "head stage 10 s 12 s",
            "at least 90 % right 0.751 91.2 %",
        ),
        *("A page dml serve runs/photos/index", "report.html : the report"),
    ):
        assert shown in text, shown
    assert '<a href="report.html">' in page


def test_leaves_out_what_there_is_not():
    page = render_overview(
        overview(
            metrics=[Metric("R@1", 0.5)],
            scores=[],
            stages=[],
            thresholds=[],
            data=[],
            notes=[],
            commands=[],
            links=[],
        )
    )
    sections = re.findall(r"<h2>(.*?)</h2>", page)
    assert sections == ["Metrics"]
    assert "Frozen" not in text_of(page)


def test_names_of_the_users_are_text():
    page = render_overview(overview(data=[NAME], links=[Link('"><script>', NAME)]))
    assert NAME not in page and "<script>" not in page
    assert "&lt;b&gt;photos &amp; more" in page


def test_loads_nothing_and_is_written_whole(tmp_path):
    write_overview(tmp_path / "page.html", overview())
    page = (tmp_path / "page.html").read_text()
    assert page == render_overview(overview()) and "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!report\.html)', page)
