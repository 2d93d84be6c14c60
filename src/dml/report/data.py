"""The data of a report."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dml.errors import ArrayError


@dataclass(frozen=True)
class Metric:
    """One metric of the evaluation, and the same metric of the frozen network.

    Args:
        name: Its display name, such as "Recall@1".
        value: In [0, 1]; shown as a percentage.
        interval: Ends of the 95 % interval, or None.
        frozen: The frozen network's value, or None if it was not measured.
        frozen_interval: Its 95 % interval, or None.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    frozen: float | None = None
    frozen_interval: tuple[float, float] | None = None

    @property
    def gain(self) -> float | None:
        """Value minus the frozen network's; None if that was not measured."""
        return None if self.frozen is None else self.value - self.frozen


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that a report shows, as arrays and text.

    Queries search the gallery; without `gallery_vectors` they search each other, and row i of
    `neighbours` never holds i. Sections without data are left out.

    Args:
        title: The headline.
        dataset: Name of the data set evaluated on.
        protocol: "zero-shot", "seen-class" or "query-gallery", and what a search leaves out.
        metrics: The first one is highlighted. Empty if nothing could be measured.
        counts: Sizes worth knowing, such as {"queries": 4092, "without a positive": 3}.
        notes: Lines on the scope of the metrics, and on those that could not be measured.
        trained: How much of the encoder was trained, such as "4,096 of 2.38 million parameters".
        speed: How fast the training was, such as "512 images/s".
        history: Lines of `log.jsonl`, oldest first: "epoch", "loss", "val_recall_at_1",
            "positive_similarity", "negative_similarity", "effective_rank", "gradient_norm",
            "active_share", "images_per_second"; unknown keys are left out, missing values leave a
            gap.
        candidates: (name, R@1 in validation, whether it is the result) of the encoders that the
            training chose from.
        vectors: Unit embeddings (Q, D) of the queries.
        labels: Class codes (Q,) of the queries, each an index of `class_names`.
        class_names: Class code -> name: any hashable, shown as text.
        neighbours: Gallery rows (Q, k), nearest first.
        first_positive: Rank (Q,) of the nearest image of the query's class, counted from 1;
            0 where the gallery has none.
        thumbnail: Query row -> uint8 image (H, W, 3) or (H, W). May raise ValueError or OSError for
            an unreadable image.
        gallery_vectors: Unit embeddings (G, D), or None if the queries are the gallery.
        gallery_labels: Class codes (G,), given with `gallery_vectors`.
        gallery_thumbnail: Gallery row -> image, given with `gallery_vectors`.
        alike: Returns which class codes of two arrays of one shape are right for each other; None
            if equal ones are.
        left_out: Keys (Q,), None or any hashable: a query does not find images with its key. None
            if it finds all.
        gallery_left_out: The keys (G,) of the gallery.
        thresholds: Promise of a calibrated threshold, such as "at least 90 % right" -> similarity.
        errors: False accept rates (M,), ascending, and false reject rates (M,) of thresholds on the
            similarity of all pairs; or None.
        recipe: The resolved recipe as TOML text.
        versions: Package or setting -> version or value; nested mappings are flattened.
        seeds: Name -> seed.
        seed: Seed of the selection of queries and pairs.

    Raises:
        ArrayError: The arrays do not match each other.
    """

    title: str
    dataset: str
    protocol: str
    metrics: Sequence[Metric]
    vectors: np.ndarray
    labels: np.ndarray
    class_names: Sequence[Hashable]
    neighbours: np.ndarray
    first_positive: np.ndarray
    thumbnail: Callable[[int], np.ndarray]
    gallery_vectors: np.ndarray | None = None
    gallery_labels: np.ndarray | None = None
    gallery_thumbnail: Callable[[int], np.ndarray] | None = None
    alike: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    left_out: np.ndarray | None = None
    gallery_left_out: np.ndarray | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    trained: str = ""
    speed: str = ""
    history: Sequence[Mapping[str, float]] = ()
    candidates: Sequence[tuple[str, float, bool]] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    errors: tuple[np.ndarray, np.ndarray] | None = None
    recipe: str = ""
    versions: Mapping[str, object] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self):
        given = [
            part is not None
            for part in (self.gallery_vectors, self.gallery_labels, self.gallery_thumbnail)
        ]
        if any(given) and not all(given):
            raise ArrayError(
                "a report with a gallery needs gallery_vectors, gallery_labels and "
                "gallery_thumbnail together"
            )
        queries = len(self.labels)
        for name in ("vectors", "neighbours", "first_positive"):
            rows = len(getattr(self, name))
            if rows != queries:
                raise ArrayError(f"{name} has {rows} rows for {queries} labels: one row per query")

    @property
    def searched_vectors(self) -> np.ndarray:
        """The vectors that are searched: the gallery's, or those of the queries."""
        return self.vectors if self.gallery_vectors is None else self.gallery_vectors

    @property
    def searched_labels(self) -> np.ndarray:
        """The class codes that belong to `searched_vectors`."""
        return self.labels if self.gallery_labels is None else self.gallery_labels

    def are_right(self, rows: np.ndarray, searched: np.ndarray) -> np.ndarray:
        """Returns which searched rows are right for queries, booleans of the rows' common shape."""
        labels, others = np.broadcast_arrays(self.labels[rows], self.searched_labels[searched])
        return labels == others if self.alike is None else self.alike(labels, others)

    def is_left_out(self, row: int) -> np.ndarray:
        """Returns which of the searched rows (N,) the search of a query leaves out."""
        out = np.zeros(len(self.searched_labels), bool)
        if self.gallery_vectors is None:
            out[row] = True
        if self.left_out is not None and self.left_out[row] is not None:
            keys = self.left_out if self.gallery_left_out is None else self.gallery_left_out
            out |= [key == self.left_out[row] for key in keys]
        return out

    @property
    def searched_thumbnail(self) -> Callable[[int], np.ndarray]:
        """Row of `searched_vectors` -> image."""
        return self.gallery_thumbnail or self.thumbnail

    def class_name(self, code: int) -> str:
        """Returns the name of a class as text; its code if it has no name."""
        code = int(code)
        return str(self.class_names[code]) if 0 <= code < len(self.class_names) else f"{code}"
