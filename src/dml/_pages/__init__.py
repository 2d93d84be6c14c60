"""HTML pages: autoescaped Jinja2 templates and the style sheet that they share."""

import functools
from importlib import resources

import jinja2
from markupsafe import Markup


def render(template: str, **values: object) -> str:
    """Returns a page. Values are escaped unless they are `markupsafe.Markup`.

    Args:
        template: Name of a template in this folder.
        values: The template's variables.
    """
    return _environment().get_template(template).render(values)


def read(name: str) -> str:
    """Returns the text of a file in this folder, such as "style.css"."""
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


@functools.cache
def _environment():
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dml", "_pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style_sheet"] = Markup(read("style.css"))
    environment.filters |= {
        "anchor": lambda title: title.lower().replace(" ", "-"),
        "thousands": lambda number: f"{number:,}",
        "percent": lambda share: f"{100 * share:.1f}",
        "width": lambda share: f"{100 * min(max(share, 0), 1):.2f}",
        "gain": _gain,
    }
    return environment


def _gain(difference):
    """Returns a difference of shares in percent, with its sign; empty for None."""
    return "" if difference is None else f"{100 * difference:+.1f}".replace("-", "−")
