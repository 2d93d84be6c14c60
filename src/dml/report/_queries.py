"""Queries with their neighbours, and doubtful labels, as the report shows them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dml.evaluation import find_label_issues
from dml.images._thumbnails import thumbnail_uri
from dml.report._selection import drawn_queries, nearest_positive, worst_queries
from dml.report.data import ReportData

DRAWN = 24
WORST = 12
NEIGHBOURS = 5
SUSPECTS = 6
CONFUSED = 10


@dataclass(frozen=True)
class Shot:
    """One image.

    Args:
        uri: A data URI; None for an unreadable image.
        description: Text for screen readers.
        caption: Text below the image.
        right: Whether it has the query's class; None for the query itself.
    """

    uri: str | None
    description: str
    caption: str
    right: bool | None = None


@dataclass(frozen=True)
class QueryRow:
    """A query and its neighbours.

    Args:
        name: Name of its class.
        code: Code of its class.
        rank: Rank of its first positive.
        right: Whether its nearest neighbour has its class.
        shots: The query, its neighbours and, with an answer, its first positive.
        has_answer: Whether the last shot is its first positive.
    """

    name: str
    code: int
    rank: int
    right: bool
    shots: list[Shot]
    has_answer: bool = False


@dataclass(frozen=True)
class ClassChoice:
    """A class that the queries can be filtered by."""

    code: int
    name: str


@dataclass(frozen=True)
class DrawnQueries:
    """Queries drawn at random.

    Args:
        rows: The queries.
        right: Number of right ones.
        classes: Their classes.
    """

    rows: list[QueryRow]
    right: int
    classes: list[ClassChoice]


@dataclass(frozen=True)
class Pair:
    """Two images side by side, with a title and a caption."""

    title: str
    fact: str
    shots: list[Shot]


@dataclass(frozen=True)
class ConfusedClasses:
    """Two classes, and the share of their images whose nearest image is of the other."""

    name: str
    other: str
    share: float


@dataclass(frozen=True)
class LabelIssues:
    """The first results of each kind from `dml.evaluation.find_label_issues`, and their number."""

    mislabelled: list[Pair]
    mislabelled_count: int
    duplicates: list[Pair]
    duplicate_count: int
    confused: list[ConfusedClasses]
    confused_count: int
    never_found: list[str]
    never_found_count: int


class Queries:
    """Prepares the queries of a report; reads each image once.

    Args:
        data: The `ReportData`.
    """

    def __init__(self, data: ReportData):
        self._data = data
        self._uris: dict[tuple[bool, int], str | None] = {}

    def drawn(self) -> DrawnQueries | None:
        """Returns randomly drawn queries; None if there are none."""
        data = self._data
        rows = drawn_queries(data.labels, data.first_positive, DRAWN, data.seed)
        if not len(rows) or not data.neighbours.shape[1]:
            return None
        codes = np.unique(data.labels[rows])
        return DrawnQueries(
            [self.query(row, NEIGHBOURS) for row in rows],
            sum(self._is_right(row, data.neighbours[row, 0]) for row in rows),
            [ClassChoice(int(code), self._name(code)) for code in codes],
        )

    def worst(self) -> list[QueryRow]:
        """Returns the queries whose first positive ranks last; empty if all are right."""
        rows = worst_queries(self._data.first_positive, WORST)
        return [self.query(row, NEIGHBOURS - 1, answer=True) for row in rows]

    def label_issues(self) -> LabelIssues | None:
        """Returns doubtful labels, near-duplicates and confused classes; None without any."""
        data = self._data
        if len(data.labels) < 2 or data.alike is not None:  # they need one class each
            return None
        found = find_label_issues(data.vectors, data.labels)
        kinds = found.mislabelled, found.duplicates, found.confused, found.never_found
        if not any(kinds):
            return None
        return LabelIssues(
            [self._doubt(*one) for one in found.mislabelled[:SUSPECTS]],
            len(found.mislabelled),
            [self._twins(*one) for one in found.duplicates[:SUSPECTS]],
            len(found.duplicates),
            [
                ConfusedClasses(self._name(a), self._name(b), share)
                for a, b, share in found.confused[:CONFUSED]
            ],
            len(found.confused),
            [self._name(code) for code in found.never_found[:CONFUSED]],
            len(found.never_found),
        )

    def query(self, row: int, count: int, answer: bool = False) -> QueryRow:
        """Returns a query with `count` neighbours and, with `answer`, its first positive."""
        data, code = self._data, int(self._data.labels[row])
        name, rank = self._name(code), int(data.first_positive[row])
        neighbours = [int(n) for n in data.neighbours[row, :count] if n >= 0]
        shots = [Shot(self.uri(row), f"Query of class {name}", "query")]
        shots += [self._neighbour(row, n, f"Neighbour {k}") for k, n in enumerate(neighbours, 1)]
        positive = nearest_positive(data, row) if answer else None
        if positive is not None:
            place = f"First of its class, at rank {rank}"
            shots.append(self._neighbour(row, positive, place, f"rank {rank:,}"))
        right = bool(neighbours) and self._is_right(row, neighbours[0])
        return QueryRow(name, code, rank, right, shots, answer)

    def uri(self, row: int) -> str | None:
        """Returns a query's image as a data URI; None if it can't be read."""
        return self._uri(self._data.thumbnail, row, gallery=False)

    def gallery_uri(self, row: int) -> str | None:
        """Returns a gallery image as a data URI; None if it can't be read."""
        gallery = self._data.gallery_vectors is not None
        return self._uri(self._data.searched_thumbnail, row, gallery)

    def _name(self, code: Any) -> str:
        return self._data.class_name(int(code))

    def _uri(self, thumbnail: Callable[[int], np.ndarray], row, gallery):
        key = gallery, int(row)
        if key not in self._uris:
            try:
                self._uris[key] = thumbnail_uri(thumbnail(int(row)))
            except (ValueError, OSError):
                self._uris[key] = None
        return self._uris[key]

    def _neighbour(self, row, neighbour, place, caption=None):
        """Returns a gallery image with its class, marked as right or wrong."""
        data = self._data
        name = self._name(data.searched_labels[neighbour])
        right = self._is_right(row, neighbour)
        similarity = float(data.vectors[row] @ data.searched_vectors[neighbour])
        verdict = "right" if right else "wrong"
        description = f"{place}: {name}, {verdict}, similarity {similarity:.2f}"
        return Shot(self.gallery_uri(neighbour), description, caption or name, right)

    def _doubt(self, row, code, share):
        """Returns an image whose label is in doubt, next to the nearest of the other class."""
        name, own = self._name(code), self._name(self._data.labels[row])
        fact = f"{100 * share:.0f} % of its neighbours are of another class"
        images = ((row, f"labelled {own}"), (self._most_similar(row, code), name))
        return self._pair(f"{own}?", fact, images)

    def _twins(self, i, j, similarity):
        """Returns a pair of near-duplicates."""
        labels = self._data.labels
        title = "One class" if labels[i] == labels[j] else "Two classes"
        images = ((row, self._name(labels[row])) for row in (i, j))
        return self._pair(title, f"similarity {similarity:.4f}", images)

    def _pair(self, title, fact, images):
        shots = [Shot(self.uri(row), f"Image: {name}", name) for row, name in images]
        return Pair(title, fact, shots)

    def _most_similar(self, row, code):
        """Returns the query of a class that is most similar to a query."""
        rows = self._data.labels == code
        return int(np.argmax(np.where(rows, self._data.vectors @ self._data.vectors[row], -2)))

    def _is_right(self, row, neighbour):
        return bool(neighbour >= 0 and self._data.are_right(row, neighbour))
