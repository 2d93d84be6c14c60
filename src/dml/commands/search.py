"""`dml search`: the nearest items of an index, as a table, as JSON or as a page."""

import argparse
import enum
import json
from html import escape
from pathlib import Path

from dml._console.runtime import Runtime
from dml._storage.atomic import write_text
from dml.commands._arguments import INDEX, WHERE, add_bundle
from dml.commands._command import Command
from dml.encoding.embed import embed_images
from dml.errors import OptionError
from dml.images import ImageError, read_image
from dml.index import open_index
from dml.reporting import Reporter

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem;
  padding: 0; list-style: none; }
img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 4px; display: block; }
.query { width: 12rem; } .id { overflow-wrap: anywhere; font-size: .8125rem; opacity: .75; }
.same { font-weight: 600; }
"""


class Calibrated(enum.Enum):
    """The value of `--threshold` that is not a number."""

    CALIBRATED = "calibrated"


def parse_threshold(text: str) -> float | Calibrated:
    """Returns what `--threshold` asks for: a similarity, or the calibrated one.

    Raises:
        OptionError: It is neither.
    """
    if text == Calibrated.CALIBRATED.value:
        return Calibrated.CALIBRATED
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -1 <= value <= 1:
        raise OptionError("threshold", f"must be 'calibrated' or in [-1, 1]; got {text!r}")
    return value


def search(
    path,
    queries,
    k=10,
    where=None,
    threshold=None,
    bundle=None,
    as_json=False,
    html=None,
    report=print,
):
    """Searches an index for images.

    Args:
        path: The index, as `dml.index.open_index` takes it.
        queries: Paths of images, as `dml.images.read_image` takes them.
        k: Neighbours wanted for each; positive.
        where: A filter; None for all items.
        threshold: A similarity, or `Calibrated.CALIBRATED` for the encoder's, from which on a
            neighbour is shown at all; None shows the nearest k, and says of each whether it passes
            the calibrated threshold.
        bundle: The encoder; by default the index's own, which Milvus has not. Another than it was
            built with is refused.
        as_json: Reports JSON.
        html: A page to write, too; None for none.
        report: Called with each line of text for the user.

    Returns:
        For each query a dictionary of `query` and `neighbours`.

    Raises:
        ImageError: A query can't be read.
        FileNotFoundError: The index is missing.
        ValueError: An option is out of its range, or a file damaged.
    """
    index = open_index(path)
    encoder = index.encoder(bundle)
    if threshold is Calibrated.CALIBRATED:
        threshold = encoder.calibrated_threshold().similarity
    vectors = embed_images(encoder, queries, batch_size=min(32, len(queries)))
    same = calibrated(encoder)
    found = [
        {
            "query": str(query),
            "neighbours": [
                neighbour(item, similarity, same)
                for similarity, item in near
                if threshold is None or similarity >= threshold
            ],
        }
        for query, near in zip(queries, index.search(vectors, k, where), strict=True)
    ]
    if as_json:
        for line in json.dumps(found, indent=2).splitlines():
            report(line)
    else:
        for one in found:
            print_table(one, threshold, report)
    if html is not None:
        write_text(html, page(found))
        if not as_json:
            report(f"page: {html}")
    return found


def calibrated(encoder):
    """Returns the similarity of an encoder's calibrated threshold, or None."""
    return encoder.calibrated_threshold().similarity if encoder.thresholds else None


def neighbour(item, similarity, same):
    """Returns what is told of one neighbour, ready for JSON."""
    first = {"id": item.pop("id"), "similarity": round(similarity, 6)}
    return {**first, "same": None if same is None else similarity >= same, **item}


def print_table(found, limit, report):
    """Reports the neighbours of one query."""
    report(found["query"])
    if not found["neighbours"]:
        report("  nothing" + (f" at similarity {limit:.3f} or above" if limit is not None else ""))
        return
    width = max(len(str(n["label"] or "")) for n in found["neighbours"])
    for rank, near in enumerate(found["neighbours"], start=1):
        verdict = {True: "same", False: "different", None: ""}[near["same"]]
        label = str(near["label"] or "")
        text = f"{rank:4}  {near['similarity']:6.3f}  {verdict:9}  {label:{width}}  {near['id']}"
        report(text.rstrip())


def page(found):
    """Returns a page of one file that shows queries and their neighbours."""
    sections = []
    for one in found:
        cards = "".join(card(near) for near in one["neighbours"]) or "<li>nothing</li>"
        picture = image(one["query"], "query")
        sections.append(
            f"<section><h2>{escape(Path(one['query']).name)}</h2>{picture}<ol>{cards}</ol></section>"
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>dml search</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style><body>{''.join(sections)}</body></html>\n"
    )


def card(near):
    """Returns one neighbour of the page."""
    verdict = {True: "same", False: "different", None: ""}[near["same"]]
    return (
        f"<li>{image(near['path'], '')}<span class={verdict or 'near'}>"
        f"{near['similarity']:.3f} {verdict}</span><br>{escape(str(near['label'] or ''))}"
        f'<div class="id">{escape(near["id"])}</div></li>'
    )


def image(path, name):
    """Returns a picture that lives inside the page, or why there is none."""
    from dml.images._thumbnails import thumbnail_uri

    try:
        uri = thumbnail_uri(read_image(path, 256), 256)
    except ImageError as error:
        return f"<p>{escape(str(error))}</p>"
    return f'<img class="{name}" alt="" src="{uri}">'


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", metavar="INDEX", help=INDEX)
    parser.add_argument("queries", metavar="QUERY", nargs="+", help="an image")
    parser.add_argument("-k", type=int, default=10, help="neighbours of each (default: 10)")
    parser.add_argument("--where", metavar="FILTER", help=WHERE)
    parser.add_argument(
        "--threshold", metavar="SIMILARITY", help="the least to show: a number, or `calibrated`"
    )
    add_bundle(parser)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--html", metavar="FILE", help="write a page of the results")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    search(
        options.index,
        options.queries,
        options.k,
        options.where,
        None if options.threshold is None else parse_threshold(options.threshold),
        options.bundle,
        options.json,
        options.html,
        report=reporter.info,
    )


COMMAND = Command(
    "search",
    "find the images of an index that are nearest to others",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
)
