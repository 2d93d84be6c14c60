"""`dml index`: builds, changes and checks an index of images."""

import argparse
import json

from dml._console.runtime import Runtime
from dml._text import number_of
from dml.commands._arguments import IMAGES, INDEX, WHERE, add_bundle
from dml.commands._command import Command
from dml.errors import OptionError
from dml.reporting import Reporter


def _build(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.index import index_images

    index_images(
        options.bundle, options.images, options.out, options.kind, options.recall, reporter
    )


def _add(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.index import add_images, open_index

    add_images(open_index(options.index), options.images, options.bundle, reporter)


def _remove(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.index import open_index

    if not options.ids and options.where is None:
        raise OptionError("ID", "or --where must be given, such as --where 'label == \"cat\"'")
    index = open_index(options.index)
    count = index.remove(options.ids, options.where)
    reporter.info(f"{count:,} removed; {number_of(len(index), 'item')} in {options.index}")


def _info(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.index import open_index

    index = open_index(options.index)
    if options.json:
        text = json.dumps(index.info().to_json(), indent=2)
    else:
        text = f"{index.location}: {index.info()}\nfields: {', '.join(index.fields)}"
    for line in text.splitlines():
        reporter.info(line)


def _verify(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.index import open_index

    index = open_index(options.index)
    index.verify()
    reporter.info(f"{options.index}: undamaged; {number_of(len(index), 'item')}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def add_action(name, text, run, first="index", first_help=INDEX):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        action.set_defaults(run_action=run)
        action.add_argument(first, metavar=first.upper(), help=first_help)
        return action

    text = "embed images and write an index of them"
    action = add_action("build", text, _build, "bundle", "an encoder, as `dml export` writes it")
    images = f"{IMAGES}; or the .parquet file of `dml embed`"
    action.add_argument("images", metavar="IMAGES", nargs="+", help=images)
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
        help="target share of the true nearest 10 (default: 0.95)",
    )
    action = add_action("add", "embed and add more images; an existing id is replaced", _add)
    add_bundle(action)
    action.add_argument("images", metavar="IMAGES", nargs="+", help=images)
    action = add_action("remove", "remove items", _remove)
    action.add_argument("ids", metavar="ID", nargs="*")
    action.add_argument("--where", metavar="FILTER", help=WHERE)
    action = add_action("info", "print what an index holds", _info)
    action.add_argument("--json", action="store_true")
    add_action("verify", "check every file of an index", _verify)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    options.run_action(options, reporter)


COMMAND = Command(
    "index",
    "build, change or check an index of images",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
    after_interrupt="the same command continues from the last finished part",
)
