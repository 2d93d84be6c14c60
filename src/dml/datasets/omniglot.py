"""Omniglot (Lake et al., Science 2015): characters of many alphabets, each drawn by 20 people."""

from dataclasses import dataclass
from typing import ClassVar

from dml._storage.archives import zip_members
from dml.datasets._files import find_file
from dml.datasets.base import DATASETS, Archive, DatasetPart
from dml.datasets.items import Items
from dml.images._references import ArchiveMemberRef

_ARCHIVES = ("images_background_small1.zip", "images_background_small2.zip")


@DATASETS.register("omniglot")
@dataclass(frozen=True)
class Omniglot(DatasetPart):
    """The two small background sets, read from their zip files as they are.

    Trains on the 136 characters of the first set; tests on the 106 characters of the second whose
    alphabets (Sanskrit, Tagalog, Katakana) are not in the first. 20 drawings of each.

    Args:
        root: Folder of `images_background_small1.zip` and `images_background_small2.zip`; empty
            takes `omniglot` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
    """

    name: ClassVar[str] = "omniglot"
    folders: ClassVar[tuple[str, ...]] = ("omniglot",)
    expected: ClassVar[dict] = {"zero-shot": {"train": 2720, "test": 2120}}
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
            "images_background_small1.zip",
            "sha256:f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
            unpack=False,
        ),
        Archive(
            "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
            "images_background_small2.zip",
            "sha256:3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
            unpack=False,
        ),
    )

    def read(self) -> Items:
        folder = self.folder()
        first, second = (find_file(folder / name) for name in _ARCHIVES)
        trained = _drawings(first)
        alphabets = {_alphabet(name) for _, name in trained}
        tested = [row for row in _drawings(second) if _alphabet(row[1]) not in alphabets]
        rows = [(first, *row, "train") for row in trained]
        rows += [(second, *row, "test") for row in tested]
        return Items.build(
            [str(ArchiveMemberRef(str(archive), member)) for archive, member, *_ in rows],
            [name for *_, name, _ in rows],
            [split for *_, split in rows],
            [str(ArchiveMemberRef(archive.name, member)) for archive, member, *_ in rows],
            "zero-shot",
            [_alphabet(name) for *_, name, _ in rows],
        )


def _alphabet(name):
    """Returns the alphabet of a character named ALPHABET/CHARACTER."""
    return name.split("/")[0]


def _drawings(archive):
    """Returns (member, "ALPHABET/CHARACTER") of every drawing in an archive.

    Raises:
        DataError: The archive is damaged.
    """
    members = sorted(name for name in zip_members(str(archive)) if name.endswith(".png"))
    # NAME/ALPHABET/CHARACTER/DRAWING.png
    return [(member, "/".join(member.split("/")[1:3])) for member in members]
