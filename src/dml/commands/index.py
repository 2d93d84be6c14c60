"""`dml index`: builds, changes and checks an index of images."""

import json
from pathlib import Path

from dml.commands.embed import embedded, list_unreadable, unfinished_folder
from dml.index import FaissIndex
from dml.index.where import matching
from dml.onnx_encoder import OnnxEncoder


def build(bundle, sources, out, kind="auto", recall=0.95, report=print):
    """Embeds images and writes an index of them.

    Args:
        bundle: The bundle's folder; the index takes a copy.
        sources: As `dml.commands.embed.embedded` takes them.
        out: The index's folder, which must not exist.
        kind: As `FaissIndex.build` takes it.
        recall: As `FaissIndex.build` takes it.
        report: Called with each line of text for the user.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError: The bundle or a source is missing.
        ValueError: A file is damaged, or an option out of its range.
    """
    if Path(out).exists():
        raise FileExistsError(f"{out} is there already: remove it or choose another --out")
    encoder = OnnxEncoder(bundle)
    table, vectors, faults = embedded(encoder, sources, Path(f"{out}.unfinished"))
    index = FaissIndex.build(out, encoder, table, vectors, kind, recall)
    say(index, report)
    list_unreadable(faults, Path(f"{out}.unreadable.csv"), report)
    unfinished_folder(out).forget()


def add(path, sources, report=print):
    """Embeds images by the index's own encoder and adds them; same ids take the older's place."""
    index = FaissIndex(path)
    table, vectors, faults = embedded(index.encoder(), sources, Path(f"{path}.unfinished"))
    new, replaced = index.add(table, vectors)
    report(f"{new:,} added, {replaced:,} replaced; {len(index):,} items in {path}")
    list_unreadable(faults, Path(f"{path}.unreadable.csv"), report)
    unfinished_folder(path).forget()


def remove(path, ids=(), where=None, report=print):
    """Removes items by their ids, or those that a filter matches.

    Raises:
        ValueError: Neither is given, or the filter matches nothing.
        KeyError: There is no such item; nothing is removed then.
    """
    index = FaissIndex(path)
    ids = list(dict.fromkeys(ids))
    if where is not None:
        found = index.items["id"][index.present & matching(where, index.items)]
        if not len(found):
            raise ValueError(f"{path}: no item matches {where!r}")
        ids = list(dict.fromkeys([*ids, *found]))
    if not ids:
        raise ValueError("which items? Give ids, or a filter: --where 'label == \"cat\"'")
    index.remove(ids)
    report(f"{len(ids):,} removed; {len(index):,} items in {path}")


def info(path, as_json=False, report=print):
    """Reports what an index is."""
    index = FaissIndex(path)
    if as_json:
        report(json.dumps(index.info(), indent=2))
    else:
        say(index, report)
        report(f"fields: {', '.join(index.info()['fields'])}")


def verify(path, report=print):
    """Checks every file of an index, and that they fit each other.

    Raises:
        ValueError, FileNotFoundError: They do not.
    """
    index = FaissIndex(path)
    index.verify()
    report(f"{path}: whole; {len(index):,} items")


def say(index, report):
    """Reports an index in a few lines."""
    facts = index.info()
    report(
        f"{index.folder.path}: {facts['items']:,} items of {facts['labels']:,} labels, "
        f"{facts['dimension']} numbers each, {facts['bytes'] / 2**20:.1f} MiB"
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
