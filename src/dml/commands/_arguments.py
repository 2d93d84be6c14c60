"""Arguments that several commands share."""

import argparse
import contextlib
from collections.abc import Iterator

from dml.errors import OptionError

IMAGES = (
    "a folder, 'pattern*.jpg', a .csv or .parquet list, a .tar shard, a .parquet file of images, "
    "or an image or its URL"
)
INDEX = "a folder, milvus://HOST[:PORT][/COLLECTION], or a .db file of milvus-lite"
WHERE = """a filter, such as 'label in ["cat", "dog"] and price < 10'"""


def add_allow_parts(parser: argparse.ArgumentParser) -> None:
    """Adds `--allow-parts`, for commands that read a run's recipe."""
    parser.add_argument(
        "--allow-parts",
        action="store_true",
        help="run the Python files that a run's recipe lists under `parts`",
    )


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Adds `--bundle`, for commands that search or extend an index."""
    parser.add_argument(
        "--bundle", metavar="DIR", help="the encoder (default: the index's own; Milvus has none)"
    )


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Adds `--budget`, for commands that train."""
    parser.add_argument(
        "--budget",
        metavar="TIME",
        help="limit on the time, such as 90s, 20m or 1.5h (default: all epochs of the recipe)",
    )


@contextlib.contextmanager
def naming_budget() -> Iterator[None]:
    """Calls the library's `budget` by its flag in an error about it."""
    try:
        yield
    except OptionError as error:
        if error.option != "budget":
            raise
        raise OptionError("--budget", error.text) from None
