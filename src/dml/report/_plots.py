"""Plots of the report, as SVG elements that use the page's colours."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dml._text import number_of
from dml.report._selection import SimilarityHistograms

# Colours drawn here and the page's variables that replace them, so that one plot has both light and
# dark colours.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = [f"#0400{n:02x}" for n in range(1, 9)]
MARKERS = "os^DvPX*"
PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--series-{n})" for n, colour in enumerate(SERIES, 1)},
}
LEAST_REJECTED = 1e-3
UNIT = 1 / 72  # of an inch: one pixel of an SVG's own coordinates
FONT = 11.5


def curve_plot(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    percent: bool = False,
    best: bool = False,
) -> Markup:
    """Draws values over epochs.

    Args:
        lines: Name -> (epochs, values); a name is written at the line's end when there are several.
        title: The plot's title; part of the description for screen readers.
        percent: Whether the values are in [0, 1] and shown as percentages.
        best: Whether to mark the highest value.
    """
    figure, axes = _new_figure(350, 210)
    described = []
    for number, (name, (epochs, values)) in enumerate(lines.items()):
        values = np.asarray(values, float) * (100 if percent else 1)
        dots = "o" if len(values) < 2 else ""
        style = ("-", "--")[number % 2]
        axes.plot(epochs, values, style, color=SERIES[number], lw=2, marker=dots, ms=5)
        finite = np.flatnonzero(np.isfinite(values))
        if not len(finite):
            continue
        described.append(
            f"{name} from {values[finite[0]]:.3g} to {values[finite[-1]]:.3g} "
            f"in {number_of(math.ceil(max(epochs)), 'epoch')}"
        )
        if len(lines) > 1:
            end = (epochs[finite[-1]], values[finite[-1]])
            _label(axes, name, end, SERIES[number], (0, 7 if number == 0 else -15), "right")
        if best:
            top = finite[np.argmax(values[finite])]
            axes.plot(epochs[top], values[top], "o", color=SERIES[number], ms=6.5)
            side = "right" if top > len(values) / 2 else "left"
            _label(axes, f"{values[top]:.1f}", (epochs[top], values[top]), INK, (0, 8), side)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.margins(x=0.03, y=0.2)
    return _svg(figure, f"{title}: {'; '.join(described)}.")


def recall_plot(
    first_positive: np.ndarray,
    title: str = "Share of queries whose class is found among the first k",
) -> Markup:
    """Draws recall at k for every k up to 100, over the queries that have a positive."""
    ranks = np.asarray(first_positive)
    ranks = ranks[ranks > 0]
    last = int(max(10, min(100, ranks.max(initial=1))))
    ks = np.arange(1, last + 1)
    recall = np.array([100 * np.mean(ranks <= k) if len(ranks) else 0.0 for k in ks])
    figure, axes = _new_figure(520, 300)
    axes.plot(ks, recall, color=SERIES[0], lw=2)
    axes.set_xscale("log")
    ticks = [k for k in (1, 2, 4, 8, 10, 20, 50, 100) if k <= last and (k != 10 or last < 20)]
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.minorticks_off()
    marked = [k for k in (1, 2, 4, 8, 32) if k <= last]
    axes.plot(marked, recall[np.array(marked) - 1], "o", color=SERIES[0], ms=6)
    for k in marked:
        _label(axes, f"{recall[k - 1]:.1f}", (k, recall[k - 1]), INK, (3, -16), "left")
    axes.set_xlabel("k nearest images")
    axes.set_ylim(max(0, recall[0] - 0.35 * (105 - recall[0])), 103)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    points = ", ".join(f"{recall[k - 1]:.1f} % at {k}" for k in marked)
    return _svg(figure, f"{title}: {points}.")


def similarity_plot(
    histograms: SimilarityHistograms, thresholds: Mapping[str, float] | None = None
) -> Markup:
    """Draws the similarities of images of one class and of different classes, as densities.

    Args:
        histograms: `SimilarityHistograms`.
        thresholds: Name -> similarity, to be marked.
    """
    edges, positive, negative = histograms.edges, histograms.positive, histograms.negative
    means = histograms.negative_mean, histograms.positive_mean
    figure, axes = _new_figure(520, 300)
    used = np.flatnonzero(positive + negative)
    first, last = (used[0], used[-1] + 1) if len(used) else (0, len(edges) - 1)
    described, top = [], 0.0
    for number, (name, counts, mean) in enumerate(
        (("different classes", negative, means[0]), ("same class", positive, means[1]))
    ):
        if not counts.sum():
            continue
        colour = SERIES[1 - number]
        density = counts / counts.sum() / np.diff(edges)
        top = max(top, density.max())
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.28, lw=0)
        axes.stairs(density, edges, color=colour, lw=1.8, ls=("--", "-")[number], baseline=None)
        peak = np.argmax(density)
        side = "right" if number == 0 else "left"
        _label(axes, name, (edges[peak], density[peak]), colour, (0, 6), side)
        axes.axvline(mean, color=colour, lw=1, ls=":")
        described.append(f"{name}, mean {mean:.2f}")
    middle = (edges[first] + edges[last]) / 2
    for number, (name, similarity) in enumerate((thresholds or {}).items()):
        axes.axvline(similarity, color=INK, lw=1)
        # Above the names of the densities, and towards the middle.
        side, away = ("right", -4) if similarity > middle else ("left", 4)
        _label(axes, name, (similarity, (1.15 + 0.09 * number) * top), INK, (away, 0), side)
        described.append(f"{name} from {similarity:.2f}")
    axes.set_xlabel("cosine similarity of a pair")
    axes.set_xlim(edges[first] - 0.02, edges[last] + 0.02)
    axes.set_ylim(0, (1.15 + 0.09 * len(thresholds or {})) * top or 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return _svg(figure, f"Histograms of the similarity of pairs: {'; '.join(described)}.")


def error_plot(accepted: np.ndarray, rejected: np.ndarray) -> Markup:
    """Draws the detection error trade-off: false reject rate over false accept rate, both log.

    Thresholds that accept no pair falsely, or reject less than 0.1 %, are left out. At most a few
    hundred points are drawn.
    """
    shown = (accepted > 0) & (rejected >= LEAST_REJECTED)
    accepted, rejected = np.asarray(accepted)[shown], np.asarray(rejected)[shown]
    accepted, rejected = 100 * accepted, 100 * rejected

    def at(rate):
        return np.searchsorted(accepted, rate, side="right") - 1

    drawn = np.unique(at(np.geomspace(accepted[0], accepted[-1], 300)))
    figure, axes = _new_figure(520, 300)
    axes.loglog(accepted[drawn], rejected[drawn], color=SERIES[0], lw=2)
    described = []
    for rate in (0.01, 0.1, 1, 10):
        if accepted[0] <= rate <= accepted[-1]:
            false_rejects = rejected[at(rate)]
            axes.plot(rate, false_rejects, "o", color=SERIES[0], ms=6)
            _label(axes, f"{false_rejects:.1f}", (rate, false_rejects), INK, (4, 5), "left")
            described.append(f"{false_rejects:.1f} % at {rate:g} %")
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("false accept rate, %")
    title = "False reject rate by false accept rate"
    return _svg(figure, f"{title}: {', '.join(described)}.")


@dataclass(frozen=True)
class Spot:
    """A point of the map whose image appears under the pointer or at the keyboard's focus.

    Args:
        row: Row of the point.
        name: Name of its class.
        image: A data URI.
    """

    row: int
    name: str
    image: str


def map_plot(
    points: np.ndarray,
    labels: np.ndarray,
    highlighted: np.ndarray,
    title: str,
    spots: Sequence[Spot] = (),
) -> Markup:
    """Draws points (N, 2): the `highlighted` classes, at most 8, in colour, the others in grey."""
    figure, axes = _new_figure(520, 420)
    rest = ~np.isin(labels, highlighted)
    axes.plot(*points[rest].T, "o", color=MUTED, ms=2.6, mew=0, alpha=0.4)
    for code, colour, marker in zip(highlighted, SERIES, MARKERS, strict=False):
        own = labels == code
        axes.plot(*points[own].T, marker, color=colour, ms=6, mew=0, alpha=0.95)
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    drawing = _svg(figure, title)
    shown = [_spot(*_position(figure, axes, points[spot.row]), spot) for spot in spots]
    end = Markup("</svg>")
    return drawing.removesuffix(end) + Markup("").join(shown) + end


def _position(figure, axes, point):
    """Returns where a point of a drawn figure is, in the SVG's own coordinates."""
    share = figure.transFigure.inverted().transform(axes.transData.transform(point))
    width, height = figure.get_size_inches() / UNIT
    return share[0] * width, (1 - share[1]) * height


def _spot(x, y, spot, side=84):
    """Returns a `Spot` at a place within the map of 520 x 420, as an SVG element."""
    left, top = min(max(x - side / 2, 0), 520 - side), y + 8 if y < 300 else y - side - 8
    return Markup(
        '<g class="spot" tabindex="0"><title>{}</title><circle cx="{:.1f}" cy="{:.1f}" r="5"/>'
        '<image href="{}" x="{:.1f}" y="{:.1f}" width="{}" height="{}"/></g>'
    ).format(spot.name, x, y, spot.image, left, top, side, side)


def class_marker(number: int) -> Markup:
    """Draws the marker of the highlighted class `number` of the map, for its legend."""
    figure = Figure(figsize=(14 * UNIT, 14 * UNIT))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot(0, 0, MARKERS[number], color=SERIES[number], ms=9, mew=0)
    return _svg(figure, None)


def _new_figure(width, height):
    """Returns a Matplotlib figure of a size in pixels, and its axes."""
    figure = Figure(figsize=(width * UNIT, height * UNIT), layout="constrained")
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(RULE)
    axes.grid(axis="y", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=FONT, colors=MUTED, pad=5)
    axes.xaxis.label.set(size=FONT, color=MUTED)
    return figure, axes


def _label(axes, text, at, colour, offset, side):
    """Writes a line's name or value next to a point."""
    axes.annotate(
        text, at, xytext=offset, textcoords="offset points", ha=side, color=colour, size=FONT
    )


def _svg(figure, description: str | None) -> Markup:
    """Returns a Matplotlib figure as an `svg` element; without a description, as a decoration."""
    file = io.StringIO()
    figure.patch.set_visible(False)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dml"}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # never referenced, and not unique in the page
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for drawn, shown in PAGE_COLOURS.items():
        text = text.replace(drawn, shown)
    view = re.findall(r'viewBox="[^"]*"', text)[0]
    role = f'role="img" aria-label="{escape(description)}"' if description else 'aria-hidden="true"'
    return Markup(f"<svg {view} {role}>" + text[text.index(">") + 1 :].strip())  # escaped above
