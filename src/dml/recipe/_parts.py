"""Imports the user's own Python files of parts."""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from dml.errors import DataError, MissingDataError


def import_parts(path: str | os.PathLike[str]) -> None:
    """Imports a user's file of parts, whose decorators register them; once in a process.

    Raises:
        MissingDataError: It does not exist.
        DataError: It can't be imported.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(file, "does not exist, but the recipe lists it under parts")
    name = f"dml_parts_{hashlib.sha256(bytes(file) + file.read_bytes()).hexdigest()[:16]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:  # not a Python suffix
        raise DataError(file, "can't be imported: parts are Python files, NAME.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        del sys.modules[name]
        raise DataError(file, f"can't be imported: {type(error).__name__}: {error}") from None
