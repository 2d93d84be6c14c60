"""Images named on the command line: folders, patterns, lists, tar shards, single files."""

import glob
import os
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
LISTS = (".csv", ".parquet")


def image_table(sources):
    """Returns a table of images with the columns `id`, `path`, `label` and what lists add.

    Args:
        sources: Paths, each of
            a folder: every image in it, whose label is the first folder below it, if any;
            a pattern with `*`, `?` or `[...]`;
            a `.csv` or `.parquet` list with a column `path`, relative to its folder, and perhaps
            `id`, `label` (or `class`) and fields of your own;
            a `.tar` shard, uncompressed, whose members `NAME.cls` are labels;
            or an image.
            An image's id is its path as given here, unless a list says otherwise.

    Returns:
        A pandas frame. `path` is absolute; `label` is text, None where there is none.

    Raises:
        FileNotFoundError: A source is missing or holds no image.
        ValueError: A list can't be read, or two images have one id.
    """
    import pandas as pd

    frames = []
    for source in map(os.fspath, sources):
        frame = rows_of(source)
        if not len(frame):
            raise FileNotFoundError(f"{source}: no images there ({', '.join(sorted(SUFFIXES))})")
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    if len(repeated := table.index[table["id"].duplicated()]):
        raise ValueError(f"the id {table['id'][repeated[0]]!r} occurs more than once")
    for column in table.columns:
        if table[column].dtype == object:
            table[column] = table[column].where(table[column].notna(), None)
    return table


def rows_of(source):
    """Returns the table of one source."""
    import pandas as pd

    path = Path(source)
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if is_image(f, path))
        below = [f.relative_to(path).parts for f in files]
        labels = [parts[0] if len(parts) > 1 else None for parts in below]
        ids = [os.path.join(source, *parts) for parts in below]
        return pd.DataFrame({"id": ids, "path": absolute(ids), "label": labels}, dtype=object)
    if path.suffix.lower() in LISTS and path.is_file():
        return listed(path)
    if path.suffix.lower() == ".tar" and path.is_file():
        return shard(source)
    if path.is_file():
        files = [source]
    elif glob.has_magic(source):
        files = sorted(
            f for f in glob.glob(source, recursive=True) if Path(f).suffix.lower() in SUFFIXES
        )
    else:
        raise FileNotFoundError(f"{source}: no such file, folder or pattern")
    labels = [None] * len(files)
    return pd.DataFrame({"id": files, "path": absolute(files), "label": labels}, dtype=object)


def is_image(file, folder):
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in SUFFIXES and not hidden and file.is_file()


def absolute(paths):
    return [os.path.abspath(path) for path in paths]


def listed(path):
    """Returns the rows of a list."""
    import pandas as pd

    from dml.datasets.table import read_frame

    frame = read_frame(path)
    if "path" not in frame:
        raise ValueError(f"{path}: no column 'path'; it has {', '.join(map(str, frame.columns))}")
    if len(empty := frame.index[frame["path"].isna()]):
        raise ValueError(f"{path}: row {empty[0] + 1} has no path")
    if "label" not in frame and "class" in frame:
        frame = frame.rename(columns={"class": "label"})
    named = frame["path"].astype(str).tolist()
    frame["id"] = frame["id"].astype(str) if "id" in frame else named
    folder = path.parent
    frame["path"] = [
        p if p.startswith("glyph:") else os.path.abspath(os.path.join(folder, p)) for p in named
    ]
    labels = frame["label"] if "label" in frame else [None] * len(frame)
    texts = [None if label is None or label != label else str(label) for label in labels]
    frame["label"] = pd.Series(texts, frame.index, dtype=object)
    first = ["id", "path", "label"]
    return frame[[*first, *(column for column in frame.columns if column not in first)]]


def shard(source):
    """Returns the images in a tar, each with the label in its neighbour `.cls`."""
    import tarfile

    import pandas as pd

    from dml.images import read_bytes, tar_members

    path = os.path.abspath(source)
    try:
        members = tar_members(path)
    except tarfile.TarError as error:
        raise ValueError(f"{source}: not an uncompressed tar archive: {error}") from None
    rows = []
    for member in members:
        stem, suffix = os.path.splitext(member)
        if suffix.lower() not in SUFFIXES:
            continue
        label = None
        if stem + ".cls" in members:
            label = read_bytes(f"{path}!{stem}.cls").decode("utf-8", "replace").strip()
        rows.append((f"{source}!{member}", f"{path}!{member}", label))
    return pd.DataFrame(rows, columns=["id", "path", "label"], dtype=object)
