"""The layers of a recipe: its TOML text, and those of the recipes that it extends."""

import os
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dml._registry import suggestion
from dml._storage.places import expanded
from dml._storage.remote import is_url
from dml.errors import DataError, MissingDataError, OptionError
from dml.recipe._schema import FAMILIES, toml_value

LONGEST = 2**20  # characters of a recipe
MOST_DOTS = 200  # in a line: tomllib takes memory in the square of a dotted key's length
_DEFAULT = 'extends = "adapt"\n'  # of data sets and folders without a recipe
_BASES = "must be a shipped recipe's name or a file, NAME.toml, or a list of these"


@dataclass(frozen=True)
class Source:
    """The TOML text of a recipe.

    Args:
        text: The text.
        name: Its name in messages: a file's path, or "recipe NAME".
        path: The file; paths in the recipe are relative to its folder. None without a file.
    """

    text: str
    name: str
    path: Path | None = None

    @property
    def identity(self) -> Path | str:
        """Equal for two sources of the same recipe."""
        return self.path.resolve() if self.path else self.name

    def place(self, key: str) -> str:
        """Returns "NAME, line N" of a key of the table, such as "loss" or "loss.margin"."""
        number = _line_of(self.text, key)
        return f"{self.name}, line {number}" if number else self.name


@dataclass(frozen=True)
class Layer:
    """What one recipe sets: the recipe itself, or one that it extends.

    Args:
        source: Its text.
        sections: {section: {option: value}}.
        on: {data set: {section: {option: value}}}; used with this data set only.
        parts: Absolute paths of the user's Python files that it lists.
    """

    source: Source
    sections: dict[str, Any]
    on: dict[str, dict[str, Any]]
    parts: list[str]


def read_source(source: str | os.PathLike[str]) -> Source:
    """Returns the TOML text of the recipe, data set or folder that the user named.

    Args:
        source: As for `load_recipe`.

    Raises:
        DataError: There is no such recipe, data set or folder, or its file is not text.
    """
    if not str(source):
        raise OptionError("source", "must name a recipe, a data set or a folder. The name is empty")
    if is_url(os.fspath(source)):
        raise MissingDataError(
            source,
            "can't be read from a URL: copy it here. Images may be at URLs, in the column "
            "path of a table",
        )
    path = expanded(source)
    if path.suffix == ".toml":
        return _read_file(path)
    name = os.fspath(source)
    recipes, datasets = shipped_recipes(), FAMILIES["dataset"].parts()
    if name in recipes:
        return _read_shipped(name)
    if name in datasets:
        return Source(f'{_DEFAULT}[dataset]\nname = "{name}"\n', f"data set {name}")
    if (kind := data_set_at(path)) is not None:
        text = f'{_DEFAULT}[dataset]\nname = "{kind}"\nroot = {toml_value(str(path))}\n'
        return Source(text, f"folder {path}")
    raise MissingDataError(
        source,
        "no recipe, data set or folder of that name."
        f"{suggestion(name, [*recipes, *datasets])} `dml recipes` lists the recipes",
    )


def data_set_at(path: str | os.PathLike[str]) -> str | None:
    """Returns the name of the data set that a path holds, or None if there is nothing.

    Raises:
        DataError: It is a file of another kind; or a Parquet file that is damaged.
    """
    from dml.datasets import _recognizing  # as the parts are, when needed

    found = _recognizing.data_set_at(path)
    if found is None and expanded(path).is_file():
        text = "not a data set: tables end in .csv or .parquet, shards in .tar or .parquet"
        raise DataError(path, text)
    return found


def shipped_recipes() -> dict[str, str]:
    """Returns {name: TOML text} of the shipped recipes.

    Each is a file of the package, or a setting on one data set of its paper: where SETTING.toml has
    a table `[on.DATA]`, the recipe DATA_SETTING extends DATA_paper and SETTING.
    """
    files = (resources.files("dml.recipe") / "shipped").iterdir()
    texts = {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".toml")
    }
    titles = {name: text[2:].partition(":")[0] for name, text in texts.items()}
    for setting, text in list(texts.items()):
        for dataset in tomllib.loads(text).get("on", {}):
            name, base = f"{dataset}_{setting}", f"{dataset}_paper"
            texts[name] = (
                f"# {titles[setting]}, on {titles[base]}\n# command: dml train {name}\n\n"
                f"extends = {toml_value([base, setting])}\n"
            )
    return dict(sorted(texts.items()))


def read_toml(text: str, name: str) -> dict[str, Any]:
    """Returns {section: options} of a recipe's text; `name` is the recipe's, for messages."""
    try:
        if len(text) > LONGEST or any(line.count(".") > MOST_DOTS for line in text.splitlines()):
            raise ValueError(
                f"a recipe has at most {LONGEST:,} characters, and {MOST_DOTS} dots in a line"
            )
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number is too long, a list too deep
        raise DataError(name, f"not valid TOML: {error}") from None
    return _with_underscores(table, name)


def _with_underscores(table: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a table with _ for - in its keys, which are sections; `name` is for messages."""
    sections = {key.replace("-", "_"): value for key, value in table.items()}
    if len(sections) < len(table):
        twice = next(key for key in table if "-" in key and key.replace("-", "_") in table)
        raise DataError(name, f"has the section {twice} twice, with - and with _")
    return sections


def _read_file(path: Path) -> Source:
    if not path.is_file():
        raise MissingDataError(path, "no recipe of that name")
    try:
        return Source(path.read_text(encoding="utf-8-sig"), str(path), path)
    except UnicodeDecodeError:
        raise DataError(path, "not a text file in UTF-8") from None


def _read_shipped(name: str) -> Source:
    return Source(shipped_recipes()[name], f"recipe {name}")


def layers_of(source: Source) -> list[Layer]:
    """Returns a recipe and those that it extends, each once and after those it extends."""
    layers: dict[Path | str, Layer] = {}
    _read_layers(source, layers, set())
    return list(layers.values())


def _read_layers(
    source: Source, layers: dict[Path | str, Layer], extending: set[Path | str]
) -> None:
    """Adds a recipe to `layers`, after those that it extends; `extending` are those above it."""
    table = read_toml(source.text, source.name)
    place = source.place("extends")
    extending = {*extending, source.identity}
    for name in _base_names(table.pop("extends", []), place):
        base = _base_of(source, name, place)
        if base.identity in extending:
            raise OptionError("extends", f"forms a cycle: {base.name} extends this recipe", place)
        if base.identity not in layers:
            _read_layers(base, layers, extending)
    parts = _part_files(source, table.pop("parts", []))
    on = _tables_by_dataset(source, table.pop("on", {}))
    layers[source.identity] = Layer(source, table, on, parts)


def _base_names(names: Any, place: str) -> list[str]:
    """Returns the names under `extends`: one, or a list of them."""
    listed = names if isinstance(names, list) else [names]
    if not all(isinstance(name, str) for name in listed):
        raise OptionError("extends", f"{_BASES}; got {names!r}", place)
    return listed


def _base_of(source: Source, name: str, place: str) -> Source:
    """Returns the recipe that another one extends under this name."""
    if not name.endswith(".toml"):
        recipes = shipped_recipes()
        if name in recipes:
            return _read_shipped(name)
        hint = suggestion(name, recipes)
        text = f"{_BASES}; got {name!r}.{hint} `dml recipes` lists the recipes"
        raise OptionError("extends", text, place)
    path = (source.path.parent if source.path else Path()) / expanded(name)
    try:
        return _read_file(path)
    except DataError as error:
        raise OptionError("extends", f"names a recipe that can't be read: {error}", place) from None


def _part_files(source: Source, parts: Any) -> list[str]:
    """Returns the absolute paths of the user's Python files that a recipe lists."""
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        text = f"must be a list of Python files; got {parts!r}"
        raise OptionError("parts", text, source.place("parts"))
    # Shipped recipes and data sets, which have no file of their own, list no parts.
    folder = source.path.parent if source.path else Path()
    return [str((folder / part).resolve()) for part in parts]


def _tables_by_dataset(source: Source, on: Any) -> dict[str, dict[str, Any]]:
    """Returns {data set: {section: options}} of the tables `[on.DATA]`."""
    if not isinstance(on, dict):
        text = f"must be tables of options for one data set, [on.DATA]; got {on!r}"
        raise OptionError("on", text, source.place("on"))
    for dataset, sections in on.items():
        if not isinstance(sections, dict):
            text = f"must be a table of options, [on.{dataset}]; got {sections!r}"
            raise OptionError(f"on.{dataset}", text, source.place(f"on.{dataset}"))
    name = f"{source.name}, [on.{{}}]"
    return {data: _with_underscores(table, name.format(data)) for data, table in on.items()}


def _line_of(text: str, key: str) -> int | None:
    """Returns the line of a key, such as "loss.margin", or of the table that holds it."""
    wanted, table, holder = _plain(key), "", None
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = _plain(match[1])
            if wanted == table:
                return number
            if wanted.startswith(f"{table}."):
                holder = number
        elif match := re.match(r"([^#=]+)=", line):
            found = _plain(f"{table}.{match[1]}" if table else match[1])
            if f"{wanted}.".startswith(f"{found}.") or found.startswith(f"{wanted}."):
                return number
    return holder


def _plain(key: str) -> str:
    """Returns a TOML key in one spelling: without quotes and spaces, with _ for -."""
    return re.sub(r"[\s\"']", "", key).replace("-", "_")
