"""Puts the report together: sections of HTML, every text escaped."""

from html import escape
from importlib import resources
from string import Template

from dml._storage.atomic import write_text
from dml.report import figures
from dml.report.queries import Queries
from dml.report.selection import principal_plane, similarity_histograms

CURVES = {  # title -> (name of the line -> key in log.jsonl), percentages?, mark the best?
    "Recall@1 on the validation classes, %": ({"validation": "val_recall_at_1"}, True, True),
    "Training loss": ({"loss": "loss"}, False, False),
    "Mean cosine similarity in a batch": (
        {"same class": "positive_similarity", "different classes": "negative_similarity"},
        False,
        False,
    ),
    "Effective rank of a batch's embeddings": ({"rank": "effective_rank"}, False, False),
    "Pairs or triplets that still teach, %": ({"active": "active_share"}, True, False),
    "Gradient norm": ({"norm": "gradient_norm"}, False, False),
}
MAP_POINTS = 3000
MAP_CLASSES = 8
MAP_SPOTS = 120


def write_report(path, data):
    """Writes one self-contained HTML page that opens without a network.

    The file is written whole or not at all, and holds a few hundred thumbnails however large the
    data set is.

    Args:
        path: The HTML file; replaced where it exists.
        data: A `ReportData`.

    Raises:
        OSError: The file can't be written.
    """
    write_text(path, page(data))


def page(data):
    """Returns the page as text."""
    queries = Queries(data)
    sections = {  # title -> (short name, contents)
        "Figures": metrics_table(data),
        "Training": training(data),
        "Retrieval": queries.drawn_section(),
        "Worst queries": queries.worst_section(),
        "Labels and images": queries.label_issues_section(),
        "Embedding": embedding(data, queries),
        "Recipe": recipe(data),
    }
    sections = {title: body for title, body in sections.items() if body}
    anchors = {title: title.lower().replace(" ", "-") for title in sections}
    here = resources.files("dml.report")
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(data.title),
        style=(here / "page.css").read_text(encoding="utf-8") + queries.class_rules(),
        eyebrow=escape(f"{data.dataset}, {data.protocol} protocol"),
        hero=hero(data),
        contents="\n".join(f'<li><a href="#{anchors[t]}">{t}</a></li>' for t in sections),
        sections="\n".join(
            f'<section id="{anchors[t]}"><h2>{t}</h2>\n{body}\n</section>'
            for t, body in sections.items()
        ),
    )


def hero(data):
    """Returns the headline figure beside the untrained encoder's."""
    headline = ""
    if data.metrics:
        first = data.metrics[0]
        bars = bar("Trained", first.value, first.interval, "trained")
        if first.untrained is not None:
            bars += bar("Untrained encoder", first.untrained, first.untrained_interval, "untrained")
        headline = (
            f'<p class="headline"><b>{percent(first.value)}<small>%</small></b>'
            f'<span>{escape(first.name)}</span></p><dl class="bars">{bars}</dl>'
        )
    facts = ", ".join(f"{count:,} {name}" for name, count in data.counts.items())
    facts = f'<p class="facts">{escape(facts)}.</p>' if facts else ""
    facts += "".join(f'<p class="facts">{escape(sentence(note))}</p>' for note in data.notes)
    return f'<div class="hero">{headline}{facts}</div>'


def sentence(text):
    """Returns a line of text with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def bar(name, value, ends, kind):
    """Returns one bar from 0 to 100 % with its interval."""
    whisker = ""
    if ends:
        low, high = (100 * min(max(end, 0), 1) for end in ends)
        whisker = f'<u style="left:{low:.2f}%;width:{max(high - low, 0.3):.2f}%"></u>'
    return (
        f"<div><dt>{name}</dt><dd><b>{percent(value)}</b> {interval(ends)}</dd>"
        f'<dd class="track" aria-hidden="true">'
        f'<i class="{kind}" style="width:{100 * min(max(value, 0), 1):.2f}%"></i>{whisker}'
        "</dd></div>"
    )


def metrics_table(data):
    """Returns the table of all figures; empty without any."""
    if not data.metrics:
        return ""
    compared = any(m.untrained is not None for m in data.metrics)
    head = "<th scope=col>Untrained</th><th scope=col>Gain</th>" if compared else ""
    rows = []
    for m in data.metrics:
        row = f"<th scope=row>{escape(m.name)}</th>{cell(m.value, m.interval, strong=True)}"
        if compared:
            row += cell(m.untrained, m.untrained_interval)
            gain = "" if m.untrained is None else f"{100 * (m.value - m.untrained):+.1f}"
            row += f"<td>{gain.replace('-', '−')}</td>"
        rows.append(f"<tr>{row}</tr>")
    intervals = any(m.interval for m in data.metrics)
    note = "In percent; the range is the 95 % interval for other classes of the kind."
    return (
        f'<p class="note">{note if intervals else "In percent."}</p><table><thead><tr>'
        f'<th scope=col><span class="hidden">Figure</span></th><th scope=col>Trained</th>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def cell(value, ends, strong=False):
    """Returns one value of the table with its interval."""
    if value is None:
        return "<td></td>"
    text = f"<b>{percent(value)}</b>" if strong else percent(value)
    return f"<td>{text}<small>{interval(ends)}</small></td>" if ends else f"<td>{text}</td>"


def percent(value):
    """Returns a share as a percentage, without its sign."""
    return f"{100 * value:.1f}"


def interval(ends):
    """Returns an interval of shares as text, or nothing."""
    return f"{percent(ends[0])} to {percent(ends[1])}" if ends else ""


def training(data):
    """Returns the curves that the history has values for."""
    drawn = []
    for title, (lines, percentages, best) in CURVES.items():
        found = {}
        for name, key in lines.items():
            rows = [row for row in data.history if row.get(key) is not None]
            if rows:
                found[name] = ([row["epoch"] for row in rows], [row[key] for row in rows])
        if found:
            drawn.append(figure(title, figures.curve_figure(found, title, percentages, best)))
    return f'<div class="figures">{"".join(drawn)}</div>' if drawn else ""


def embedding(data, queries):
    """Returns recall over k, the histograms of similarity and the map; empty without queries."""
    if not len(data.labels):
        return ""
    edges, positive, negative, *means = similarity_histograms(data)
    ranks = ""
    if max(data.first_positive) > 0:
        title = "Right class among the first k, % of queries"
        ranks = figure(title, figures.rank_figure(data.first_positive))
    return (
        '<div class="figures wide">'
        + ranks
        + figure(
            "Similarity of pairs",
            figures.histogram_figure(edges, positive, negative, *means, data.thresholds),
            f"{positive.sum():,} pairs of one class and {negative.sum():,} of different classes, "
            "each as a density; dotted: the means"
            + ("; solid: calibrated thresholds." if data.thresholds else "."),
        )
        + error_curve(data)
        + embedding_map(data, queries)
        + "</div>"
    )


def error_curve(data):
    """Returns what thresholds on the similarity let in and refuse; empty where it is not known."""
    if data.errors is None:
        return ""
    accepted, rejected = data.errors
    if not ((accepted > 0) & (rejected >= figures.LEAST_REJECTED)).any():
        return ""
    return figure(
        "Pairs of one class refused, % of them",
        figures.error_figure(accepted, rejected),
        "At each threshold on the similarity of a pair, over all pairs.",
    )


def embedding_map(data, queries):
    """Returns the plane of the two widest principal axes, some classes in colour."""
    import numpy as np

    rows = np.sort(np.random.default_rng(data.seed).permutation(len(data.labels))[:MAP_POINTS])
    points, kept = principal_plane(data.vectors[rows])
    labels = np.asarray(data.labels)[rows]
    classes = np.unique(labels)
    shown = classes[np.unique(np.linspace(0, len(classes) - 1, MAP_CLASSES).round().astype(int))]
    legend = "".join(
        f"<li>{figures.marker_figure(n)}<span>{escape(data.class_name(code))}</span></li>"
        for n, code in enumerate(shown)
    )
    spots = [
        (at, data.class_name(labels[at]), image)
        for at in np.flatnonzero(np.isin(labels, shown))[:MAP_SPOTS]
        if (image := queries.uri(data.thumbnail, rows[at]))
    ]
    rest = (
        f"{len(shown)} of {len(classes)} classes in colour. " if len(classes) > len(shown) else ""
    )
    return figure(
        "Map of the embeddings",
        figures.map_figure(
            points, labels, shown, f"Map of {len(rows)} embeddings in the plane.", spots
        ),
        f"{len(rows):,} queries on the two widest principal axes, which keep {percent(kept)} % of "
        f"the variance. {rest}" + ("Point at a coloured one to see it." if spots else ""),
        f'<ul class="legend">{legend}</ul>',
    )


def figure(title, drawing, caption="", below=""):
    """Returns a figure with its title above."""
    caption = f"<small>{escape(caption)}</small>" if caption else ""
    return f"<figure><figcaption>{escape(title)}{caption}</figcaption>{drawing}{below}</figure>"


def recipe(data):
    """Returns what made the run: options, versions, seeds."""
    text = f"<pre>{escape(data.recipe)}</pre>" if data.recipe else ""
    facts = ""
    for title, mapping in (("Versions", data.versions), ("Seeds", data.seeds)):
        pairs = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in flat(mapping)
        )
        facts += f'<h3>{title}</h3><dl class="pairs">{pairs}</dl>' if pairs else ""
    facts = f"<div>{facts}</div>" if facts else ""
    return f'<div class="made">{text}{facts}</div>' if text or facts else ""


def flat(mapping):
    """Yields the names and values of a mapping, those of nested mappings in their place."""
    for name, value in mapping.items():
        if isinstance(value, dict):
            yield from flat(value)
        else:
            yield str(name), value
