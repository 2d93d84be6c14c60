"""Draws the pictures of the site, docs/assets/*, from a finished run and from docs/results.md.

    dml run glyphs --out runs/demo
    python tools/pictures.py runs/demo

All images in them are of the built-in data set. The picture of the search page needs Chromium.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import dml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
import convergence  # noqa: E402

from tests.browser import Browser  # noqa: E402
from tests.serve.shop import served  # noqa: E402

ASSETS = ROOT / "docs" / "assets"
KEPT = ROOT / "benchmarks" / "measured" / "convergence"
TEAL, RED, GREY = "#009485", "#d9482b", "#808080"  # seen well on white and on black
SIDE, GAP, FRAME = 88, 10, 4  # pixels
QUERIES, NEIGHBOURS = 4, 6
LARGEST = 100_000  # bytes of a picture
PAGES = (  # picture, page, first heading in it, height in pixels
    ("overview.webp", "overview.html", "", 760),
    ("report.webp", "report.html", "Retrieval", 690),
    ("report-embedding.webp", "report.html", "Embedding", 890),
)
matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "dml",  # the same file for the same data
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), GREY),
        **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def draw_neighbours(evaluation: dml.Evaluation) -> np.ndarray:
    """Returns queries, a row each, and their nearest images in frames that say which are right."""
    items = pd.read_parquet(evaluation.path / "items.parquet")
    paths, labels = items["path"].to_numpy(), items["class"].to_numpy()
    vectors = np.load(evaluation.path / "vectors.npy").astype("float64")
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -2)
    near = np.argsort(-similarities, axis=1, kind="stable")[:, :NEIGHBOURS]
    hits = (labels[near] == labels[:, None]).mean(axis=1)
    queries = middle_queries(hits, labels)
    rows = []
    for query in queries:
        tiles = [framed(paths[query], None), np.full((SIDE + 2 * FRAME, GAP, 3), 255, "uint8")]
        for other in near[query]:
            tiles.append(framed(paths[other], labels[other] == labels[query]))
        rows.append(joined(tiles, axis=1))
    return joined(rows, axis=0)


def middle_queries(hits: np.ndarray, labels: np.ndarray) -> list[int]:
    """Returns the queries in the middle of equal parts of all, sorted by their share of hits.

    They are as good as the whole, and of different classes.
    """
    order, chosen = np.lexsort((np.arange(len(hits)), hits)), []
    for part in range(QUERIES):
        middle = int((part + 0.5) / QUERIES * len(order))
        seen = {labels[query] for query in chosen}
        chosen.append(next(query for query in order[middle:] if labels[query] not in seen))
    return chosen


def framed(path: str, right: bool | None) -> np.ndarray:
    """Returns an image in a frame: teal if it is right, red if not, none for None."""
    image = cv2.resize(dml.images.read_image(path), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    colour = "#ffffff" if right is None else TEAL if right else RED
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return cv2.copyMakeBorder(image, *[FRAME] * 4, cv2.BORDER_CONSTANT, value=rgb)


def joined(tiles: list[np.ndarray], axis: int) -> np.ndarray:
    """Returns images side by side, or one above the other, with white gaps."""
    width = [(0, 0)] * 3
    width[axis] = (0, GAP)
    padded = [np.pad(tile, width, constant_values=255) for tile in tiles[:-1]]
    return np.concatenate([*padded, tiles[-1]], axis=axis)


def draw_curve(run: dml.Run) -> Figure:
    """Returns R@1 in validation over the epochs."""
    log = run.log()
    epochs = [line["epoch"] for line in log if "val_recall_at_1" in line]
    values = [100 * line["val_recall_at_1"] for line in log if "val_recall_at_1" in line]
    figure = Figure(figsize=(5, 2.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(epochs, values, color=TEAL, lw=2)
    best = int(np.argmax(values))
    axes.plot(epochs[best], values[best], "o", color=TEAL)
    axes.annotate(f"{values[best]:.1f}", (epochs[best], values[best]), (0, 7), ha="center",
                  textcoords="offset points")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="R@1 in validation, %", ylim=(0, 100))
    return figure


def draw_losses(results: str) -> Figure:
    """Returns the intervals of R@1 in the table of every loss in the results."""
    rows = re.findall(
        r"^\| ([\w +]+) \| [^|]* \| 3 \| ([\d.]+) ± [\d.]+ \| ([\d.]+) - ([\d.]+) \|", results, re.M
    )
    names, values, lows, highs = zip(*rows, strict=True)
    values, lows, highs = (np.array(column, float) for column in (values, lows, highs))
    places = -np.arange(len(rows))
    figure = Figure(figsize=(6.4, 0.2 * len(rows) + 0.6), layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(
        values, places, xerr=[values - lows, highs - values], fmt="o", ms=4, lw=1.2, color=TEAL
    )
    axes.set_yticks(places, names, fontsize=8)
    axes.set(xlabel="R@1 on the test classes, %", ylim=(places[-1] - 0.8, 0.8))
    axes.grid(axis="x", color=GREY, alpha=0.25)
    return figure


def draw_convergence(path: Path, data: str) -> None:
    """Draws R@1 after each epoch of a data set's settings that have been measured."""
    settings = convergence.TABLES[data].settings
    runs = {
        name: [json.loads(file.read_text()) for file in sorted(KEPT.glob(f"{data}/{name}-*.json"))]
        for name in settings
    }
    convergence.draw({name: found for name, found in runs.items() if found}, settings, path)


def draw_search_page(run: dml.Run, folder: Path) -> Path:
    """Returns a screenshot of the search page, after a click on an image."""
    with served(run.index) as (address, _), Browser() as browser, browser.tab() as tab:
        tab.resize(1000, 660)
        tab.open(address)
        tab.wait_for("document.querySelector('#results li img')?.complete")
        tab.click("#results li img")
        tab.wait_for("document.getElementById('status').textContent.includes(' found in ')")
        tab.wait_for(
            "[...document.querySelectorAll('#results img')]"
            ".every(image => image.complete && image.naturalWidth)"
        )
        tab.screenshot(folder / "page.png")
    return folder / "page.png"


def draw_page(page: Path, heading: str, height: int, folder: Path) -> np.ndarray:
    """Returns a screenshot of a page, from a heading on; from the top if that is empty."""
    with Browser() as browser, browser.tab() as tab:
        tab.resize(1000, height)
        tab.open(page.resolve().as_uri())
        for style in ("scrollbarWidth = 'none'", "scrollBehavior = 'auto'"):
            tab.evaluate(f"document.documentElement.style.{style}")
        if heading:
            found = f"[...document.querySelectorAll('h2')].find(e => e.textContent == '{heading}')"
            tab.evaluate(f"document.querySelector('nav').remove(); h2 = {found}")
            tab.evaluate("[...document.images].forEach(image => {image.loading = 'eager'})")
            tab.wait_for("[...document.images].every(image => image.complete)")
            tab.wait_for(
                "window.scrollBy(0, h2.getBoundingClientRect().top - 24),"
                "Math.abs(h2.getBoundingClientRect().top - 24) < 2"
            )
        tab.screenshot(folder / "page.png")
    return cv2.imread(str(folder / "page.png"))[..., ::-1]


def write(name: str, picture: Figure | np.ndarray) -> None:
    path = ASSETS / name
    if isinstance(picture, Figure):
        picture.savefig(path, transparent=True, metadata={"Date": None})
    else:
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80])
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"{path} is larger than {LARGEST:,} bytes")


def main() -> None:
    run = dml.Run(sys.argv[1])
    ASSETS.mkdir(exist_ok=True)
    write("neighbours.webp", draw_neighbours(run.evaluation()))
    write("curve.svg", draw_curve(run))
    write("losses.svg", draw_losses((ROOT / "docs" / "results.md").read_text(encoding="utf-8")))
    draw_convergence(ASSETS / "convergence.svg", "cars196-half")
    draw_convergence(ASSETS / "convergence-emoji.svg", "emoji")
    with tempfile.TemporaryDirectory() as folder:
        page = draw_search_page(run, Path(folder))
        write("search-page.webp", cv2.imread(str(page))[..., ::-1])
        for name, file, heading, height in PAGES:
            write(name, draw_page(Path(run.path) / file, heading, height, Path(folder)))


if __name__ == "__main__":
    main()
