"""The notebooks run, and show what they say."""

import json
from pathlib import Path

import numpy as np
import pytest

from dml.recipe import FAMILIES
from tests.tools import load_tool

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.ipynb")}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function from a notebook's name to its variables at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    losses = FAMILIES["loss"].parts()
    known = dict(losses)
    yield lambda name: load_tool("notebooks").run_notebook(NOTEBOOKS[name], name)
    losses.clear()
    losses.update(known)


@pytest.mark.slow
def test_your_own_search_engine_finds_characters_it_has_never_seen(run):
    after = run("search-engine")
    metrics, frozen = after["result"].metrics, after["result"].frozen
    assert metrics["R@1"].low > frozen["R@1"].high
    assert not set(after["train"].label_names) & set(after["test"].label_names)
    assert len(after["index"]) == len(after["test"].paths) - 50
    assert np.mean(after["right"]) > 0.4 and np.mean(after["marked"]) >= np.mean(after["right"])


@pytest.mark.slow
def test_comparing_losses_honestly_compares_what_was_tuned_equally(run):
    after = run("comparing-losses")
    assert len(after["trials"]) == 4 and len(after["results"]) == 4
    difference = np.mean(
        [
            after["results"]["proxy_anchor", seed].recall[1]
            - after["results"]["multi_similarity", seed].recall[1]
            for seed in (0, 1)
        ]
    )
    assert after["difference"].mean() == pytest.approx(difference)
    assert after["low"] < difference < after["high"]
    assert all(one.recall[1] > after["before"].recall[1] for one in after["results"].values())


@pytest.mark.slow
def test_finding_wrong_labels_finds_most_of_them_and_every_copy(run):
    after = run("wrong-labels")
    hits = after["is_wrong"][after["reported"]]
    assert hits.mean() > 5 * after["is_wrong"].mean()  # five times as many as anywhere
    assert hits.sum() > 0.4 * after["is_wrong"].sum()
    count = len(after["labels"])
    copies = {(row, count + i) for i, row in enumerate(after["twice"].tolist())}
    assert copies <= {(pair.row, pair.other) for pair in after["issues"].duplicates}


@pytest.mark.slow
def test_a_new_loss_in_one_file_is_what_it_says_and_trains(run):
    after = run("new-loss")
    assert float(after["recipe"].loss(after["labels"], after["embeddings"])) == pytest.approx(
        after["by_hand"], rel=1e-5
    )
    assert all(np.isfinite(list(after["values"].values())))
    before = after["scores"]["before training"]
    assert after["scores"]["logistic_pairs"].low > before.high


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_what_a_notebook_shows_is_stored_in_it_and_on_the_site(name):
    cells = [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    made = load_tool("site_pages").notebook(name, NOTEBOOKS[name])
    page = made[f"notebooks/{name}.md"]
    assert page.startswith("# ") and page.count("```python") + page.count("```toml") == len(cells)
    assert all(content[1:4] == b"PNG" for uri, content in made.items() if uri.endswith(".png"))
    assert f"notebooks/{name}.md" in (ROOT / "mkdocs.yml").read_text()
    assert f"notebooks/{name}.md" in (ROOT / "docs" / "index.md").read_text()


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return load_tool("notebooks")


def test_a_cell_shows_what_it_prints_its_last_value_and_its_figure(kernel):
    known = {}
    code = "import matplotlib.pyplot as plt\nprint('a')\nplt.figure()\nplt.plot([0, 1])\nb = 2\nb"
    printed, value, figure = kernel.run_cell(code, known, "a cell")
    assert printed == {"output_type": "stream", "name": "stdout", "text": ["a\n"]}
    assert value["data"] == {"text/plain": ["2"]} and "image/png" in figure["data"]
    assert known["b"] == 2
    assert kernel.run_cell("b = 3", known, "a cell") == []


def test_a_cell_writes_a_file(kernel):
    kernel.run_cell("%%writefile a.txt\none\ntwo\n", {}, "a cell")
    assert Path("a.txt").read_text() == "one\ntwo\n"


def test_a_page_of_a_notebook():
    image = {"image/png": "iVBORw=="}
    cells = [
        {"cell_type": "markdown", "source": ["# A\n", "[b](other.ipynb)"]},
        {
            "cell_type": "code",
            "metadata": {"alt": "a curve"},
            "source": ["f()"],
            "outputs": [
                {"output_type": "stream", "text": ["x\n", "y\n"]},
                {"output_type": "display_data", "data": image},
                {"output_type": "execute_result", "data": {"text/plain": ["3"]}},
            ],
        },
        {"cell_type": "code", "metadata": {}, "source": ["%%writefile m.toml\n", "a = 1\n"]}
        | {"outputs": []},
    ]
    made = load_tool("site_pages").notebook("n", {"cells": cells})
    assert made == {
        "notebooks/n.md": "# A\n[b](other.md)\n\n```python\nf()\n```\n\n```text\nx\ny\n```\n\n"
        "![a curve](n-1.png)\n\n```text\n3\n```\n\n"
        '```toml title="m.toml"\na = 1\n```\n\n'
        "This page is [a notebook](n.ipynb), which you can download and run.",
        "notebooks/n-1.png": b"\x89PNG",
    }
