"""The report's retrieval grids: queries, what they found, right and wrong."""

from html import escape

import numpy as np

from dml.evaluation import find_label_issues
from dml.images._thumbnails import SIDE, thumbnail_uri
from dml.report.selection import drawn_queries, nearest_positive, worst_queries

DRAWN = 24
WORST = 12
NEIGHBOURS = 5
SUSPECTS = 6
CONFUSED = 10
SIGNS = {"right": "✓", "wrong": "✗"}


class Queries:
    """Renders queries with their neighbours.

    Args:
        data: A `ReportData`.
    """

    def __init__(self, data):
        self.data = data
        self.cache = {}

    def drawn_section(self):
        """Returns the grid of queries drawn at random, with a filter; empty without queries."""
        data = self.data
        rows = drawn_queries(data.labels, data.first_positive, DRAWN, data.seed)
        if not len(rows) or not data.neighbours.shape[1]:
            return ""
        right = sum(self.is_right(row, data.neighbours[row, 0]) for row in rows)
        choices = "".join(
            f'<label><input class="hidden" type="radio" name="first" value="{value}"{checked}>'
            f"{text} {count}</label>"
            for value, text, count, checked in (
                ("all", "All", len(rows), " checked"),
                ("right", "✓ Right", right, ""),
                ("wrong", "✗ Wrong", len(rows) - right, ""),
            )
        )
        return (
            f'<p class="note">{len(rows)} queries drawn at random, from as many classes as '
            "possible, each with its nearest images, the nearest first. A query counts as right at "
            "1 where the first is of its class.</p>"
            f'<fieldset class="filter"><legend class="hidden">Show queries whose nearest image is'
            f"</legend>{choices}{self.class_choice(rows)}</fieldset>"
            f'<ul class="queries">{"".join(self.query(row, NEIGHBOURS) for row in rows)}</ul>'
        )

    def class_choice(self, rows):
        """Returns the choice among the classes of the queries drawn."""
        codes = np.unique(self.data.labels[rows])
        options = "".join(
            f'<option value="{code}">{escape(self.data.class_name(code))}</option>'
            for code in codes
        )
        return (
            '<select name="class" aria-label="Show queries of class">'
            f'<option value="all">All {len(codes)} classes</option>{options}</select>'
        )

    def class_rules(self):
        """Returns the style by which the choice of a class hides the queries of others."""
        rows = drawn_queries(self.data.labels, self.data.first_positive, DRAWN, self.data.seed)
        return "".join(
            f'section:has(option[value="{code}"]:checked) .query:not([data-code="{code}"]) '
            "{ display: none; }\n"
            for code in np.unique(self.data.labels[rows])
        )

    def worst_section(self):
        """Returns the queries whose first positive comes latest; empty where all are right."""
        rows = worst_queries(self.data.first_positive, WORST)
        if not len(rows):
            return ""
        return (
            '<p class="note">The queries whose class comes latest among their neighbours, with '
            "that image last. Labels that are wrong in the data set often show up here.</p>"
            '<ul class="queries">'
            + "".join(self.query(row, NEIGHBOURS - 1, answer=True) for row in rows)
            + "</ul>"
        )

    def label_issues_section(self):
        """Returns doubtful labels, near-duplicates and confused classes; empty without any."""
        data = self.data
        if len(data.labels) < 2:
            return ""
        found = find_label_issues(data.vectors, data.labels)
        doubted = "".join(
            self.pair(
                f"{data.class_name(data.labels[row])}?",
                f"{100 * share:.0f} % of its neighbours are of another class",
                (row, "labelled " + data.class_name(data.labels[row])),
                (self.most_similar(row, code), data.class_name(code)),
            )
            for row, code, share in found.mislabelled[:SUSPECTS]
        )
        twins = "".join(
            self.pair(
                "One class" if data.labels[i] == data.labels[j] else "Two classes",
                f"similarity {similarity:.4f}",
                *((row, data.class_name(data.labels[row])) for row in (i, j)),
            )
            for i, j, similarity in found.duplicates[:SUSPECTS]
        )
        confused = "".join(
            f"<tr><th scope=row>{escape(data.class_name(a))}</th>"
            f"<td>{escape(data.class_name(b))}</td><td>{100 * share:.0f}</td></tr>"
            for a, b, share in found.confused[:CONFUSED]
        )
        lost = ", ".join(escape(data.class_name(code)) for code in found.never_found[:CONFUSED])
        parts = {
            "Labels in doubt": (
                len(found.mislabelled),
                "Images most of whose nearest are of one other class, beside the nearest of it.",
                doubted and f'<ul class="queries">{doubted}</ul>',
            ),
            "Near-duplicates": (
                len(found.duplicates),
                "Pairs that may be one image.",
                twins and f'<ul class="queries">{twins}</ul>',
            ),
            "Confused classes": (
                len(found.confused),
                "Share of the images of both whose nearest is of the other.",
                confused
                and "<table><thead><tr><th scope=col>Class</th><th scope=col>Class</th>"
                f"<th scope=col>%</th></tr></thead><tbody>{confused}</tbody></table>",
            ),
            "Classes that are never found": (
                len(found.never_found),
                "None of their images has its nearest within the class.",
                lost and f"<p>{lost}</p>",
            ),
        }
        return "".join(
            f'<h3>{title} ({count:,})</h3><p class="note">{note}</p>{body}'
            for title, (count, note, body) in parts.items()
            if body
        )

    def pair(self, title, fact, *images):
        """Returns two query images side by side."""
        shots = "".join(
            self.shot(self.uri(self.data.thumbnail, row), f"Image: {name}", name)
            for row, name in images
        )
        return (
            f'<li class="query"><p><b>{escape(title)}</b><span>{escape(fact)}</span></p>'
            f'<div class="row">{shots}</div></li>'
        )

    def most_similar(self, row, code):
        """Returns the query of a class that is most similar to a query."""
        rows = self.data.labels == code
        return int(np.argmax(np.where(rows, self.data.vectors @ self.data.vectors[row], -2)))

    def query(self, row, count, answer=False):
        """Returns one query with `count` neighbours and, with `answer`, its first positive."""
        data, name = self.data, self.data.class_name(self.data.labels[row])
        neighbours = [int(n) for n in data.neighbours[row, :count]]
        rank = int(data.first_positive[row])
        shots = self.shot(self.uri(data.thumbnail, row), f"Query of class {name}", "query")
        for place, found in enumerate(neighbours, 1):
            shots += self.neighbour(row, found, f"Neighbour {place}")
        positive = nearest_positive(data, row) if answer else None
        if positive is not None:
            shots += self.neighbour(row, positive, f"First of its class, at rank {rank}", rank)
        first = "right" if self.is_right(row, neighbours[0]) else "wrong"
        return (
            f'<li class="query" data-first="{first}" '
            f'data-code="{data.labels[row]}" data-class="{escape(name)}">'
            f"<p><b>{escape(name)}</b><span>first right at rank {rank:,}</span></p>"
            f'<div class="row{" answer" if answer else ""}">{shots}</div></li>'
        )

    def neighbour(self, row, found, place, rank=None):
        """Returns a gallery image with its class, framed and signed as right or wrong."""
        data = self.data
        name = data.class_name(data.searched_labels[found])
        verdict = "right" if self.is_right(row, found) else "wrong"
        similarity = float(data.vectors[row] @ data.searched_vectors[found])
        uri = self.uri(data.searched_thumbnail, found, gallery=True)
        caption = f"rank {rank:,}" if rank else name
        description = f"{place}: {name}, {verdict}, similarity {similarity:.2f}"
        return self.shot(uri, description, caption, verdict)

    def shot(self, uri, description, caption, verdict=""):
        """Returns one thumbnail; a box in its place where the image can't be read."""
        sign = f'<span class="sign" aria-hidden="true">{SIGNS[verdict]}</span>' if verdict else ""
        text = escape(description)
        picture = (
            f'<img src="{uri}" alt="{text}" title="{text}" width="{SIDE}" height="{SIDE}" '
            'loading="lazy" decoding="async">'
            if uri
            else f'<span class="missing" role="img" aria-label="{text}">unreadable</span>'
        )
        return (
            f'<figure class="shot {verdict}">{picture}{sign}'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def uri(self, thumbnail, row, gallery=False):
        """Returns the data URI of an image, or None where it can't be read."""
        key = (gallery and self.data.gallery_vectors is not None, int(row))
        if key not in self.cache:
            try:
                self.cache[key] = thumbnail_uri(thumbnail(int(row)))
            except (ValueError, OSError):
                self.cache[key] = None
        return self.cache[key]

    def is_right(self, row, found):
        return bool(self.data.searched_labels[found] == self.data.labels[row])
