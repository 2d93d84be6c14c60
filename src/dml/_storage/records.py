"""JSON files with checksums."""

import hashlib
import json
from pathlib import Path

from dml._storage.atomic import check_regular, write_text


def sha256(path):
    """Returns the SHA-256 of a file, or of all files in a folder with their names, in hex."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        text = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(text.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path, value):
    """Writes `value` to `path` atomically, as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path):
    """Returns the value in a JSON file.

    Raises:
        ValueError: The file is not JSON, or no regular file.
    """
    check_regular(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # what is no text is a ValueError, too
        raise ValueError(f"{path}: not valid JSON ({error})") from None


def misfit(value, shape, name=""):
    """Returns the name of the first field in which a JSON value is not of a shape, or None.

    Args:
        value: What `read_json` returned.
        shape: A type or a tuple of types; or {field: shape} of a dictionary, in which the field
            `str` stands for every field; or [shape] of a list's members.
        name: Of the value, where it is a field.
    """
    kinds = type(shape) if isinstance(shape, (dict, list)) else shape
    if type(value) not in (kinds if isinstance(kinds, tuple) else (kinds,)):
        return name or "its value"
    inner = []
    if isinstance(shape, list):
        inner = [(number, part, shape[0]) for number, part in enumerate(value)]
    elif isinstance(shape, dict):
        for field, part in shape.items():
            inner += [(key, value.get(key), part) for key in (value if field is str else [field])]
    found = (
        misfit(part, wanted, f"{name}.{key}" if name else f"{key}") for key, part, wanted in inner
    )
    return next((field for field in found if field), None)


def is_below(name):
    """Returns whether a name in a description is that of a file in its folder, or below."""
    parts = name.split("/")
    return "\\" not in name and "\0" not in name and not {"", ".", ".."} & set(parts)


def text_sha256(value):
    """Returns the SHA-256 of a value's JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_sealed(path, value):
    """Writes a dictionary as JSON, with the SHA-256 of the rest in it."""
    write_json(path, {**value, "sha256": text_sha256(value)})


def read_sealed(path):
    """Returns a dictionary as `write_sealed` wrote it.

    Raises:
        ValueError: It is damaged.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.pop("sha256", None) != text_sha256(value):
        raise ValueError(
            f"{path}: damaged: its SHA-256 does not fit, or not of this version of dml"
        )
    return value
