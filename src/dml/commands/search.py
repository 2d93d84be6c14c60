"""`dml search`: the nearest items of an index, as a table, as JSON or as a page."""

import argparse
import json

from dml._console.runtime import Runtime
from dml.commands._arguments import INDEX, WHERE, add_bundle
from dml.commands._command import Command
from dml.errors import DmlError, OptionError
from dml.reporting import Reporter

CALIBRATED = "calibrated"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", metavar="INDEX", help=INDEX)
    parser.add_argument("queries", metavar="QUERY", nargs="+", help="an image")
    parser.add_argument("-k", type=int, default=10, help="neighbours per query (default: 10)")
    parser.add_argument("--where", metavar="FILTER", help=WHERE)
    parser.add_argument(
        "--threshold",
        metavar="SIMILARITY",
        help=f"lowest similarity to show: a number, or `{CALIBRATED}`",
    )
    add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", metavar="FILE", help="write a page of the results")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.index import open_index, search_images

    index = open_index(options.index)
    encoder = index.encoder(options.bundle)
    threshold = _threshold(options.threshold, encoder)
    unreadable: dict[str, str] = {}
    queries = options.queries
    results = search_images(
        index, encoder, queries, options.k, options.where, threshold, unreadable
    )
    if options.json:
        for line in json.dumps([one.to_json() for one in results], indent=2).splitlines():
            reporter.info(line)
    else:
        for result in results:
            _print_table(result, threshold, reporter)
    if options.html is not None:
        from dml.report import write_search_page

        write_search_page(options.html, options.index, results)
        if not options.json:
            reporter.info(f"page: {options.html}")
    if unreadable:
        raise DmlError("; ".join(unreadable.values()))  # each names its image


def _threshold(text, encoder):
    """Returns the similarity that `--threshold` specifies; None without it."""
    if text is None:
        return None
    if text == CALIBRATED:
        return encoder.calibrated_threshold().similarity
    try:
        return float(text)
    except ValueError:
        raise OptionError("threshold", f"must be a number or `{CALIBRATED}`; got {text}") from None


def _print_table(result, threshold, reporter):
    """Prints the neighbours of one query."""
    reporter.info(result.query)
    if not result.neighbours:
        limit = f" with a similarity of {threshold:.3f} or more" if threshold is not None else ""
        reporter.info(f"  nothing{limit}")
        return
    width = max(len(str(near.item["label"] or "")) for near in result.neighbours)
    for rank, near in enumerate(result.neighbours, start=1):
        verdict = {True: "same", False: "different", None: ""}[near.same]
        label = str(near.item["label"] or "")
        row = f"{rank:4}  {near.similarity:6.3f}  {verdict:9}  {label:{width}}  {near.item['id']}"
        reporter.info(row.rstrip())


COMMAND = Command(
    "search",
    "find the images of an index that are most similar to given ones",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
)
