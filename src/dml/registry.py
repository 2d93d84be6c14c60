"""One dictionary per family of parts: the name in a recipe -> the class that does it."""

import difflib


def suggestion(name, known):
    """Returns " Did you mean 'x'?" for the known name nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class Registry(dict):
    """Maps the names that recipes use to the classes of one family.

    Args:
        family: What the parts are, for messages ("loss", "dataset", ...).
    """

    def __init__(self, family):
        super().__init__()
        self.family = family

    def register(self, name):
        """Decorator that files a class under `name`.

        Raises:
            ValueError: `name` is taken; silent replacement would make a recipe ambiguous.
        """

        def add(part):
            if name in self:
                raise ValueError(f"{self.family} {name!r} is already {self[name]!r}")
            self[name] = part
            return part

        return add

    def config_of(self, part):
        """Returns a part's name and options, as a dictionary that `part_of` reads."""
        name = next(name for name, known in self.items() if known is type(part))
        return {"name": name, **vars(part)}

    def part_of(self, config):
        """Returns the part that `config_of` describes."""
        return self[config["name"]](**{k: v for k, v in config.items() if k != "name"})

    def __missing__(self, name):
        hint = suggestion(name, self)
        many = len(self) > 20
        known = (
            f"`dml parts` lists all {len(self)}" if many else "Known: " + ", ".join(sorted(self))
        )
        raise KeyError(f"no {self.family} {name!r}.{hint} {known}")
