"""Registries: one dictionary per family of parts, from the name in a recipe to the class."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from dml.errors import OptionError, UnknownNameError

Part = TypeVar("Part", bound=type)
ALIKE = 0.6  # the likeness from which two words count as spelled alike
SUBJECT = 8  # words with which a text says what it is about
LISTED = 20  # an error lists the known names of families up to this size


def suggestion(
    name: str,
    known: Iterable[str],
    documented: Mapping[str, str] | None = None,
    elsewhere: Iterable[str] = (),
) -> str:
    """Returns " Did you mean 'x'?" for the known name nearest to `name`, or an empty string.

    Names are near, in this order, if their differing words are spelled alike, if one has all words
    of `name`, if it is known elsewhere, if its documentation has all words, or if it has one word.

    Args:
        name: The unknown name.
        known: The known ones.
        documented: {known name: its documentation}.
        elsewhere: Where `name` is known, such as "training.epochs".
    """
    words = set(name.split("_"))
    by_words = {str(other): set(str(other).split("_")) for other in known}
    likeness = {other: _likeness(name, other) for other in by_words}
    for near in (
        {other: likeness[other] for other in by_words if _are_spelled_alike(name, other)},
        {other: likeness[other] for other, others in by_words.items() if words <= others},
        dict.fromkeys(elsewhere, 1.0),
        _documented_early(words, documented or {}),
        {other: likeness[other] for other, others in by_words.items() if words & others},
    ):
        if near:
            return f" Did you mean {max(near, key=lambda other: near[other])!r}?"
    return ""


def _likeness(first: str, second: str) -> float:
    """Returns how alike two texts are spelled, in [0, 1]."""
    return difflib.SequenceMatcher(None, first, second).ratio()


def _are_spelled_alike(first: str, second: str) -> bool:
    """Returns whether the words that two names do not share are misspellings of each other."""
    words, others = first.split("_"), second.split("_")
    own = "_".join(word for word in words if word not in others)
    other = "_".join(word for word in others if word not in words)
    return own == other or _likeness(own, other) >= ALIKE


def _documented_early(words: set[str], documented: Mapping[str, str]) -> dict[str, float]:
    """Returns the names whose documentation begins with all of some words, with a score.

    A text begins with its subject: words count among the first, and the earlier the higher the
    score. Inflected forms count ("rises" for "rise").
    """
    scores = {}
    for name, text in documented.items():
        found = re.findall(r"[a-z0-9]+", text.lower())[:SUBJECT]
        stems = [word.removesuffix("s") for word in words]
        places = [next((i for i, w in enumerate(found) if w.startswith(s)), None) for s in stems]
        if None not in places:
            scores[name] = -max(places)
    return scores


class Registry(dict[str, type[Any]]):
    """Maps the names that recipes use to the classes of one family.

    Args:
        family: The kind of part, for messages ("loss", "dataset", ...).
    """

    def __init__(self, family: str):
        super().__init__()
        self.family = family

    def register(self, name: str) -> Callable[[Part], Part]:
        """Returns a decorator that registers a class under `name`.

        Raises:
            OptionError: `name` is taken; silent replacement would make a recipe ambiguous.
        """

        def add(part: Part) -> Part:
            if name in self:
                raise OptionError(
                    "name", f"must be new; the {self.family} {name!r} is already {self[name]!r}"
                )
            self[name] = part
            return part

        return add

    def config_of(self, part: object) -> dict[str, Any]:
        """Returns a part's name and options, as a dictionary that `part_of` reads."""
        name = next(name for name, known in self.items() if known is type(part))
        return {"name": name, **vars(part)}

    def part_of(self, config: dict[str, Any]) -> Any:
        """Returns the part that `config_of` describes."""
        return self[config["name"]](**{k: v for k, v in config.items() if k != "name"})

    def __missing__(self, name: str):
        known = (
            f"`dml parts` lists all {len(self)}"
            if len(self) > LISTED
            else "Known: " + ", ".join(sorted(self))
        )
        raise UnknownNameError(f"no {self.family} {name!r}.{suggestion(name, self)} {known}")
