"""Strict reading of recipes from TOML and flags; messages name the place of each option."""

import math
import os
import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dml._registry import suggestion
from dml.errors import MissingDataError, OptionError, UnknownNameError
from dml.recipe._composing import training_loss
from dml.recipe._layers import Layer, Source, data_set_at, layers_of, read_source, read_toml
from dml.recipe._parts import import_parts
from dml.recipe._schema import (
    FAMILIES,
    SECTIONS,
    Recipe,
    documentation_of,
    group_of,
    options_of,
)

if TYPE_CHECKING:
    from dml.datasets import DatasetPart

COMMAND_LINE = "command line"


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
        """Sets these options; a different `name` drops the options of the previous part.

        Except for `batch_norm` of a backbone with trained weights, which is a matter of the
        training: small data sets should not change its statistics, whatever the network. Without
        trained weights there are no statistics to keep. Another `input_size` drops `resize_side`,
        which then follows it.
        """
        known = self.options.setdefault(section, {})
        before = known.get("name", _default_name(section))
        name = options.get("name", before)
        if section == "backbone":
            changes = name != before or "weights" in options
            if changes and not _is_pretrained(name, options.get("weights")):
                known.pop("batch_norm", None)
            if "input_size" in options:
                known.pop("resize_side", None)
        if name != before:
            stays = section == "backbone"
            kept = {"batch_norm": known["batch_norm"]} if stays and "batch_norm" in known else {}
            known.clear()
            known.update(kept)
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
            folders or of shards, a table (`.csv`, `.parquet`), a shard, a pattern of shards, or
            `hf:NAME[:SPLIT]`.
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

    Example:
        >>> recipe = dml.load_recipe("glyphs", ["--training.epochs", "3"])
        >>> recipe.training.epochs, recipe.dataset.name
        (3, 'glyphs')
    """
    layers, given = layers_of(read_source(source)), _flags_by_section(flags)
    parts = _imported_parts(layers, allow_parts)
    names = _dataset_names(layers)
    dataset = given.get("dataset", {}).get("name", names[-1])
    settings = Settings({"dataset": {"name": dataset}})
    for layer, name in zip(layers, names, strict=True):
        _check_datasets(layer)
        # Options of another data set than the one that is used are left out.
        left_out = {"dataset"} if name != dataset else set()
        _update_from(settings, layer.source, layer.sections, left_out=left_out)
        if isinstance(dataset, str) and dataset in layer.on:
            _update_from(settings, layer.source, layer.on[dataset], f"on.{dataset}.")
    for section, options in given.items():
        places = dict.fromkeys([None, *options], COMMAND_LINE)
        settings.update(section, options, places)
    try:
        return _build_recipe(settings.options, parts)
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
    changed: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        section, _, option = name.partition(".")
        _check_section(section, "")
        changed.setdefault(section, {})[option] = value
    for section, values in changed.items():
        settings.update(section, values, {})
    return _build_recipe(settings.options, recipe.parts)


def load_dataset(name: str | os.PathLike[str], flags: Iterable[str] = ()) -> "DatasetPart":
    """Returns a data set, without reading a recipe or loading a backend.

    Args:
        name: A data set's name, a folder of class folders or of shards, a table (`.csv`,
            `.parquet`), a shard, a pattern of shards, or `hf:NAME[:SPLIT]`.
        flags: `--dataset.option value` as a flat list of strings.

    Raises:
        MissingDataError: There is nothing of that name.
        DataError: It is a file of another kind.
        OptionError: An option or its value is unknown or out of its range.
    """
    datasets = FAMILIES["dataset"].parts()
    options = {"name": os.fspath(name)}
    if options["name"] not in datasets:
        kind = data_set_at(name)
        if kind is None:
            hint = suggestion(options["name"], datasets)
            known = f"Known: {', '.join(sorted(datasets))}"
            raise MissingDataError(name, f"no data set or folder of that name.{hint} {known}")
        options = {"name": kind, "root": options["name"]}
    for section, option, value in read_flags(flags):
        if section != "dataset" or option == "name":
            hint = suggestion(section, ["dataset"]) if section not in SECTIONS else ""
            text = f"can't be set here: only --dataset options apply to a data set.{hint}"
            raise OptionError(f"{section}.{option}", text, COMMAND_LINE)
        options[option] = Flag(value)
    part = _part_of("dataset", options.pop("name"))
    try:
        return _build("dataset", part, options)
    except OptionError as error:
        set_by_flag = isinstance(options.get(error.option.partition(".")[2]), Flag)
        place = COMMAND_LINE if set_by_flag else ""
        raise OptionError(error.option, error.text, place) from None


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


def _imported_parts(layers: list[Layer], allow_parts: bool) -> tuple[str, ...]:
    """Imports the user's files of parts, if that is allowed; returns their paths."""
    for layer in layers:
        if layer.parts and not allow_parts:
            raise OptionError(
                "parts",
                f"would run Python code, which was not allowed: {', '.join(layer.parts)}. Review "
                "files from others, then add --allow-parts (in Python: allow_parts=True)",
                layer.source.name,
            )
    files = tuple(dict.fromkeys(file for layer in layers for file in layer.parts))
    for file in files:
        import_parts(file)
    return files


def _dataset_names(layers: list[Layer]) -> list[Any]:
    """Returns the data set that each layer names, or else that of the layer before."""
    names = [FAMILIES["dataset"].default]
    for layer in layers:
        options = layer.sections.get("dataset")
        named = isinstance(options, dict) and "name" in options
        names.append(options["name"] if named else names[-1])
    return names[1:]


def _check_datasets(layer: Layer) -> None:
    """Raises OptionError for a table `[on.NAME]` without a data set of that name."""
    datasets = FAMILIES["dataset"].parts()
    for name in layer.on:
        if name not in datasets:
            hint = f"{suggestion(name, datasets)} Known: {', '.join(sorted(datasets))}"
            place = layer.source.place(f"on.{name}")
            raise OptionError(f"on.{name}", f"is not a data set.{hint}", place)


def _update_from(
    settings: Settings,
    source: Source,
    sections: dict[str, Any],
    prefix: str = "",
    left_out: Collection[str] = (),
) -> None:
    """Sets the options of a table {section: options}, whose key in the recipe is `prefix`."""
    for section, options in sections.items():
        place = source.place(f"{prefix}{section}")
        _check_section(section, place)
        if not isinstance(options, dict):
            text = f"must be a section, [{prefix}{section}]; got {options!r}"
            raise OptionError(section, text, place)
        if section not in left_out:
            places = {option: source.place(f"{prefix}{section}.{option}") for option in options}
            settings.update(section, options, {None: place, **places})


def _check_section(section: str, place: str) -> None:
    if section not in SECTIONS:
        hint = suggestion(section, SECTIONS)
        raise OptionError(section, f"is not a section.{hint} Known: {', '.join(SECTIONS)}", place)


def _is_pretrained(name: Any, weights: Any) -> bool:
    """Returns whether a backbone has trained weights; False for an unknown one.

    Args:
        name: The backbone's name.
        weights: Its option; None for the default.
    """
    part: Any = FAMILIES["backbone"].parts().get(str(name))
    if part is None:
        return False
    by_default = weights is None or weights == part.weights
    return part.is_pretrained_by_default() if by_default else weights != "none"


def _default_name(section: str) -> str | None:
    """Returns the part of a section that names none."""
    if section in FAMILIES:
        return FAMILIES[section].default
    return getattr(group_of(section), "name", None)  # an optimizer's; the default of its field


def _build_recipe(settings: dict[str, dict[str, Any]], parts: tuple[str, ...]) -> Recipe:
    """Returns the recipe of {section: options}.

    Raises:
        OptionError: `option` is the section, or "section.option".
    """
    names, classes, given = {}, {}, {}
    for section in SECTIONS:
        given[section] = dict(settings.get(section, {}))
        if section in FAMILIES:
            names[section], classes[section] = _named_part(section, given[section])
        else:
            classes[section] = group_of(section)
    option_names = {
        section: {option.name for option in options_of(part)} - {"name"} if part else set()
        for section, part in classes.items()
    }
    sections = {
        section: part and _build(section, part, given[section], option_names)
        for section, part in classes.items()
    }
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
    if not isinstance(name, str):
        raise OptionError(f"{section}.name", f"must be a name; got {name!r}")
    try:
        return FAMILIES[section].parts()[name]
    except UnknownNameError as error:
        raise OptionError(f"{section}.name", f"is unknown: {error}") from None


def _build(
    section: str,
    part: type,
    options: dict[str, Any],
    option_names: Mapping[str, Collection[str]] = types.MappingProxyType({}),
) -> Any:
    """Returns the part with these options, each converted to its declared type.

    Args:
        section: Its section.
        part: Its class.
        options: {option: value}.
        option_names: {section: names of its options} of the recipe, to find a misplaced one in.
    """
    fields = {f.name: f for f in options_of(part)}
    hints = typing.get_type_hints(part)
    values = {}
    for option, value in options.items():
        name = f"{section}.{option}"
        if option not in fields:
            known = [*(["name"] if section in FAMILIES else []), *fields]
            elsewhere = [
                f"{other}.{option}" for other, names in option_names.items() if option in names
            ]
            hint = _parts_with(section, option) or suggestion(
                option, known, documentation_of(part), elsewhere
            )
            raise OptionError(name, f"is unknown.{hint} Known: {', '.join(known)}")
        values[option] = _converted(name, value, hints[option])
    try:
        return part(**values)
    except OptionError as error:
        raise OptionError(f"{section}.{error.option}", error.text) from None
    except (ValueError, TypeError) as error:  # from the user's own part
        raise OptionError(section, f"can't be created with these options: {error}") from None


def _parts_with(section: str, option: str) -> str:
    """Returns " It is an option of loss.name = 'arcface'.", or an empty string."""
    parts = FAMILIES[section].parts().items() if section in FAMILIES else ()
    found = [repr(name) for name, part in parts if option in {f.name for f in options_of(part)}]
    more = " and others" if len(found) > 5 else ""
    return f" It is an option of {section}.name = {', '.join(found[:5])}{more}." if found else ""


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
