"""Strict reading of recipes from TOML and flags; messages name the place of each option."""

import importlib
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml._registry import suggestion
from dml.errors import DataError, MissingDataError, OptionError, UnknownNameError
from dml.recipe._composing import training_loss
from dml.recipe._parts import import_parts
from dml.recipe._schema import FAMILIES, GROUPS, SECTIONS, Recipe, options_of, toml_value

if TYPE_CHECKING:
    from dml.datasets import DatasetPart

LONGEST = 2**20  # characters of a recipe
MOST_DOTS = 200  # in a line: tomllib takes memory in the square of a dotted key's length
COMMAND_LINE = "command line"


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

    def place(self, section: str | None, option: str | None = None) -> str:
        """Returns "NAME, line N" of a section or an option; of the top level for None."""
        number = _line_of(self.text, section, option)
        return f"{self.name}, line {number}" if number else self.name


class Flag(str):
    """A value from the command line: text that is converted to the option's type."""


@dataclass
class Settings:
    """The options that are set, by section, and where each was set.

    Args:
        options: {section: {option: value}}.
        places: {(section, option): place}; (section, None) gives where it was last changed.
    """

    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def update(self, section: str, options: dict[str, Any], places: dict[str | None, str]) -> None:
        """Sets these options; a different `name` drops the options of the previous part."""
        known = self.options.setdefault(section, {})
        if "name" in options and options["name"] != known.get("name", _default_name(section)):
            known.clear()
        known.update(options)
        self.places.update({(section, option): place for option, place in places.items()})

    def place_of(self, name: str) -> str:
        """Returns where "section" or "section.option" was set; "" where it was not."""
        section, _, option = name.partition(".")
        return self.places.get((section, option)) or self.places.get((section, None), "")


def load_recipe(
    source: str | os.PathLike[str], flags: Iterable[str] = (), allow_parts: bool = False
) -> Recipe:
    """Reads a recipe, including those that it extends, and applies the flags.

    Args:
        source: A recipe's path, the name of a shipped one, a data set's name, a folder of class
            folders or of shards, a shard, or a pattern of shards.
        flags: `--section.option value` as a flat list of strings.
        allow_parts: Whether to import the Python files that the recipe lists under `parts`, which
            runs their code. Their paths are relative to the recipe's folder.

    Returns:
        A `Recipe` with every option set and checked.

    Raises:
        OptionError: A section or option is unknown, or its value is not allowed; the message names
            the file, the line and the option, and the allowed values. Or the recipe has `parts`,
            which are not allowed; the message names the files.
        DataError: A file is not valid TOML, or `source` is none of the above.
    """
    settings, parts = Settings(), []
    for layer, table in _layers(read_source(source)):
        listed = table.pop("parts", [])
        if not isinstance(listed, list) or not all(isinstance(p, str) for p in listed):
            text = f"must be a list of Python files; got {listed!r}"
            raise OptionError("parts", text, layer.place(None, "parts"))
        # Shipped recipes and data sets, which have no file of their own, list no parts.
        folder = layer.path.parent if layer.path else Path()
        files = [str((folder / part).resolve()) for part in listed]
        if files and not allow_parts:
            raise OptionError(
                "parts",
                f"would run Python code, which was not allowed: {', '.join(files)}. Review "
                "files from others, then add --allow-parts (in Python: allow_parts=True)",
                layer.name,
            )
        parts += [file for file in files if file not in parts]
        for section, options in table.items():
            place = layer.place(section)
            _check_section(section, place)
            if not isinstance(options, dict):
                text = f"must be a section, [{section}]; got {options!r}"
                raise OptionError(section, text, place)
            lines = {option: layer.place(section, option) for option in options}
            settings.update(section, options, {None: place, **lines})
    for path in parts:
        import_parts(path)
    for section, options in _flags_by_section(flags).items():
        places = dict.fromkeys([None, *options], COMMAND_LINE)
        settings.update(section, options, places)
    try:
        return _build_recipe(settings.options, tuple(parts))
    except OptionError as error:
        raise OptionError(error.option, error.text, settings.place_of(error.option)) from None


def with_options(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """Returns a recipe with other values of some options.

    Args:
        recipe: It is left as it is.
        options: {"section.option": value}. Naming another part of a family, as `loss.name` does,
            drops the options of the previous one.

    Raises:
        OptionError: An option is unknown, or its value is not allowed.
    """
    table = read_toml(recipe.to_toml(), "the recipe")
    table.pop("parts", None)  # they are imported already
    settings = Settings(table)
    for name in sorted(options, key=lambda name: not name.endswith(".name")):  # names first
        section, _, option = name.partition(".")
        _check_section(section, "")
        settings.update(section, {option: options[name]}, {})
    return _build_recipe(settings.options, recipe.parts)


def load_dataset(name: str | os.PathLike[str], flags: Iterable[str] = ()) -> "DatasetPart":
    """Returns a data set, without reading a recipe or loading a backend.

    Args:
        name: A data set's name, a folder of class folders or of shards, a shard, or a pattern of
            shards.
        flags: `--dataset.option value` as a flat list of strings.

    Raises:
        OptionError: A name, an option or its value is unknown or out of its range.
    """
    datasets = FAMILIES["dataset"].parts()
    options = {"name": os.fspath(name)}
    if options["name"] not in datasets:
        kind = _data_set_at(name)
        if kind is None:
            hint = suggestion(options["name"], datasets)
            known = f"Known: {', '.join(sorted(datasets))}"
            raise MissingDataError(name, f"no data set or folder of that name.{hint} {known}")
        options = {"name": kind, "root": options["name"]}
    for section, option, value in read_flags(flags):
        if section != "dataset" or option == "name":
            text = "can't be set here: only --dataset options apply to a data set"
            raise OptionError(f"{section}.{option}", text, COMMAND_LINE)
        options[option] = Flag(value)
    part = _part_of("dataset", options.pop("name"))
    try:
        return _build("dataset", part, options)
    except OptionError as error:
        set_by_flag = isinstance(options.get(error.option.partition(".")[2]), Flag)
        place = COMMAND_LINE if set_by_flag else ""
        raise OptionError(error.option, error.text, place) from None


def read_source(source: str | os.PathLike[str]) -> Source:
    """Returns the TOML text of the recipe, data set or folder that the user named.

    Args:
        source: As for `load_recipe`.

    Raises:
        DataError: There is no such recipe, data set or folder, or its file is not text.
    """
    if not str(source):
        raise OptionError("source", "must name a recipe, a data set or a folder. The name is empty")
    path = Path(source).expanduser()
    if path.suffix == ".toml":
        return _read_file(path)
    name = os.fspath(source)
    recipes, datasets = shipped_recipes(), FAMILIES["dataset"].parts()
    if name in recipes:
        return _read_shipped(name)
    if name in datasets:
        return Source(f'[dataset]\nname = "{name}"\n', f"data set {name}")
    if (kind := _data_set_at(path)) is not None:
        text = f'[dataset]\nname = "{kind}"\nroot = {toml_value(str(path))}\n'
        return Source(text, f"folder {path}")
    raise MissingDataError(
        source,
        "no recipe, data set or folder of that name."
        f"{suggestion(name, [*recipes, *datasets])} `dml recipes` lists the recipes",
    )


def _data_set_at(path: str | os.PathLike[str]) -> str | None:
    """Returns the name of the data set that a path holds, or None."""
    from dml.datasets._recognizing import data_set_at  # as the parts are, when needed

    return data_set_at(path)


def shipped_recipes() -> dict[str, Traversable]:
    """Returns {name: file} of the recipes in the package."""
    folder = resources.files("dml.recipe") / "shipped"
    files = sorted(folder.iterdir(), key=str)
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}


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
    sections = {key.replace("-", "_"): value for key, value in table.items()}
    if len(sections) < len(table):
        twice = next(key for key in table if "-" in key and key.replace("-", "_") in table)
        raise DataError(name, f"has the section {twice} twice, with - and with _")
    return sections


def read_flags(flags: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yields (section, option, text) of `--section.option value` or `--section.option=value`."""
    if isinstance(flags, str):
        text = f"must be a list of strings, such as ['--training.epochs', '3']; got {flags!r}"
        raise OptionError("flags", text)
    rest = list(flags)
    while rest:
        flag = rest.pop(0)
        match = re.fullmatch(r"--([a-z_]+)\.([A-Za-z_\-]+)(?:=(.*))?", flag, re.DOTALL)
        if not match:
            text = "is not an option of a recipe: expected --section.option value"
            raise OptionError(repr(flag), text, COMMAND_LINE)
        section, option, value = match.groups()
        if value is None:
            if not rest:
                raise OptionError(flag, "needs a value", COMMAND_LINE)
            value = rest.pop(0)
        yield section, option.replace("-", "_"), value


def _flags_by_section(flags: Iterable[str]) -> dict[str, dict[str, Flag]]:
    sections: dict[str, dict[str, Flag]] = {}
    for section, option, value in read_flags(flags):
        _check_section(section, COMMAND_LINE)
        sections.setdefault(section, {})[option] = Flag(value)
    return sections


def _read_file(path: Path) -> Source:
    if not path.is_file():
        raise MissingDataError(path, "no recipe of that name")
    try:
        return Source(path.read_text(encoding="utf-8-sig"), str(path), path)
    except UnicodeDecodeError:
        raise DataError(path, "not a text file in UTF-8") from None


def _read_shipped(name: str) -> Source:
    return Source(shipped_recipes()[name].read_text(encoding="utf-8"), f"recipe {name}")


def _layers(source: Source) -> list[tuple[Source, dict[str, Any]]]:
    """Returns (source, {section: options}) of a recipe and its bases, the base first."""
    layers, seen = [], []
    while True:
        table = read_toml(source.text, source.name)
        layers.insert(0, (source, table))
        seen.append(source.path.resolve() if source.path else source.name)
        if "extends" not in table:
            return layers
        place = source.place(None, "extends")
        base = _base_of(source, table.pop("extends"), place)
        if (base.path.resolve() if base.path else base.name) in seen:
            raise OptionError("extends", f"forms a cycle: {base.name} extends this recipe", place)
        source = base


def _base_of(source: Source, name: Any, place: str) -> Source:
    """Returns the recipe that another one extends under this name."""
    recipes = shipped_recipes()
    if not isinstance(name, str):
        text = f"must be a shipped recipe's name or a file, NAME.toml; got {name!r}"
        raise OptionError("extends", text, place)
    if not name.endswith(".toml"):
        if name in recipes:
            return _read_shipped(name)
        text = (
            f"must be a shipped recipe's name or a file, NAME.toml; got {name!r}."
            f"{suggestion(name, recipes)} `dml recipes` lists the recipes"
        )
        raise OptionError("extends", text, place)
    path = (source.path.parent if source.path else Path()) / Path(name).expanduser()
    try:
        return _read_file(path)
    except DataError as error:
        raise OptionError("extends", f"names a recipe that can't be read: {error}", place) from None


def _check_section(section: str, place: str) -> None:
    if section not in SECTIONS:
        hint = suggestion(section, SECTIONS)
        raise OptionError(section, f"is not a section.{hint} Known: {', '.join(SECTIONS)}", place)


def _default_name(section: str) -> str | None:
    """Returns the part of a section that names none."""
    if section in FAMILIES:
        return FAMILIES[section].default
    return getattr(_group(section), "name", None)  # an optimizer's; the default of its field


def _group(section: str) -> type:
    """Returns the class of a section that only holds options."""
    package, name = GROUPS[section]
    return getattr(importlib.import_module(package), name)


def _build_recipe(settings: dict[str, dict[str, Any]], parts: tuple[str, ...]) -> Recipe:
    """Returns the recipe of {section: options}.

    Raises:
        OptionError: `option` is the section, or "section.option".
    """
    sections: dict[str, Any] = {}
    names = {}
    for section in SECTIONS:
        options = dict(settings.get(section, {}))
        if section in FAMILIES:
            names[section], part = _named_part(section, options)
        else:
            part = _group(section)
        sections[section] = None if part is None else _build(section, part, options)
    recipe = Recipe(**sections, names=names, parts=parts)
    training_loss(recipe)  # raises an error for incompatible parts
    return recipe


def _named_part(section: str, options: dict[str, Any]) -> tuple[str, type | None]:
    """Takes the name out of a section's options; returns it and the class, None for `none`."""
    family = FAMILIES[section]
    name = options.pop("name", family.default)
    if name == "none" and family.default == "none":
        if options:
            text = f"needs {section}.name, which is not set"
            raise OptionError(f"{section}.{next(iter(options))}", text)
        return "none", None
    return str(name), _part_of(section, name)


def _part_of(section: str, name: Any) -> type:
    """Returns the class that a section names."""
    try:
        return FAMILIES[section].parts()[name]
    except UnknownNameError as error:
        raise OptionError(f"{section}.name", f"is unknown: {error}") from None
    except TypeError:  # a list
        raise OptionError(f"{section}.name", f"must be a name; got {name!r}") from None


def _build(section: str, part: type, options: dict[str, Any]) -> Any:
    """Returns the part with these options, each converted to its declared type."""
    fields = {f.name: f for f in options_of(part)}
    hints = typing.get_type_hints(part)
    values = {}
    for option, value in options.items():
        name = f"{section}.{option}"
        if option not in fields:
            known = ", ".join(fields) or "none"
            raise OptionError(name, f"is unknown.{suggestion(option, fields)} Known: {known}")
        values[option] = _converted(name, value, hints[option])
    try:
        return part(**values)
    except OptionError as error:
        raise OptionError(f"{section}.{error.option}", error.text) from None
    except (ValueError, TypeError) as error:  # from the user's own part
        raise OptionError(section, f"can't be created with these options: {error}") from None


def _converted(name: str, value: Any, hint: Any) -> Any:
    """Returns the value of the option `name` as the type that it declares.

    Raises:
        OptionError: It has another type, or is not finite.
    """
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if types.NoneType in kinds and value == "none":
        return None
    for kind in kinds:
        result = _convert_to(value, kind)
        if result is not None:
            numbers = result if isinstance(result, tuple) else (result,)
            if any(isinstance(n, float) and not math.isfinite(n) for n in numbers):
                raise OptionError(name, f"must be finite; got {value}")
            return result
    wanted = " or ".join(
        "none" if k is types.NoneType else getattr(k, "__name__", str(k)) for k in kinds
    )
    shown = str(value) if isinstance(value, Flag) else value
    raise OptionError(name, f"must be of type {wanted}; got {shown!r}")


def _convert_to(value: Any, kind: Any) -> Any:
    """Returns `value` as `kind`, or None if it isn't one."""
    text = isinstance(value, Flag)
    if typing.get_origin(kind) in (tuple, list):
        inner = typing.get_args(kind)[0]
        items = [Flag(v.strip()) for v in value.split(",") if v.strip()] if text else value
        if not isinstance(items, list):
            return None
        items = [_convert_to(v, inner) for v in items]
        return None if None in items else tuple(items)
    if kind is bool:
        if text:
            return {"true": True, "false": False}.get(value.lower())
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind in (int, float):
        if text or (isinstance(value, int) and kind is float):
            try:
                return kind(value)
            except (ValueError, OverflowError):
                return None
        return value if isinstance(value, kind) else None
    if kind is str:
        return str(value) if isinstance(value, str) else None
    return None


def _line_of(text: str, section: str | None, option: str | None = None) -> int | None:
    """Returns the line of an option, or of its section's header if it has no line."""
    current, header = None, None
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[\s*([\w\-]+)\s*\]", line):
            current = match[1].replace("-", "_")
            header = number if current == section else header
            if option is None and current == section:
                return number
        elif current == section and re.match(
            rf"\s*[\"']?{re.escape(option or '')}[\"']?\s*=", line
        ):
            return number
    return header
