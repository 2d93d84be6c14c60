"""JSON files with checksums."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dml._storage.atomic import check_regular, write_text
from dml.errors import DataError


def sha256(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file, or of all files in a folder with their names, in hex."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        text = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(text.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` to `path` atomically, as indented JSON."""
    write_text(path, _text(value))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Returns the value in a JSON file.

    Raises:
        DataError: The file is not JSON, or not a regular file.
    """
    return _read(path)[0]


def _read(path):
    """Returns the value in a JSON file, and the text of the file."""
    check_regular(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text), text
    except (ValueError, RecursionError) as error:  # bytes that are not UTF-8 are a ValueError, too
        raise DataError(path, f"not valid JSON ({error})") from None


def _text(value):
    return json.dumps(value, indent=2) + "\n"


def misfit(value: Any, schema: Any, name: str = "") -> str | None:
    """Returns the name of the first field in which a JSON value violates a schema, or None.

    Args:
        value: The value that `read_json` returned.
        schema: A type or a tuple of types; or {field: schema} for a dictionary, in which the field
            `str` stands for all fields; or [schema] for the elements of a list.
        name: The value's name, if it is a field.
    """
    kinds = type(schema) if isinstance(schema, (dict, list)) else schema
    if type(value) not in (kinds if isinstance(kinds, tuple) else (kinds,)):
        return name or "its value"
    inner = []
    if isinstance(schema, list):
        inner = [(number, part, schema[0]) for number, part in enumerate(value)]
    elif isinstance(schema, dict):
        for field, part in schema.items():
            inner += [(key, value.get(key), part) for key in (value if field is str else [field])]
    found = (
        misfit(part, wanted, f"{name}.{key}" if name else f"{key}") for key, part, wanted in inner
    )
    return next((field for field in found if field), None)


def is_below(name: str) -> bool:
    """Returns whether a relative path stays in the folder that it is relative to."""
    parts = name.split("/")
    return "\\" not in name and "\0" not in name and not {"", ".", ".."} & set(parts)


def text_sha256(value: Any) -> str:
    """Returns the SHA-256 of a value's JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_sealed(path: str | os.PathLike[str], value: dict[str, Any]) -> None:
    """Writes a dictionary as JSON, with the SHA-256 of the rest in it."""
    write_json(path, {**value, "sha256": text_sha256(value)})


def read_sealed(path: str | os.PathLike[str], schema: int, hint: str) -> dict[str, Any]:
    """Returns a dictionary as `write_sealed` wrote it.

    Args:
        path: The file.
        schema: The number that its field `schema` has to hold.
        hint: What to do if it is damaged or of another schema.

    Raises:
        DataError: It is damaged, or of another schema. Any change of its text is damage.
    """
    try:
        value, text = _read(path)
    except DataError as error:
        raise DataError(path, f"{error.text}; {hint}") from None
    found = value.get("schema") if isinstance(value, dict) else None
    if type(found) is not int:
        raise DataError(path, f"damaged, or of another version of dml: it has no schema; {hint}")
    if found != schema:
        raise DataError(
            path, f"of another version of dml: its schema is {found}, not {schema}; {hint}"
        )
    same = text == _text(value)  # another last digit may leave a float, and its SHA-256, the same
    if value.pop("sha256", None) != text_sha256(value) or not same:
        raise DataError(path, f"damaged: its SHA-256 does not match; {hint}")
    return value
