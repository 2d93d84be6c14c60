"""Registries: one dictionary per family of parts, from the name in a recipe to the class."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from dml.errors import OptionError, UnknownNameError

Part = TypeVar("Part", bound=type)
LISTED = 20  # an error lists the known names of families up to this size


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name nearest to `name`, or an empty string.

    If none is spelled similarly, it is the most similar of those that have a word in common.
    """
    known = [str(k) for k in known]
    near = difflib.get_close_matches(name, known, n=1)
    if not near:
        words = set(name.split("_"))
        related = [other for other in known if words & set(other.split("_"))]
        near = difflib.get_close_matches(name, related, n=1, cutoff=0)
    return f" Did you mean {near[0]!r}?" if near else ""


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
