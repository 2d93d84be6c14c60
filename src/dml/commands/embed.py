"""`dml embed`: the vectors of images by an exported encoder, in a Parquet file."""

import argparse
import hashlib
import json
import os
from pathlib import Path

import numpy as np

from dml._console.progress import progress
from dml._console.runtime import Runtime
from dml._storage.atomic import atomic_path
from dml._storage.columns import frame_of, typed
from dml._storage.unfinished import UnfinishedRows, measuring
from dml.commands._arguments import IMAGES
from dml.commands._command import Command
from dml.encoding._sources import image_table
from dml.encoding.embed import embed_part
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.images import ImageRef
from dml.images._files import LeftOut
from dml.reporting import Reporter

PART = 512  # images that a stop can lose
NAMED = 5  # unreadable images named on the terminal


def embed(bundle, sources, out, batch_size=32, threads=2, engine="local", report=print):
    """Embeds images and writes one row for each: its id, path, label, own fields and vector.

    What is done when the command is stopped is kept in `OUT.unfinished`; the same command goes on
    from there. Images that can't be read are listed in `OUT.unreadable.csv`.

    Args:
        bundle: The bundle's folder.
        sources: As `dml.encoding._sources.image_table` takes them.
        out: The `.parquet` file.
        batch_size: Images embedded at once; positive.
        threads: Threads that read images; positive.
        engine: `local`, or `ray` for the machines of a Ray cluster.
        report: Called with each line of text for the user.

    Raises:
        IsADirectoryError: `out` is a folder.
        ValueError: `out` is no `.parquet`, or the bundle or a list is damaged.
        FileNotFoundError: The bundle or a source is missing.
    """
    out = Path(out)
    if out.suffix != ".parquet":
        raise ValueError(f"--out must end in .parquet; got {out}")
    if out.is_dir():
        raise IsADirectoryError(f"{out} is a folder: choose another --out")
    encoder = OnnxEncoder(bundle)
    folder = unfinished_folder(out)
    with measuring(folder):
        table, vectors, faults = embedded(
            encoder, sources, folder, batch_size, threads, engine, report=report
        )
        write_vectors(out, table, vectors, encoder)
    report(f"{len(table):,} vectors of {encoder.dimension} numbers: {out}")
    list_unreadable(faults, Path(f"{out}.unreadable.csv"), report)


def unfinished_folder(out):
    """Returns the folder that keeps what is done of an embedding."""
    return Path(f"{out}.unfinished")


def embedded(
    encoder,
    sources,
    folder,
    batch_size=32,
    threads=2,
    engine="local",
    check=None,
    index=None,
    report=print,
):
    """Embeds images part by part, each of which is kept in a folder when it is done.

    A vector is kept under the encoder, the path, and the size and time of the file that it was
    measured of: whatever else has come, gone or changed, it is not measured again.

    Args:
        encoder: An `OnnxEncoder`.
        sources: As `image_table` takes them; or a `.parquet` of `dml embed`, which
            is taken as it is.
        folder: Where finished parts are kept, by one process at a time (`measuring`).
        batch_size: Images embedded at once.
        threads: Threads that read.
        engine: `local` or `ray`. What one has begun the other can finish.
        check: Called with the table of all images before any is read.
        index: As `dml.encoding._sources.image_table` takes it.
        report: Called with each line of text for the user.

    Returns:
        The table of the images that could be read, their vectors, and the table `id`, `path`,
        `reason` of those that could not.

    Raises:
        ValueError: Vectors in a file are of another encoder, or no image could be read.
    """
    import pandas as pd

    if len(sources) == 1 and str(sources[0]).endswith(".parquet"):
        ready = read_vectors(sources[0], encoder)
        if ready is not None:
            if check is not None:
                check(ready[0])
            return (*ready, pd.DataFrame(columns=["id", "path", "reason"]))
    left_out = LeftOut()
    table = image_table(sources, left_out, index)
    if left_out:
        report(str(left_out))
    if check is not None:
        check(table)
    paths = table["path"].tolist()
    keys = content_keys(encoder, paths)
    unfinished = UnfinishedRows(folder)
    vectors = np.empty((len(table), encoder.dimension), "float32")
    reasons = {}
    with progress("embedding", len(table)) as advance:
        known = unfinished.take(keys, vectors)
        if known.any():
            advance(int(known.sum()))
        missing = np.flatnonzero(~known)
        rows = {n: missing[n * PART : (n + 1) * PART] for n in range(-(-len(missing) // PART))}
        parts = {number: [paths[row] for row in some] for number, some in rows.items()}
        for number, arrays in computed(encoder, parts, batch_size, threads, engine, advance):
            found, unreadable, texts = arrays
            some = rows[number]
            vectors[some] = found
            reasons.update(zip(some[unreadable].tolist(), texts.tolist(), strict=True))
            read = np.delete(np.arange(len(some)), unreadable)
            unfinished.keep([keys[row] for row in some[read]], found[read])
    reasons = dict(sorted(reasons.items()))
    good = ~np.isin(np.arange(len(table)), list(reasons))
    if not good.any():
        raise ValueError(f"none of the images could be read: {next(iter(reasons.values()))}")
    faults = table.loc[~good, ["id", "path"]].assign(reason=list(reasons.values()))
    return table[good].reset_index(drop=True), vectors[good], faults


def content_keys(encoder, paths):
    """Returns a key of each image: what decides its vector; None where there is no such file."""
    status = {}
    keys = []
    for path in paths:
        file = ImageRef.parse(path).container
        if file not in status:
            try:
                found = os.stat(file) if file else None
                status[file] = (found.st_size, found.st_mtime_ns) if found else ()
            except OSError:
                status[file] = None
        about = status[file]
        text = json.dumps([encoder.sha256, path, about])
        keys.append(None if about is None else hashlib.sha256(text.encode()).hexdigest()[:32])
    return keys


def computed(encoder, parts, batch_size, threads, engine, advance):
    """Yields the number and arrays of each part, in any order."""
    if engine == "ray" and parts:
        from dml.encoding._ray_engine import embed_parts

        for number, arrays in embed_parts(encoder.path, parts, batch_size, threads):
            advance(len(parts[number]))
            yield number, arrays
        return
    for number, paths in parts.items():
        yield number, embed_part(encoder, paths, batch_size, threads, advance)


def list_unreadable(faults, path, report):
    """Writes and reports the images that could not be read; removes an older list."""
    if not len(faults):
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        faults.to_csv(temporary, index=False)
    report(f"{len(faults):,} images could not be read and are left out; listed in {path}:")
    for reason in faults["reason"][:NAMED]:
        report(f"  {reason}")


def write_vectors(path, table, vectors, encoder):
    """Writes a table and its vectors as Parquet, with the encoder that they are of."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = pa.Table.from_pandas(table, preserve_index=False)
    flat = pa.array(vectors.ravel())
    rows = rows.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
    mark = {"encoder": encoder.sha256, "dimension": encoder.dimension}
    rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), "dml": json.dumps(mark)})
    with atomic_path(path) as temporary:
        parquet.write_table(rows, temporary, write_page_checksum=True)


def read_vectors(path, encoder):
    """Returns the table and vectors in a file of `dml embed`; None where it is another table.

    Raises:
        ValueError: The file is damaged, or its vectors are of another encoder.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if not Path(path).is_file():
        return None
    try:
        if b"dml" not in (parquet.read_schema(path).metadata or {}):
            return None
        rows = parquet.read_table(path, page_checksum_verification=True)
        made_by = json.loads(rows.schema.metadata[b"dml"])["encoder"]
        ready = parts_of(rows, encoder.dimension) if made_by == encoder.sha256 else None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: can't be read as vectors of `dml embed`: {error}") from None
    if ready is None:
        raise ValueError(
            f"{path}: its vectors are of another encoder than {encoder.path}: embed the images "
            "again, with this one"
        )
    return ready


def parts_of(rows, dimension):
    """Returns the table and the vectors in an Arrow table as `write_vectors` makes it.

    Raises:
        KeyError, ValueError: It is another.
    """
    import pyarrow as pa

    column = rows.column("vector").combine_chunks()
    if column.type != pa.list_(pa.float32(), dimension) or column.null_count:
        raise ValueError(f"vectors are not {dimension} numbers each")
    vectors = column.flatten().to_numpy().reshape(-1, dimension)
    if len(bad := np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3))):
        raise ValueError(f"vector {bad[0]} is not of length 1")
    return typed(frame_of(rows.drop_columns(["vector"]))), vectors


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    parser.add_argument("--out", metavar="FILE.parquet", required=True)
    parser.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="threads of this machine (default), or the Ray cluster that RAY_ADDRESS names",
    )


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    embed(options.bundle, options.images, options.out, engine=options.engine, report=reporter.info)


COMMAND = Command(
    "embed",
    "write the vectors of images to a Parquet file; goes on after a stop",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
    after_interrupt="the same command goes on from the last finished part",
)
