"""HTML pages: autoescaped Jinja2 templates and the style sheet that they share."""

import functools
from importlib import resources

import jinja2


def render(template: str, **values: object) -> str:
    """Returns a page; values are escaped unless they are `markupsafe.Markup`.

    Args:
        template: Name of a template in this folder.
        values: What it shows.
    """
    return _environment().get_template(template).render(values)


def read(name: str) -> str:
    """Returns the text of a file in this folder, such as "style.css"."""
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


@functools.cache
def _environment():
    return jinja2.Environment(
        loader=jinja2.PackageLoader("dml", "_pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
