"""The page: a complete single file that loads nothing, whatever data are missing."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dml.report import Metric, render_report
from tests.report.example import example

VOID = {"meta", "img", "input", "br", "link"}
SECTIONS = [
    "Metrics",
    "Training",
    "Retrieval",
    "Worst queries",
    "Labels and images",
    "Embedding",
    "Recipe",
]


class Page(HTMLParser):
    """Collects a page's elements, its visible text, and checks that each element is closed."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "title"):
            self.text.append(data)

    def attributes(self, name):
        return [a[name] for _, a in self.elements if name in a]


@pytest.fixture(scope="module")
def html():
    return render_report(example(spread=1.5))


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


def sections(html):
    return re.findall(r"<section id=\"[a-z-]+\"><h2>([^<]+)</h2>", html)


def test_loads_nothing(html, parsed):
    assert not {tag for tag, _ in parsed.elements} & {"script", "link", "iframe", "object", "base"}
    assert all(uri.startswith("data:image/") for uri in parsed.attributes("src"))
    for name in ("href", "xlink:href"):
        assert all(uri.startswith(("#", "data:image/")) for uri in parsed.attributes(name))
    assert not [name for _, a in parsed.elements for name in a if name.startswith("on")]
    for loaded in re.findall(r"url\(([^)]*)\)|@import", html):
        assert loaded.startswith("#")
    names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert "http://" not in names and "https://" not in names


def test_tells_the_browser_to_load_nothing(parsed):
    (policy,) = [a["content"] for _, a in parsed.elements if "http-equiv" in a]
    assert "default-src 'none'" in policy and "script" not in policy


def test_has_every_section_and_a_link_to_each(html, parsed):
    assert sections(html) == SECTIONS
    ids = parsed.attributes("id")
    links = [a["href"] for tag, a in parsed.elements if tag == "a"]
    assert links and all(link[1:] in ids for link in links)
    here = [i for i in ids if i in {s.lower().replace(" ", "-") for s in SECTIONS}]
    assert len(here) == len(set(here)) == len(SECTIONS)


def test_says_how_much_was_trained():
    page = render_report(example(trained="5 of 9 parameters", speed="9 images/s"))
    assert "Speed: 9 images/s." in page
    assert "Trained: 5 of 9 parameters of the encoder." in page
    assert "Trained:" not in render_report(example())


def test_shows_the_encoders_that_the_result_was_chosen_from():
    page = render_report(example(candidates=[("frozen", 0.5, False), ("head", 0.625, True)]))
    assert '<tr><th scope="row">frozen</th><td>50.0' in page
    assert '<tr><th scope="row">head, the result</th><td>62.5' in page


def test_shows_metrics_next_to_those_of_the_frozen_network(parsed):
    text = " ".join(parsed.text)
    for word in ("73.4", "70.1 to 76.6", "45.0", "42.0 to 48.0", "+28.4", "61.2", "−8.8"):
        assert word in text
    assert "birds, zero-shot protocol" in text and "1,234 queries" in text


def test_draws_the_curves_of_the_history(html):
    training = html.split('<section id="training">')[1].split("</section>")[0]
    assert training.count("<svg") == 3
    assert "validation from 30 to 50 in 3 epochs" in training
    assert "loss from 3 to 1 in 3 epochs" in training


def test_draws_ranks_similarities_and_map(html):
    embedding = html.split('<section id="embedding">')[1].split("</section>")[0]
    for word in ("Histograms of the similarity", "Map of 20 embeddings", "among the first k"):
        assert word in embedding
    assert "80 pairs of one class and 300 of different classes" in embedding


def test_names_labels_and_images_to_look_at():
    data = example(samples=20, spread=0.3)
    vectors, labels = data.vectors.copy(), data.labels.copy()
    vectors[1] = vectors[0]
    wrong = int(np.flatnonzero(labels != labels[5])[0])
    labels[5] = labels[wrong]
    text = render_report(dataclasses.replace(data, vectors=vectors, labels=labels))
    assert "Labels in doubt (1)" in text and f"{data.class_name(labels[5])}?" in text
    assert "Near-duplicates (1)" in text and "similarity 1.0000" in text


def test_marks_calibrated_thresholds():
    text = render_report(dataclasses.replace(example(), thresholds={"90 % right": 0.5}))
    assert "90 % right from 0.50" in text and "solid: calibrated thresholds" in text


def test_shows_the_recipe_versions_and_seeds(html):
    assert "[loss]\nname = &#34;proxy_anchor&#34;" in html
    assert "<dt>keras</dt><dd>3.16.0</dd>" in html
    assert "<dt>training</dt><dd>7</dd>" in html


def test_every_image_has_a_text(parsed):
    for tag, attributes in parsed.elements:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden")


def test_escapes_every_text():
    evil = "<script>alert('&')</script>"
    data = example(
        title=evil,
        dataset=evil,
        protocol=evil,
        metrics=[Metric(evil, 0.5)],
        counts={evil: 3},
        class_names=[evil] * 4,
        recipe=evil,
        versions={evil: evil},
        seeds={evil: 0},
    )
    html = render_report(data)
    Page(html)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_syntax_of_templates_in_a_name_is_text():
    html = render_report(
        example(title="$5 {{ style_sheet }} {% raw %}", class_names=["{{ title }}"] * 4)
    )
    assert "<h1>$5 {{ style_sheet }} {% raw %}</h1>" in html
    assert "Query of class {{ title }}" in html


@pytest.mark.parametrize(
    "changes, missing",
    [
        ({"history": ()}, {"Training"}),
        ({"history": [{"epoch": 1, "seconds": 3.0, "copies": 0.0}]}, {"Training"}),
        ({"recipe": "", "versions": {}, "seeds": {}}, {"Recipe"}),
        ({"first_positive": np.zeros(20, int)}, {"Retrieval", "Worst queries"}),
        ({"first_positive": np.ones(20, int)}, {"Worst queries"}),
        ({"counts": {}, "metrics": [Metric("Recall@1", 0.5)]}, set()),
        ({"class_names": []}, set()),
        (
            {"neighbours": np.zeros((20, 0), int), "first_positive": np.zeros(20, int)},
            {"Retrieval", "Worst queries"},
        ),
        ({"metrics": []}, {"Metrics"}),
    ],
)
def test_leaves_out_what_it_was_not_given(changes, missing):
    html = render_report(example(spread=1.5, **changes))
    Page(html)
    assert sections(html) == [s for s in SECTIONS if s not in missing]
    assert "None" not in html and "nan" not in re.sub(r"base64,[^\"]*", "", html)


def test_says_what_could_not_be_measured():
    html = render_report(example(notes=["no <linear> accuracy: it takes two classes"]))
    assert '<p class="facts">No &lt;linear&gt; accuracy: it takes two classes.</p>' in html


def test_a_gap_in_the_history_is_left_out():
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_recall_at_1": 0.5}]
    rows.append({"epoch": 3, "loss": None, "val_recall_at_1": 0.6})
    html = render_report(example(history=rows))
    assert "loss from 2 to 1 in 2 epochs" in html and "validation from 50 to 60" in html


@pytest.mark.parametrize("gallery", [False, True])
@pytest.mark.parametrize("classes, samples", [(1, 1), (1, 5), (3, 1), (30, 2)])
def test_any_number_of_classes(classes, samples, gallery):
    html = render_report(example(classes=classes, samples=samples, gallery=gallery))
    Page(html)
    assert "Metrics" in sections(html) and "Embedding" in sections(html)


def test_no_queries_at_all():
    html = render_report(
        example(
            vectors=np.zeros((0, 6), np.float32),
            labels=np.zeros(0, int),
            neighbours=np.zeros((0, 10), int),
            first_positive=np.zeros(0, int),
        )
    )
    Page(html)
    assert sections(html) == ["Metrics", "Training", "Recipe"]


def test_stays_small_however_many_queries_there_are():
    html = render_report(example(classes=300, samples=4, spread=2.0))
    assert html.count("<img ") <= 24 * 6 + 12 * 6
    assert len(html) < 3e6


def test_is_the_same_every_time():
    assert render_report(example()) == render_report(example())


def test_the_error_curve_is_there_where_it_is_known():
    errors = np.array([0.0, 0.01, 1.0]), np.array([0.9, 0.3, 0.0])
    title = "False reject rate, %"
    assert title in render_report(example(errors=errors)) and title not in render_report(example())
    perfect = np.array([0.0, 1.0]), np.array([0.0, 0.0])
    assert title not in render_report(example(errors=perfect))
