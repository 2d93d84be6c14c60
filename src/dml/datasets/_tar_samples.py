"""Which members of a tar belong together, in the layout of WebDataset."""

import re
from collections.abc import Iterable

from dml.datasets._regions import MASK

_NAME = re.compile(r"(?s)((?:.*/)?[^./][^./]*)\.([^/]+)")  # a sample's key, and the field


def samples_of(members: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns {sample: {field in lower case: member}} of a tar; hidden members are left out."""
    samples: dict[str, dict[str, str]] = {}
    for member in members:
        if named := _NAME.fullmatch(member):
            samples.setdefault(named[1], {})[named[2].lower()] = member
    return samples


def is_mask(field: str) -> bool:
    """Returns whether a field that holds an image is the mask of its sample's image."""
    return field.startswith(f"{MASK}.")
