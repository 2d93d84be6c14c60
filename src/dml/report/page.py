"""The report of an evaluation: one self-contained HTML page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from dml import _pages
from dml._text import number_of
from dml.images._thumbnails import SIDE
from dml.report import _plots
from dml.report._queries import Queries
from dml.report._selection import principal_plane, similarity_histograms
from dml.report.data import ReportData


@dataclass(frozen=True)
class _Curve:
    """Values of the history that are drawn over the epochs.

    Args:
        title: Title of the plot.
        lines: Name of a line -> key in `log.jsonl`.
        percent: Whether the values are shares.
        best: Whether to mark the highest value.
    """

    title: str
    lines: Mapping[str, str]
    percent: bool = False
    best: bool = False


_CURVES = (
    _Curve(
        "Recall@1 on the validation classes, %",
        {"validation": "val_recall_at_1"},
        percent=True,
        best=True,
    ),
    _Curve("Training loss", {"loss": "loss"}),
    _Curve(
        "Mean cosine similarity in a batch",
        {"same class": "positive_similarity", "different classes": "negative_similarity"},
    ),
    _Curve("Effective rank of a batch's embeddings", {"rank": "effective_rank"}),
    _Curve("Pairs or triplets with a loss, %", {"active": "active_share"}, percent=True),
    _Curve("Gradient norm", {"norm": "gradient_norm"}),
    _Curve("Images per second in training", {"speed": "images_per_second"}),
)
_MAP_POINTS = 3000
_MAP_CLASSES = 8
_MAP_SPOTS = 120


@dataclass(frozen=True)
class _LegendEntry:
    """The marker and the name of a class."""

    marker: Markup
    name: str


@dataclass(frozen=True)
class _Plot:
    """A plot with its title above.

    Args:
        title: Title of the plot.
        drawing: The `svg` element.
        caption: Explanation.
        legend: Legend below the plot.
    """

    title: str
    drawing: Markup
    caption: str = ""
    legend: list[_LegendEntry] = field(default_factory=list)


def render_report(data: ReportData) -> str:
    """Returns a report as one self-contained HTML page that opens without a network.

    It holds a few hundred thumbnails however large the data set.

    Args:
        data: The `ReportData`.
    """
    queries = Queries(data)
    return _pages.render(
        "report.html",
        title=data.title,
        dataset=data.dataset,
        protocol=data.protocol,
        counts=data.counts,
        notes=data.notes,
        metrics=data.metrics,
        trained=data.trained,
        speed=data.speed,
        training=_training_plots(data),
        candidates=data.candidates,
        retrieval=queries.drawn(),
        worst=queries.worst(),
        issues=queries.label_issues(),
        embedding=_embedding_plots(data, queries),
        recipe=data.recipe,
        versions=list(_flat(data.versions)),
        seeds=list(_flat(data.seeds)),
        side=SIDE,
    )


def _training_plots(data):
    """Returns the curves that the history has values for."""
    plots = []
    for curve in _CURVES:
        drawn = {}
        for name, key in curve.lines.items():
            rows = [row for row in data.history if row.get(key) is not None]
            if rows:
                drawn[name] = ([row["epoch"] for row in rows], [row[key] for row in rows])
        if drawn:
            drawing = _plots.curve_plot(drawn, curve.title, curve.percent, curve.best)
            plots.append(_Plot(curve.title, drawing))
    return plots


def _embedding_plots(data, queries):
    """Returns recall over k, similarities, errors and the map; empty without queries."""
    if not len(data.labels):
        return []
    plots = []
    if max(data.first_positive) > 0:
        drawing = _plots.recall_plot(data.first_positive)
        plots.append(_Plot("Right class among the first k, % of queries", drawing))
    histograms = similarity_histograms(data)
    caption = (
        f"{number_of(histograms.positive.sum(), 'pair')} of one class and "
        f"{histograms.negative.sum():,} of different classes, each as a density; dotted: the means"
    )
    caption += "; solid: calibrated thresholds." if data.thresholds else "."
    drawing = _plots.similarity_plot(histograms, data.thresholds)
    plots.append(_Plot("Similarity of pairs", drawing, caption))
    if _has_error_plot(data.errors):
        caption = "Pairs of one class that a threshold on the similarity rejects, over all pairs."
        plots.append(_Plot("False reject rate, %", _plots.error_plot(*data.errors), caption))
    return [*plots, _map(data, queries)]


def _has_error_plot(errors):
    """Returns whether the error rates have anything to draw."""
    if errors is None:
        return False
    accepted, rejected = errors
    return bool(((accepted > 0) & (rejected >= _plots.LEAST_REJECTED)).any())


def _map(data, queries):
    """Returns the map: the plane of the two main principal axes, with some classes in colour."""
    rows = np.sort(np.random.default_rng(data.seed).permutation(len(data.labels))[:_MAP_POINTS])
    points, kept = principal_plane(data.vectors[rows])
    labels = np.asarray(data.labels)[rows]
    classes = np.unique(labels)
    shown = classes[np.unique(np.linspace(0, len(classes) - 1, _MAP_CLASSES).round().astype(int))]
    spots = [
        _plots.Spot(at, data.class_name(labels[at]), uri)
        for at in np.flatnonzero(np.isin(labels, shown))[:_MAP_SPOTS]
        if (uri := queries.uri(rows[at]))
    ]
    caption = (
        f"{number_of(len(rows), 'query')} on the two widest principal axes, which keep "
        f"{100 * kept:.1f} % of the variance."
    )
    if len(classes) > len(shown):
        caption += f" {len(shown)} of {len(classes)} classes in colour."
    if spots:
        caption += " Point at a coloured one to see it."
    title = f"Map of {number_of(len(rows), 'embedding')} in the plane."
    drawing = _plots.map_plot(points, labels, shown, title, spots)
    legend = [
        _LegendEntry(_plots.class_marker(number), data.class_name(code))
        for number, code in enumerate(shown)
    ]
    return _Plot("Map of the embeddings", drawing, caption, legend)


def _flat(mapping: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yields the names and values of a mapping and, in their place, of those nested in it."""
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield str(name), str(value)
