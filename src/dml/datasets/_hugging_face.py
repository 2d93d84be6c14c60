"""Folders of Hugging Face's `datasets`, and data sets of its hub as Parquet files."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from dml.datasets._splits import without_partial
from dml.errors import DataError, MissingDataError, PackageError, StorageError

PREFIX = "hf:"
_CONVERTED = (
    "refs/convert/parquet"  # the branch of every data set as CONFIGURATION/SPLIT/NNNN.parquet
)
_MOST_BYTES = 2**24  # of a state.json


def find_folder(root: str, fetch: bool = True) -> tuple[str, str]:
    """Returns the folder and the split that "hf:NAME_OR_PATH[:SPLIT]" means; "" if it names none.

    Args:
        root: The text.
        fetch: Whether to fetch a data set of the hub; otherwise its folder is "".

    Raises:
        MissingDataError: There is neither such a folder nor a data set of the hub, or it has no
            such split.
        PackageError: The package that fetches it is missing.
        StorageError: It can't be fetched.
    """
    name, split = os.path.expanduser(root.removeprefix(PREFIX)), ""
    if not os.path.exists(name) and name.endswith("]"):
        raise MissingDataError(
            root, "names a part of a split by [...]: name the whole split, as in hf:NAME:train"
        )
    if not os.path.exists(name):
        head, mark, tail = name.rpartition(":")
        name, split = (head, tail) if mark else (name, "")
    if os.path.exists(name):
        return name, split
    return (_fetched(name, split) if fetch else ""), split


def saved_files(folder: str) -> set[str] | None:
    """Returns the data files that `save_to_disk` wrote into a folder; None for another folder.

    It writes Arrow files, and their names into a `state.json`, which other programs write, too.

    Raises:
        DataError: Its `state.json` is damaged.
        MissingDataError: One of the files is missing.
    """
    path = Path(folder) / "state.json"
    if not path.is_file() or not any(n.lower().endswith(".arrow") for n in os.listdir(folder)):
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        state = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(state, dict) or "_data_files" not in state:
            return None
        names = {str(entry["filename"]) for entry in state["_data_files"]}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(path, f"damaged, or not written by save_to_disk: {error}") from None
    for name in sorted(names):
        if os.path.basename(name) != name or not (Path(folder) / name).is_file():
            raise MissingDataError(Path(folder) / name, f"missing, while {path.name} names it")
    return names


def _fetched(name, split):
    """Returns the folder of a data set of the hub, whose Parquet files are fetched if need be."""
    words = name.split("/")
    if not all(words) or len(words) > 3 or name.startswith((".", "/", "~")):
        raise MissingDataError(
            PREFIX + name, "no such folder, nor a data set of the hub: ORGANIZATION/NAME"
        )
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError:
        raise PackageError(
            f"{PREFIX}{name} is not a folder, and fetching a data set of the hub needs the package "
            "huggingface_hub: pip install 'dml[hf]'"
        ) from None
    repository, configuration = "/".join(words[:2]), "".join(words[2:])
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs each attempt
    try:
        files = HfApi().list_repo_files(repository, repo_type="dataset", revision=_CONVERTED)
        configurations = sorted({file.split("/")[0] for file in files if file.count("/") > 1})
        if not configuration:
            configuration = configurations[0] if len(configurations) == 1 else ""
        splits = _splits_of(files, configuration)
        wanted = [f"{configuration}/{part}{split or '*'}/*.parquet" for part in ("", "partial-")]
        found = configuration in configurations and (not split or split in splits)
        folder = found and snapshot_download(
            repository, repo_type="dataset", revision=_CONVERTED, allow_patterns=wanted
        )
    except Exception as error:  # of the hub, of its client, or of the network
        reason = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
        raise StorageError(
            f"{PREFIX}{name} is not a folder, and can't be fetched from the hub: {reason}. Check "
            "the name and the network, or give the folder of a data set"
        ) from None
    if configuration not in configurations:
        raise MissingDataError(
            PREFIX + name,
            f"choose one of its configurations, {repository}/CONFIGURATION: "
            f"{', '.join(configurations)}",
        )
    if not found:
        raise MissingDataError(
            PREFIX + name, f"has no split {split!r}; it has {', '.join(splits) or 'none'}"
        )
    return os.path.join(str(folder), configuration)


def _splits_of(files: Sequence[str], configuration: str) -> list[str]:
    """Returns the splits of a configuration, whose files are CONFIGURATION/SPLIT/NNNN.parquet."""
    paths = [file.split("/") for file in files if file.endswith(".parquet")]
    return sorted({without_partial(p[1]) for p in paths if p[0] == configuration and len(p) == 3})
