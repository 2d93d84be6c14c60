"""The pages of the site that are made from the code, and what is done to all of them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError

import dml
from dml.cli import find_commands
from dml.losses import LOSSES
from dml.recipe import option_names, shipped_recipes
from tests.tools import load_tool

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site():
    """The module that MkDocs calls."""
    return load_tool("site_pages")


@pytest.fixture(scope="module")
def pages(site):
    return site.pages()


def page(uri):
    return SimpleNamespace(file=SimpleNamespace(src_uri=uri))


def test_every_option_is_in_the_reference(pages):
    text = "".join(page for uri, page in pages.items() if uri.startswith("reference/"))
    places = [place for places in option_names().values() for place in places]
    missing = [
        place
        for place in places
        if f"`{place}`" not in text
        and not place.startswith("auxiliary_loss.")  # as of a loss
        and not place.endswith(".name")
    ]
    assert not missing


def test_every_command_recipe_and_exported_name_is_in_the_reference(pages):
    for name in find_commands():
        assert f"## dml {name}\n" in pages["reference/commands.md"]
    assert "### dml index build\n" in pages["reference/commands.md"]
    for name in shipped_recipes():
        assert f"`{name}`" in pages["reference/shipped.md"]
    for name in dml.losses.__all__:
        assert f"::: dml.losses.{name}\n" in pages["api/dml.losses.md"] + "\n" or name == "LOSSES"
    assert "[dml.training.Learner]" in pages["api/dml.md"]
    assert "::: dml.errors.OptionError" in pages["api/dml.errors.md"]


def test_published_results_stand_beside_their_recipe_and_source(pages):
    rows = [
        r for r in pages["reference/shipped.md"].splitlines() if r.startswith("| `cub200_proxy_a")
    ]
    assert rows[-1] == (  # of the authors' README
        "| `cub200_proxy_anchor` | R@1/2/4/8 69.9/79.6/86.6/91.4 (zero-shot, ResNet-50, 512-d; "
        "best epoch on test) | Kim et al., CVPR 2020, https://arxiv.org/abs/2003.13911; settings "
        "and results of the authors' README, https://github.com/tjddus9597/Proxy-Anchor-CVPR2020 |"
    )
    text = pages["reference/shipped.md"]
    assert "| `sop_soft_triple` | R@1/10/100 78.3/90.3/95.9 " in text
    assert "| `inshop_soft_triple` | not published" not in text


def test_a_loss_has_its_paper_class_and_defaults(site):
    text = site.on_page_markdown("<!-- loss arcface -->", page("mathematics.md"), None, None)
    assert "[Deng et al., CVPR 2019](https://arxiv.org/abs/1801.07698)." in text
    assert "`dml.losses.ArcFace`" in text
    assert "`margin = 28.6`" in text and "`scale = 64.0`" in text


def test_every_loss_has_a_paper_that_the_site_links(site):
    # Other tests of the process may have registered losses of their own.
    shipped = {name for name, loss in LOSSES.items() if loss.__module__.startswith("dml.")}
    missing = [name for name in shipped if "](https://" not in site.loss_facts(name)]
    assert not missing
    assert site.references_of(LOSSES["p2s_grad"]) == [
        "[Zhang et al., CVPR 2019](https://arxiv.org/abs/1905.02479)",
        "[Wang and Yamagishi, 2021](https://arxiv.org/abs/2103.11326)",
    ]


@pytest.mark.parametrize(
    ("uri", "link", "expected"),
    [
        ("extending.md", "../ARCHITECTURE.md", "project/architecture.md"),
        ("decisions/0001.md", "../../SECURITY.md#a", "../project/security.md#a"),
        ("project/contributing.md", "docs/losses.md", "../losses.md"),
        ("project/contributing.md", "SECURITY.md", "security.md"),
        ("project/contributing.md", "docs/decisions/", "../decisions/index.md"),
        ("losses.md", "samplers.md#x", "samplers.md#x"),
        ("losses.md", "https://keras.io", "https://keras.io"),
    ],
)
def test_links_lead_within_the_site(site, uri, link, expected):
    assert site.with_links_inside(f"[a]({link})", uri) == f"[a]({expected})"


def test_names_of_what_is_exported_are_links_but_not_in_code(site):
    text = "`dml.losses.ArcFace`, `dml.Learner`, `dml.nothing`\n\n```python\n`dml.Learner`\n```"
    assert site.with_references(text) == (
        "[`dml.losses.ArcFace`][dml.losses.ArcFace], [`dml.Learner`][dml.training.Learner], "
        "`dml.nothing`\n\n```python\n`dml.Learner`\n```"
    )


def test_formulas_become_mathml(site):
    html = r'<span class="arithmatex">\(a &lt; b\)</span>'
    made = site.on_page_content(html, page("mathematics.md"), None, None)
    assert "<mi>a</mi><mo>&#x0003C;</mo><mi>b</mi>" in made and r"\(" not in made
    with pytest.raises(PluginError, match="frac"):
        site.as_mathml(r"\frac{", "inline")


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        "<img src=http://example.org/a.png>",
    ],
)
def test_a_page_that_loads_from_elsewhere_is_refused(site, tag):
    with pytest.raises(PluginError, match="loads from elsewhere"):
        site.on_post_page(f"<html>{tag}</html>", page("a.md"), None)


def test_links_to_elsewhere_are_allowed(site):
    html = '<a href="https://keras.io">Keras</a><img src="assets/a.webp">'
    assert site.on_post_page(html, page("a.md"), None) == html
