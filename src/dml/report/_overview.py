"""The page of a whole run: what it reached, how, and where everything is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dml import _pages
from dml._storage.atomic import write_text
from dml.report.data import Metric


@dataclass(frozen=True)
class ScoreRow:
    """What a stage reached in validation.

    Args:
        name: The stage.
        score: R@1, in [0, 1].
        chosen: Whether it is the result.
    """

    name: str
    score: float
    chosen: bool = False


@dataclass(frozen=True)
class StageRow:
    """The time of a stage.

    Args:
        name: What was done.
        expected: Its expected time as text.
        took: Its time as text, or that it was left out.
    """

    name: str
    expected: str
    took: str


@dataclass(frozen=True)
class Link:
    """A file or folder of the run.

    Args:
        address: Relative to the page.
        text: What it is.
    """

    address: str
    text: str


@dataclass(frozen=True)
class Overview:
    """What the page shows; sections without content are left out.

    Args:
        title: The headline.
        subtitle: What it was tested on.
        metrics: The first one is highlighted.
        scores: What the stages reached in validation.
        stages: Their times.
        thresholds: (similarity, what it promises, what it reached on the test split).
        data: Lines about the data.
        notes: Further lines.
        commands: (what it does, the command).
        links: Files and folders.
    """

    title: str
    subtitle: str
    metrics: Sequence[Metric]
    scores: Sequence[ScoreRow] = ()
    stages: Sequence[StageRow] = ()
    thresholds: Sequence[tuple[float, str, str]] = ()
    data: Sequence[str] = ()
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, str]] = ()
    links: Sequence[Link] = ()


def write_overview(path: str | os.PathLike[str], overview: Overview) -> None:
    """Writes the page as one HTML file that opens without a network; its links are relative."""
    write_text(path, render_overview(overview))


def render_overview(overview: Overview) -> str:
    """Returns the page as HTML."""
    return _pages.render("overview.html", **vars(overview))
