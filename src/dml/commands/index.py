"""`dml index`: builds, changes and checks an index of images."""

import argparse
import json
import re
from functools import partial

from dml._console.runtime import Runtime
from dml._storage.unfinished import measuring
from dml.commands._arguments import IMAGES, INDEX, WHERE, add_bundle
from dml.commands._command import Command
from dml.encoding._collection import embed_sources, unfinished_folder
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index import build_index, check_build, check_free, open_index, plain_location
from dml.reporting import SILENT, Reporter


def build(bundle, sources, out, kind="auto", recall=0.95, reporter=SILENT):
    """Embeds images and writes an index of them.

    Args:
        bundle: The bundle's folder; the index takes a copy.
        sources: As `dml.encoding._sources.image_table` takes them.
        out: Where it shall be, as `dml.index.open_index` takes it; nothing may be there yet.
        kind: As `FaissIndex.build` or `MilvusIndex.build` takes it.
        recall: As `FaissIndex.build` takes it.
        reporter: Told of the progress and the result.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError: The bundle or a source is missing.
        ValueError: A file is damaged, or an option out of its range.
    """
    out = plain_location(out)
    check_free(out)
    encoder = OnnxEncoder(bundle)
    beside = local_name(out)
    folder = unfinished_folder(beside)
    check = partial(check_build, out, kind=kind, recall=recall)
    with measuring(folder):
        embedded = embed_sources(encoder, sources, folder, check=check, reporter=reporter)
        index = build_index(out, encoder, embedded.table, embedded.vectors, kind, recall)
    say(index, reporter.info)
    embedded.list_unreadable(beside, reporter)


def add(path, sources, bundle=None, reporter=SILENT):
    """Embeds images and adds them; same ids take the older's place, and keep what is not given.

    Args:
        path: As `dml.index.open_index` takes it.
        sources: As `dml.encoding._sources.image_table` takes them.
        bundle: The encoder's; by default the index's own.
        reporter: Told of the progress and the result.
    """
    index = open_index(path)
    beside = local_name(index.location)
    folder = unfinished_folder(beside)
    with index.changing(), measuring(folder):
        encoder = index.encoder(bundle)
        embedded = embed_sources(
            encoder, sources, folder, check=index.checked_items, index=index, reporter=reporter
        )
        new, replaced = index.add(embedded.table, embedded.vectors)
    reporter.info(f"{new:,} added, {replaced:,} replaced; {len(index):,} items in {path}")
    embedded.list_unreadable(beside, reporter)


def local_name(location):
    """Returns the name of what is kept beside an index; here, where it is on another machine."""
    if not str(location).startswith("milvus://"):
        return location
    return re.sub(r"\W+", "-", str(location))


def remove(path, ids=(), where=None, report=print):
    """Removes items by their ids, or those that a filter matches.

    Raises:
        ValueError: Neither is given, or the filter matches nothing.
        KeyError: There is no such item; nothing is removed then.
    """
    index = open_index(path)
    ids = list(dict.fromkeys(ids))
    if where is not None:
        found = index.ids(where)
        if not found:
            raise ValueError(f"{path}: no item matches {where!r}")
        ids = list(dict.fromkeys([*ids, *found]))
    if not ids:
        raise ValueError("which items? Give ids, or a filter: --where 'label == \"cat\"'")
    index.remove(ids)
    report(f"{len(ids):,} removed; {len(index):,} items in {path}")


def info(path, as_json=False, report=print):
    """Reports what an index is."""
    index = open_index(path)
    if as_json:
        for line in json.dumps(index.info(), indent=2).splitlines():
            report(line)
    else:
        say(index, report)
        report(f"fields: {', '.join(index.info()['fields'])}")


def verify(path, report=print):
    """Checks every file of an index, and that they fit each other.

    Raises:
        ValueError, FileNotFoundError: They do not.
    """
    index = open_index(path)
    index.verify()
    report(f"{path}: whole; {len(index):,} items")


def say(index, report):
    """Reports an index in a few lines."""
    facts = index.info()
    report(
        f"{index.location}: {facts['items']:,} items"
        + (f" of {facts['labels']:,} labels" if "labels" in facts else "")
        + f", {facts['dimension']} numbers each"
        + (f", {facts['bytes'] / 2**20:.1f} MiB" if "bytes" in facts else "")
    )
    if facts["kind"] == "flat":
        report("flat: every search is exact")
        return
    effort = ", ".join(f"{name} {value}" for name, value in facts["effort"].items())
    report(
        f"{facts['kind']} ({effort}): recall@10 {facts['recall_at_10']:.3f} measured, "
        f"{facts['recall_wanted']:g} wanted"
    )
    if facts["recall_at_10"] < facts["recall_wanted"]:
        report("that is less than wanted: take another --kind")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add_action(name, text):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        first = "bundle" if name == "build" else "index"
        action.add_argument(first, metavar=first.upper(), help=None if name == "build" else INDEX)
        return action

    action = add_action("build", "embed images and write an index of them")
    action.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    action.add_argument("--out", metavar="INDEX", required=True, help=INDEX)
    action.add_argument(
        "--kind",
        default="auto",
        choices=("auto", "flat", "hnsw", "ivf_pq", "int8", "binary"),
        help="default: by the number of images; in Milvus auto, flat or hnsw",
    )
    action.add_argument(
        "--recall",
        type=float,
        default=0.95,
        help="share of the true nearest 10 to find (default: 0.95)",
    )
    action = add_action("add", "embed more images and add them; an id that is there is replaced")
    add_bundle(action)
    action.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    action = add_action("remove", "remove items")
    action.add_argument("ids", metavar="ID", nargs="*")
    action.add_argument("--where", metavar="FILTER", help=WHERE)
    add_action("info", "say what an index holds").add_argument("--json", action="store_true")
    add_action("verify", "check every file of an index")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    report = reporter.info
    if options.action == "build":
        build(
            options.bundle,
            options.images,
            options.out,
            options.kind,
            options.recall,
            reporter=reporter,
        )
    elif options.action == "add":
        add(options.index, options.images, options.bundle, reporter=reporter)
    elif options.action == "remove":
        remove(options.index, options.ids, options.where, report=report)
    elif options.action == "info":
        info(options.index, options.json, report=report)
    else:
        verify(options.index, report=report)


COMMAND = Command(
    "index",
    "build, change or check an index of images",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
    after_interrupt="the same command goes on from the last finished part",
)
