"""Reads the recipe of a run, which must be the one that its training started with."""

from collections.abc import Iterable
from pathlib import Path

from dml._storage.records import sha256
from dml._storage.run_folder import RunFolder
from dml.errors import DataError
from dml.recipe._layers import read_source, read_toml
from dml.recipe._reading import load_recipe
from dml.recipe._schema import Recipe

# Options that may change during a training, like all those of `evaluation`.
FREE = {"dataset.root", "training.threads"}


def load_run_recipe(
    folder: RunFolder, flags: Iterable[str] = (), allow_parts: bool = False
) -> Recipe:
    """Reads a run's recipe, which must be the one that its training started with.

    Options that do not affect the training may differ: `[evaluation]` except for `exclude`, the
    data set's root, threads.

    Args:
        folder: A `RunFolder` that holds a recipe.
        flags: As for `load_recipe`.
        allow_parts: As for `load_recipe`.

    Raises:
        OptionError: As for `load_recipe`.
        DataError: The recipe, or a file of parts that it names, was changed; or the run's
            manifest is missing.
    """
    text, parts = folder.begun_with()
    begun = training_options(text, str(folder.manifest))
    source = read_source(folder.recipe)
    now = training_options(source.text, source.name)
    changed = [name for name in {**begun, **now} if begun.get(name) != now.get(name)]
    for name in changed[:1]:
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        raise DataError(
            folder.recipe,
            f"{name} was {begun.get(name, 'not set')} when the training began and is "
            f"{now.get(name, 'not set')} now{more}: put it back, or train the changed recipe as a "
            f"new run, `dml train {folder.recipe} --out DIR`",
        )
    for path, digest in parts.items():
        if Path(path).is_file() and sha256(path) != digest:
            raise DataError(
                path,
                f"changed since {folder.path} began: put it back, or train with the changed one as "
                f"a new run, `dml train {folder.recipe} --out DIR`",
            )
    return load_recipe(folder.recipe, flags, allow_parts)


def recipe_to_resume(folder: RunFolder, allow_parts: bool = False) -> Recipe:
    """Reads the recipe of a run that is to go on.

    Without a manifest, of a run that was stopped as it began, it is what `recipe.toml` says now.

    Args:
        folder: A `RunFolder` that holds a recipe.
        allow_parts: As for `load_recipe`.

    Raises:
        DmlError: As for `load_run_recipe`.
    """
    if folder.manifest.exists():
        return load_run_recipe(folder, allow_parts=allow_parts)
    return load_recipe(folder.recipe, allow_parts=allow_parts)


def training_options(text: str, name: str) -> dict[str, str]:
    """Returns {"section.option": value} of the options in a recipe that affect training.

    Args:
        text: The recipe, as TOML.
        name: What it is called, for messages.
    """
    deciding = {}
    for section, options in read_toml(text, name).items():
        if not isinstance(options, dict):
            deciding[section] = repr(options)
        else:
            deciding.update({f"{section}.{name}": repr(value) for name, value in options.items()})
    return {name: value for name, value in deciding.items() if not _is_free(name)}


def _is_free(option):
    """Returns whether an option, "section.option", does not affect the training."""
    measured = option.startswith("evaluation.") and option != "evaluation.exclude"
    return measured or option in FREE
