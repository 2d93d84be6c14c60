"""The recipe: one part or set of options per section, read strictly from TOML and flags."""

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import math
import os
import re
import sys
import tomllib
import types
import typing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dml._storage.records import sha256
from dml.registry import suggestion

LONGEST = 2**20  # characters of a recipe
MOST_DOTS = 200  # in a line: what tomllib keeps of a dotted key is the square of its length

# Sections that name a part, and where the family's registry is.
FAMILIES = {
    "dataset": ("dml.datasets", "DATASETS", "glyphs"),
    "backbone": ("dml.backbones", "BACKBONES", "mobilenet"),
    "sampler": ("dml.samplers", "SAMPLERS", "shuffle"),
    "augmentation": ("dml.augmentations", "AUGMENTATIONS", "paper"),
    "loss": ("dml.losses", "LOSSES", "proxy_anchor"),
    "miner": ("dml.miners", "MINERS", "none"),
    "reduction": ("dml.reductions", "REDUCTIONS", "none"),
    "auxiliary_loss": ("dml.losses", "LOSSES", "none"),  # a second loss
    "regularizer": ("dml.regularizers", "REGULARIZERS", "none"),
}
OPTIONS = {
    "embedding": ("dml.encoding.encoder", "EmbeddingOptions"),
    "optimizer": ("dml.training.optimizers", "OptimizerOptions"),
    "memory": ("dml.recipe", "MemoryOptions"),
    "training": ("dml.recipe", "TrainingOptions"),
    "evaluation": ("dml.recipe", "EvaluationOptions"),
}
SECTIONS = (*FAMILIES, *OPTIONS)
PATHS = {("dataset", "root"), ("backbone", "path"), ("backbone", "weights"), ("sampler", "path")}
# What may change between two parts of a training, as all of `evaluation` may.
FREE = {"dataset.root", "training.threads"}


@dataclass(frozen=True)
class MemoryOptions:
    """Embeddings of earlier batches as further references of a pair loss.

    Args:
        size: Embeddings that are kept; 0 keeps none. Below the number of training images.
        start: Batches before the memory is used; at least 0. 1000 in the paper (Wang et al., 2020).
        weight: Of the memory's pairs beside the batch's own; at least 0.
    """

    size: int = 0
    start: int = 1000
    weight: float = 1.0

    def __post_init__(self):
        if min(self.size, self.start, self.weight) < 0:
            raise ValueError(
                "size, start and weight must be at least 0; "
                f"got {self.size}, {self.start}, {self.weight}"
            )


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how carefully to train.

    Args:
        epochs: Passes over the training split; positive.
        freeze_backbone_epochs: First epochs in which the backbone is frozen, and only embedding
            and head learn. At least 0.
        seed: Of weights, batches and augmentation.
        select: `best` keeps the epoch with the highest validation R@1, `last` the last one.
            Without a validation split, the last.
        validate_every: Epochs between two validations; positive.
        unreadable: What an image that can't be read does: `error` stops before the training,
            `skip` leaves it out of every split, and the figures say how many. One that becomes
            unreadable during the training has another of its class in its place.
        precision: Keras' type policy: `float32`, `mixed_bfloat16` or `mixed_float16`.
        threads: Threads that read images; positive.
        chunks: Parts in which a batch passes through the encoder, so that it takes the memory of
            one and about a third more time; the loss sees the whole batch. Must divide it.
        auxiliary_loss_weight: Weight of the loss that the section `auxiliary_loss` names; at
            least 0.
        nested_dims: Lengths of the embedding's beginnings that are trained as embeddings
            themselves, beside the whole (Matryoshka). Empty for none.
        views: 2 trains without labels: two views of an image are its only positive pair.
    """

    epochs: int = 30
    freeze_backbone_epochs: int = 0
    seed: int = 0
    select: str = "best"
    validate_every: int = 1
    unreadable: str = "error"
    precision: str = "float32"
    threads: int = 2
    chunks: int = 1
    auxiliary_loss_weight: float = 1.0
    nested_dims: tuple[int, ...] = ()
    views: int = 1

    def __post_init__(self):
        for field in ("epochs", "validate_every", "threads", "chunks"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be positive; got {getattr(self, field)}")
        for field in ("freeze_backbone_epochs", "auxiliary_loss_weight"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} must be at least 0; got {getattr(self, field)}")
        if self.views not in (1, 2):
            raise ValueError(f"views must be 1 or 2; got {self.views}")
        if self.nested_dims and min(self.nested_dims) < 1:
            raise ValueError(f"nested_dims must be positive; got {self.nested_dims}")
        allowed = {
            "select": ("best", "last"),
            "unreadable": ("error", "skip"),
            "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise ValueError(
                    f"{field} must be one of {', '.join(values)}; got {getattr(self, field)!r}"
                )


EXTRA_METRICS = ("precision", "map", "ndcg", "full_map")  # as `dml.evaluation`


@dataclass(frozen=True)
class EvaluationOptions:
    """How the test split is measured.

    Args:
        batch_size: Images embedded at once; positive.
        ks: The K of R@K; empty takes the data set's customary ones.
        extra_metrics: Further retrieval metrics: `precision`, `map` and `ndcg` at each K, and
            `full_map`.
        clustering_seeds: k-means runs behind NMI and AMI; 0 leaves them out.
        verification: Whether to measure same-or-different decisions over all pairs: AUC, EER and
            the true accept rate at small false ones. Takes time with the square of the images.
        target_precision: Of nearest neighbours, that the calibrated threshold promises; in (0, 1).
        target_far: Share of pairs of two classes that the other one lets in; in (0, 1).
    """

    batch_size: int = 64
    ks: tuple[int, ...] = ()
    extra_metrics: tuple[str, ...] = ()
    clustering_seeds: int = 3
    verification: bool = True
    target_precision: float = 0.9
    target_far: float = 0.01

    def __post_init__(self):
        if self.batch_size < 1 or self.clustering_seeds < 0:
            raise ValueError(
                "batch_size must be positive and clustering_seeds at least 0; "
                f"got {self.batch_size}, {self.clustering_seeds}"
            )
        if not (0 < self.target_precision < 1 and 0 < self.target_far < 1):
            raise ValueError(
                "target_precision and target_far must be in (0, 1); "
                f"got {self.target_precision}, {self.target_far}"
            )
        if any(k < 1 for k in self.ks):
            raise ValueError(f"ks must be positive; got {self.ks}")
        if unknown := [name for name in self.extra_metrics if name not in EXTRA_METRICS]:
            raise ValueError(
                f"extra_metrics must be of {', '.join(EXTRA_METRICS)}; got {unknown[0]!r}"
            )


@dataclass(frozen=True)
class Recipe:
    """Everything that configures a run: one part or set of options per section.

    `names` maps each section that names a part to that name, `parts` lists the absolute paths of
    the user's own files.
    """

    dataset: typing.Any
    backbone: typing.Any
    embedding: typing.Any
    sampler: typing.Any
    augmentation: typing.Any
    loss: typing.Any
    miner: typing.Any
    reduction: typing.Any
    auxiliary_loss: typing.Any
    regularizer: typing.Any
    optimizer: typing.Any
    memory: MemoryOptions
    training: TrainingOptions
    evaluation: EvaluationOptions
    names: dict
    parts: tuple = ()

    def to_toml(self):
        """Returns the recipe as TOML, with every option and its value."""
        lines = [f"parts = {toml_value(list(self.parts))}", ""] if self.parts else []
        for section in SECTIONS:
            lines.append(f"[{section}]")
            if section in self.names:
                lines.append(f"name = {toml_value(self.names[section])}")
            part = getattr(self, section)
            for field in fields_of(type(part)) if part is not None else ():
                value = getattr(part, field.name)
                if value is not None:
                    lines.append(f"{field.name} = {toml_value(value)}")
                elif field.default is not None:
                    lines.append(f'{field.name} = "none"')
            lines.append("")
        return "\n".join(lines)


def anchored(recipe):
    """Returns the recipe with the paths in it absolute, so that it holds in any current folder."""

    def absolute(value):
        path = Path(value).expanduser()
        return os.path.abspath(path) if path.exists() else value

    changes = {}
    for section, option in PATHS:
        part = getattr(recipe, section)
        value = getattr(part, option, None)
        if value and value not in ("imagenet", "none"):
            changes[section] = dataclasses.replace(part, **{option: absolute(value)})
    return dataclasses.replace(recipe, **changes)


def fields_of(part):
    """Returns the option fields of a part's class; none where it has no options."""
    return [f for f in dataclasses.fields(part) if f.init] if dataclasses.is_dataclass(part) else []


def toml_value(value):
    """Returns a number, string, boolean or list as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, which wants one more.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    return repr(value)


def shipped():
    """Returns {name: path} of the recipes in the package."""
    folder = resources.files("dml") / "recipes"
    return {
        Path(str(f)).stem: f for f in sorted(folder.iterdir(), key=str) if str(f).endswith(".toml")
    }


def load_recipe(source, flags=(), allow_parts=False):
    """Reads a recipe and applies the command line's flags to it.

    Args:
        source: A recipe's path, the name of a shipped one, a data set's name, or a folder of
            class folders.
        flags: `--section.option value` as a flat list of strings.
        allow_parts: Whether to import the Python files that the recipe lists under `parts`, which
            runs what is in them. Their paths start from the recipe's folder.

    Returns:
        A `Recipe`, every option of which is set and checked.

    Raises:
        ValueError: Anything in it that dml does not know or can't take; the message names the
            file, line and option, and the allowed values. Or it has `parts` and they are not
            allowed: the message names the files.
        FileNotFoundError: `source` is nothing of the above.
    """
    text, origin = read_source(source)
    table = read_toml(text, origin)
    parts = table.pop("parts", [])
    if not isinstance(parts, list) or not all(isinstance(p, str) for p in parts):
        raise ValueError(f"{origin}: parts must be a list of Python files; got {parts!r}")
    # What has no file of its own, a shipped recipe or a data set, lists none.
    parts = [str((Path(source).expanduser().parent / p).resolve()) for p in parts]
    if parts and not allow_parts:
        raise ValueError(
            f"{origin}: not read, because its `parts` would run Python code: {', '.join(parts)}. "
            "Look into what you have from others, then add --allow-parts (in Python: "
            "allow_parts=True)"
        )
    for path in parts:
        import_parts(path)
    where = {}
    for section, options in table.items():
        place = f"{origin}{line_of(text, section)}"
        check_section(section, place)
        if not isinstance(options, dict):
            raise ValueError(f"{place}: {section} must be a section, [{section}]; got {options!r}")
        for option in options:
            where[section, option] = f"{origin}{line_of(text, section, option)}: "
    # Names first, wherever they stand: another part drops the file's options, not the flags'.
    for section, option, value in sorted(read_flags(flags), key=lambda flag: flag[1] != "name"):
        check_section(section, "command line")
        options = table.setdefault(section, {})
        if option == "name" and options.get("name") != value:
            options.clear()  # the options of another part do not carry over
        options[option] = Flag(value)
        where[section, option] = "command line: "
    built, names = {}, {}
    for section in SECTIONS:
        options = dict(table.get(section, {}))
        if section in FAMILIES:
            names[section], part = named_part(section, options, where)
        else:
            module, name = OPTIONS[section]
            part = getattr(importlib.import_module(module), name)
        built[section] = None if part is None else build(part, section, options, where)
    recipe = Recipe(**built, names=names, parts=tuple(parts))
    training_loss(recipe, where)  # refuses what does not go together
    return recipe


def read_toml(text, origin):
    """Returns {section: options} of a recipe's text; `origin` names it in messages."""
    try:
        if len(text) > LONGEST or any(line.count(".") > MOST_DOTS for line in text.splitlines()):
            raise ValueError(
                f"a recipe has at most {LONGEST:,} characters, and {MOST_DOTS} dots in a line"
            )
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of a number's length or a list's depth, too
        raise ValueError(f"{origin}: not valid TOML: {error}") from None
    return {key.replace("-", "_"): value for key, value in table.items()}


def load_run_recipe(folder, flags=(), allow_parts=False):
    """Reads a run's recipe, which has to be the one that its training began with.

    What decides nothing of the training may differ: `[evaluation]`, the data set's root, threads.

    Args:
        folder: A `RunFolder` that holds a recipe.
        flags: As of `load_recipe`.
        allow_parts: As of `load_recipe`.

    Raises:
        ValueError: As of `load_recipe`; or the recipe, or a file of parts that it names, was
            changed.
        FileNotFoundError: The run's manifest is missing.
    """
    text, parts = folder.begun_with()
    begun = deciding(text, str(folder.manifest))
    now = deciding(*read_source(folder.recipe))
    changed = [name for name in {**begun, **now} if begun.get(name) != now.get(name)]
    for name in changed[:1]:
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        raise ValueError(
            f"{folder.recipe}: {name} was {begun.get(name, 'not set')} when the training began and "
            f"is {now.get(name, 'not set')} now{more}: put it back, or train the changed recipe as "
            f"a new run, `dml train {folder.recipe} --out DIR`"
        )
    for path, digest in parts.items():
        if Path(path).is_file() and sha256(path) != digest:
            raise ValueError(
                f"{path} is not what it was when {folder.path} began: put it back, or train with "
                f"the changed one as a new run, `dml train {folder.recipe} --out DIR`"
            )
    return load_recipe(folder.recipe, flags, allow_parts)


def deciding(text, origin):
    """Returns {"section.option": value as TOML} of what decides a training in a recipe's text."""
    found = {}
    for section, options in read_toml(text, origin).items():
        if not isinstance(options, dict):
            found[section] = repr(options)
        elif section != "evaluation":
            found.update({f"{section}.{name}": repr(value) for name, value in options.items()})
    return {name: value for name, value in found.items() if name not in FREE}


def load_dataset(name, flags=()):
    """Returns a data set's part alone, without reading a recipe or loading a backend.

    Args:
        name: A data set's name, or a folder of class folders.
        flags: `--dataset.option value` as a flat list of strings.

    Raises:
        ValueError: A name, an option or its value is unknown or out of its range.
    """
    from dml.datasets import DATASETS

    options = {"name": name}
    if name not in DATASETS and Path(name).expanduser().is_dir():
        options = {"name": "folder", "root": name}
    where = {("dataset", option): "" for option in options}
    for section, option, value in read_flags(flags):
        if section != "dataset" or option == "name":
            raise ValueError(f"command line: --dataset options only; got --{section}.{option}")
        options[option] = Flag(value)
        where[section, option] = "command line: "
    _, part = named_part("dataset", options, where)
    return build(part, "dataset", options, where)


def training_loss(recipe, where=()):
    """Returns the recipe's loss with all that is put around it.

    Raises:
        ValueError: The loss takes none of them, or they don't go together.
    """
    from dml.losses import (
        CrossBatchMemory,
        Matryoshka,
        Mined,
        MultipleLosses,
        SelfSupervised,
        reduced,
    )

    memory, training = recipe.memory, recipe.training
    if recipe.miner is not None and memory.size:
        raise ValueError("memory: a miner chooses a batch's own pairs: leave out miner or memory")
    wrappers = {
        "reduction": lambda loss: reduced(loss, recipe.reduction),
        "miner": lambda loss: Mined(loss, recipe.miner),
        "memory": lambda loss: CrossBatchMemory(loss, memory.size, memory.start, memory.weight),
        "auxiliary_loss": lambda loss: MultipleLosses(
            [loss, recipe.auxiliary_loss], [1, training.auxiliary_loss_weight]
        ),
        "training.nested_dims": lambda loss: Matryoshka(
            loss, sorted({*training.nested_dims, recipe.embedding.dim})
        ),
        "training.views": SelfSupervised,
    }
    used = {
        "reduction": recipe.reduction is not None,
        "miner": recipe.miner is not None,
        "memory": memory.size > 0,
        "auxiliary_loss": recipe.auxiliary_loss is not None,
        "training.nested_dims": bool(training.nested_dims),
        "training.views": training.views > 1,
    }
    if training.nested_dims and max(training.nested_dims) >= recipe.embedding.dim:
        raise ValueError(
            f"training.nested_dims must be below embedding.dim, {recipe.embedding.dim}; "
            f"got {list(training.nested_dims)}"
        )
    loss = recipe.loss
    for name, wrap in wrappers.items():
        if used[name]:
            try:
                loss = wrap(loss)
            except ValueError as error:
                section, _, option = name.partition(".")
                places = (w for (s, o), w in dict(where).items() if s == section)
                place = dict(where).get((section, option)) or next(places, "")
                raise ValueError(f"{place}{name}: {error}") from None
    return loss


class Flag(str):
    """A value from the command line: text whose type is the option's."""


def read_source(source):
    """Returns (TOML text, its name for messages) of what the user named."""
    if not str(source):
        raise ValueError("which recipe, data set or folder? The name is empty")
    path = Path(source).expanduser()
    if path.suffix == ".toml":
        if not path.is_file():
            raise FileNotFoundError(f"no recipe {path}")
        try:
            return path.read_text(encoding="utf-8-sig"), str(path)
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not a text file in UTF-8") from None
    recipes = shipped()
    if source in recipes:
        return recipes[source].read_text(encoding="utf-8"), f"recipe {source}"
    from dml.datasets import DATASETS

    if source in DATASETS:
        return f'[dataset]\nname = "{source}"\n', f"data set {source}"
    if path.is_dir():
        return f'[dataset]\nname = "folder"\nroot = {toml_value(str(path))}\n', f"folder {path}"
    known = [*recipes, *DATASETS]
    raise FileNotFoundError(
        f"{source}: no recipe, data set or folder of that name.{suggestion(source, known)} "
        "`dml recipes` lists the recipes"
    )


def read_flags(flags):
    """Yields (section, option, text) of `--section.option value` or `--section.option=value`."""
    flags = list(flags)
    while flags:
        flag = flags.pop(0)
        match = re.fullmatch(r"--([a-z_]+)\.([A-Za-z_\-]+)(?:=(.*))?", flag, re.DOTALL)
        if not match:
            raise ValueError(f"command line: expected --section.option value; got {flag!r}")
        section, option, value = match.groups()
        if value is None:
            if not flags:
                raise ValueError(f"command line: {flag} needs a value")
            value = flags.pop(0)
        yield section, option.replace("-", "_"), value


def check_section(section, place):
    if section not in SECTIONS:
        raise ValueError(
            f"{place}: no section {section!r}.{suggestion(section, SECTIONS)} "
            f"Known: {', '.join(SECTIONS)}"
        )


def named_part(section, options, where):
    """Returns (name, class) of a section's part; class None where its name is `none`."""
    module, registry, default = FAMILIES[section]
    registry = getattr(importlib.import_module(module), registry)
    name = options.pop("name", default)
    if name == "none" and default == "none":
        if options:
            raise ValueError(f"{where[section, next(iter(options))]}{section}.name is not set")
        return "none", None
    try:
        return str(name), registry[name]
    except (KeyError, TypeError) as error:
        message = error.args[0] if isinstance(error, KeyError) else f"got {name!r}"
        raise ValueError(f"{where.get((section, 'name'), '')}{section}.name: {message}") from None


def build(part, section, options, where):
    """Returns the part made with these options, each converted to its declared type."""
    fields = {f.name: f for f in fields_of(part)}
    hints = typing.get_type_hints(part)
    values = {}
    for option, value in options.items():
        place = f"{where[section, option]}{section}.{option}"
        if option not in fields:
            raise ValueError(
                f"{place}: no such option.{suggestion(option, fields)} "
                f"Known: {', '.join(fields) or 'none'}"
            )
        values[option] = converted(value, hints[option], place)
    try:
        return part(**values)
    except (ValueError, TypeError) as error:
        option = next((o for o in values if re.search(rf"\b{o}\b", str(error))), None)
        place = where.get((section, option), "")
        raise ValueError(f"{place}{section}: {error}") from None


def converted(value, hint, place):
    """Returns `value` as the type that an option declares.

    Raises:
        ValueError: It is of another type, or not finite.
    """
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if types.NoneType in kinds and value == "none":
        return None
    for kind in kinds:
        result = convert_to(value, kind)
        if result is not None:
            numbers = result if isinstance(result, tuple) else (result,)
            if any(isinstance(n, float) and not math.isfinite(n) for n in numbers):
                raise ValueError(f"{place}: must be finite; got {value}")
            return result
    wanted = " or ".join(
        "none" if k is types.NoneType else getattr(k, "__name__", str(k)) for k in kinds
    )
    raise ValueError(
        f"{place}: wants {wanted}; got {str(value) if isinstance(value, Flag) else value!r}"
    )


def convert_to(value, kind):
    """Returns `value` as `kind`, or None where it isn't one."""
    text = isinstance(value, Flag)
    origin = typing.get_origin(kind)
    if origin in (tuple, list):
        inner = typing.get_args(kind)[0]
        items = [Flag(v.strip()) for v in value.split(",") if v.strip()] if text else value
        if not isinstance(items, list):
            return None
        items = [convert_to(v, inner) for v in items]
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


def line_of(text, section, option=None):
    """Returns ", line N" of a section's header or option in a recipe; "" if it isn't found."""
    current, header = None, None
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[\s*([\w\-]+)\s*\]", line):
            current = match[1].replace("-", "_")
            header = number if current == section else header
            if option is None and current == section:
                return f", line {number}"
        elif option is None or current != section:
            continue
        elif re.match(rf"\s*[\"']?{re.escape(option)}[\"']?\s*=", line):
            return f", line {number}"
    return f", line {header}" if header else ""


def import_parts(path):
    """Imports a user's file of parts, whose decorators register them; once in a process.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It can't be imported.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"parts: no file {path}")
    name = f"dml_parts_{hashlib.sha256(bytes(file) + file.read_bytes()).hexdigest()[:16]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        del sys.modules[name]
        raise ValueError(f"{file}: can't be imported: {type(error).__name__}: {error}") from None
