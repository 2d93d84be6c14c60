"""What `mkdocs build` adds to the pages of docs/, as MkDocs calls it.

Makes the reference of commands, recipes and Python from the code, so that none of it is typed;
makes pages of the notebooks; takes the texts of the repository's root into the site; turns formulas
into MathML, which browsers show without a script; and refuses a page that loads anything from
elsewhere.

https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import argparse
import base64
import dataclasses
import html
import importlib
import inspect
import json
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["COLUMNS"] = "82"  # of the commands' help: what fits beside the table of contents

from griffe import Extension
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

import dml
from dml.cli import build_parser, find_commands
from dml.losses import LOSSES
from dml.recipe import FAMILIES, SECTIONS, options_of, shipped_recipes, toml_value
from dml.recipe._schema import documentation_of, group_of

ROOT = Path(__file__).parents[1]
ROOT_TEXTS = ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY")
PLURALS = {"loss": "losses"}
ALIKE = 4  # parts with the same options from which these are written once


def on_files(files, config):
    """Adds the pages that are made from the code, notebooks and the repository's root."""
    for uri, content in {**pages(), **notebooks()}.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Returns a page's text with what it takes from the code, and with links within the site."""
    uri = page.file.src_uri
    markdown = re.sub(r"<!-- loss (\w+) -->", lambda match: loss_facts(match[1]), markdown)
    return with_links_inside(with_references(markdown), uri)


def on_page_content(content, page, config, files):
    """Returns a page's HTML with its formulas as MathML, and without dashes after no name."""
    content = re.sub(r'(<li class="doc-section-item field-body">)\s*–\s*(?=<div)', r"\1", content)
    for kind, (opening, closing) in {"inline": (r"\(", r"\)"), "block": (r"\[", r"\]")}.items():
        pattern = (
            rf'(<(?:span|div) class="arithmatex">){re.escape(opening)}(.+?){re.escape(closing)}'
        )
        content = re.sub(
            pattern,
            lambda match, kind=kind: match[1] + as_mathml(html.unescape(match[2]), kind),
            content,
            flags=re.DOTALL,
        )
    return content


def on_post_page(output, page, config):
    """Refuses a page that loads a file from elsewhere, as it would not be seen without a network.

    Raises:
        PluginError: It does.
    """
    for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", output):
        if re.search(r'(?:src|href)="?(?:https?:)?//', tag) and 'rel="canonical"' not in tag:
            raise PluginError(f"{page.file.src_uri} loads from elsewhere: {tag}")
    return output


class DocstringSections(Extension):
    """Gives docstrings the sections that mkdocstrings knows, and links."""

    def on_instance(self, *, obj, **others):
        if obj.docstring:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            text = text.replace("\nCall arguments:\n", "\nOther Args: Call arguments\n")
            obj.docstring.value = with_references(text)


def pages() -> dict[str, str]:
    """Returns {path in docs/: text} of the pages that are made here."""
    return {
        "reference/commands.md": commands(),
        "reference/recipe.md": sections(),
        "reference/shipped.md": shipped(),
        **{f"reference/{plural_of(section)}.md": family(section) for section in families()},
        **{f"api/{name}.md": package(name) for name in packages()},
        **{f"project/{name.lower()}.md": (ROOT / f"{name}.md").read_text() for name in ROOT_TEXTS},
        "decisions/index.md": decisions(),
    }


def commands() -> str:
    """Returns the page of all commands: what `--help` prints."""
    parser = build_parser(find_commands())
    parts = ["# Commands", "What `dml COMMAND --help` prints.", *help_of("dml", parser, level=2)]
    return "\n\n".join(parts)


def help_of(name: str, parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Yields the help of a command and of its subcommands."""
    yield f"{'#' * level} {name}\n\n```text\n{parser.format_help().rstrip()}\n```"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, subparser in action.choices.items():
                below = level if name == "dml" else level + 1
                yield from help_of(f"{name} {inner}", subparser, below)


def families() -> list[str]:
    """Returns the sections that name a part; an auxiliary loss is a loss."""
    return [section for section in FAMILIES if section != "auxiliary_loss"]


def plural_of(section: str) -> str:
    return PLURALS.get(section, f"{section}s")


def sections() -> str:
    """Returns the page of a recipe's sections and of the options of those that name no part."""
    lines = [
        "# Sections and options",
        "A recipe has one section for each of these. Every option is also a flag, "
        "`--section.option value`. [Recipes and options](../recipes.md) shows how they are used.",
        "| section | names | default |\n|---|---|---|\n"
        + "\n".join(section_row(section) for section in SECTIONS),
    ]
    for section in SECTIONS:
        if section not in FAMILIES:
            part = group_of(section)
            lines += [f"## {section}", *described(part, section)]
    return "\n\n".join(lines)


def section_row(section: str) -> str:
    if section not in FAMILIES:
        return f"| [`{section}`](#{section}) | options only | |"
    plural = plural_of("loss" if section == "auxiliary_loss" else section)
    default = FAMILIES[section].default
    return f"| `{section}` | one of the [{plural}]({plural}.md) | `{default}` |"


def family(section: str) -> str:
    """Returns the page of a family's parts: what each does, and its options."""
    parts = sorted(FAMILIES[section].parts().items())
    title = plural_of(section).replace("_", " ").capitalize()
    lines = [
        f"# {title}",
        f'`name = "..."` in the section `[{section}]` of a recipe, or `--{section}.name ...`. '
        f"`dml parts {plural_of(section)}` prints the same list.",
    ]
    alike: dict[tuple, list[tuple[str, type]]] = {}
    for name, part in parts:
        alike.setdefault(options_table(part, section), []).append((name, part))
    for table, group in alike.items():
        if len(group) < ALIKE:
            for name, part in group:
                lines += [f"## {name}", *described(part, section)]
            continue
        names = ", ".join(f"`{name}`" for name, _ in group)
        lines += [f"## {group[0][0]} and {len(group) - 1} others", names]
        licences = sorted({getattr(part, "licence", "") for _, part in group} - {""})
        lines += [f"Licences of the weights: {'; '.join(licences)}."] if licences else []
        lines += [table]
    return "\n\n".join(lines)


def described(part: type, section: str) -> Iterator[str]:
    """Yields what a part does, and its options."""
    yield summary_of(part)
    if licence := getattr(part, "licence", ""):
        yield f"Licence of the weights: {licence}"
    yield options_table(part, section)


def options_table(part: type, section: str) -> str:
    """Returns the options of a part with their defaults and what they do."""
    rows, texts = [], documentation_of(part)
    for option in options_of(part):
        if option.default is dataclasses.MISSING:
            default = "required"
        else:
            default = "none" if option.default is None else toml_value(option.default)
        text = texts.get(option.name, "").replace("|", "\\|")
        rows.append(f"| `{section}.{option.name}` | `{default}` | {text} |")
    if not rows:
        return "No options."
    return "| option | default | |\n|---|---|---|\n" + "\n".join(rows)


def shipped() -> str:
    """Returns the page of the shipped recipes; those of a setting on one data set only by name."""
    texts = shipped_recipes()
    lines = [
        "# Shipped recipes",
        "`dml train NAME` trains one, `dml recipes NAME` prints it with every option, and "
        '`extends = "NAME"` builds on it. What `expect` and `source` say comes from each recipe\'s '
        "header.",
        "| recipe | |\n|---|---|\n"
        + "\n".join(f"| `{name}` | {title_of(text)} |" for name, text in texts.items()),
        "## Published results",
        "By the papers' authors or as the source quotes them, not by this project; each recipe "
        "says below where it differs.",
        "| recipe | published | source |\n|---|---|---|\n" + "\n".join(published(texts)),
    ]
    for name, text in texts.items():
        if f'extends = ["{name.partition("_")[0]}_paper"' not in text:
            lines.append(f"## {name}\n\n```toml\n{text.rstrip()}\n```")
    return "\n\n".join(lines)


def published(texts: Mapping[str, str]) -> Iterator[str]:
    """Yields the rows of the results that were published, in the order of data sets and settings.

    Args:
        texts: {name of a recipe: its text}.
    """
    rows = []
    for setting, text in texts.items():
        source = field_of(text.partition("\n\n")[0], "source")
        for part in text.split("\n[on.")[1:]:
            dataset, _, rest = part.partition("]\n")
            expected = field_of(rest.partition("\n\n")[0], "expect")
            if expected and not expected.startswith("not published"):
                rows.append(f"| `{dataset}_{setting}` | {expected} | {source} |")
    yield from sorted(rows)


def field_of(header: str, name: str) -> str:
    """Returns the text of the comment `# name: text` in a header, with the lines that follow it."""
    found = re.search(rf"^# {name}: (.*(?:\n#     .*)*)", header, re.MULTILINE)
    return re.sub(r"\n#\s+", " ", found[1]) if found else ""


def title_of(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ")


def packages() -> list[str]:
    """Returns the names of the public packages and modules."""
    names = [name for name in dml.__all__ if inspect.ismodule(getattr(dml, name))]
    return ["dml", *(f"dml.{name}" for name in sorted(names))]


def exported(package_name: str) -> list[str]:
    """Returns what a package exports, without its own packages."""
    module = resolved(package_name)
    own = [name for name, one in vars(module).items() if is_defined_in(one, package_name)]
    names = sorted(getattr(module, "__all__", own), key=str.lower)
    return [name for name in names if not inspect.ismodule(getattr(module, name))]


def home_of(package_name: str, name: str) -> str:
    """Returns the package on whose page a name is described: `dml` has names of other packages."""
    if package_name == "dml":
        one = getattr(dml, name)
        for other in packages()[1:]:
            if name in exported(other) and getattr(resolved(other), name) is one:
                return other
    return package_name


def is_defined_in(one: object, module: str) -> bool:
    return inspect.isclass(one) and one.__module__ == module


def package(name: str) -> str:
    """Returns the page of a package: a line for mkdocstrings for everything that it exports."""
    module = resolved(name)
    lines = [f"# {name}", inspect.getdoc(module) or ""]
    elsewhere = [(one, home_of(name, one)) for one in exported(name)]
    rows = [
        f"| [`dml.{one}`][{home}.{one}] | {summary_of(getattr(module, one))} |"
        for one, home in elsewhere
        if home != name
    ]
    lines += ["| | |\n|---|---|\n" + "\n".join(rows)] if rows else []
    for one in (one for one, home in elsewhere if home == name):
        found = getattr(module, one)
        if callable(found) and not isinstance(found, dict):
            lines.append(f"::: {name}.{one}")
        else:
            lines.append(f"## {one}\n\n{constant(found)}")
    return "\n\n".join(lines)


def summary_of(one: object) -> str:
    """Returns the first sentence of a docstring."""
    return " ".join((inspect.getdoc(one) or "").partition("\n\n")[0].split())


def constant(value: object) -> str:
    """Returns what a registry or another constant holds."""
    if isinstance(value, dict):
        kind = "The registered parts" if hasattr(value, "register") else "A dictionary"
        return f"{kind}, by name: " + ", ".join(f"`{name}`" for name in sorted(value)) + "."
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) + "."
    return f"An instance of `{type(value).__name__}`."


def decisions() -> str:
    """Returns the list of the decision records."""
    lines = ["# Design decisions", "Choices that someone may question, and the reasons for them."]
    paths = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    return "\n\n".join(
        [*lines, "\n".join(f"- [{title_of(p.read_text())}]({p.name})" for p in paths)]
    )


def notebooks() -> dict[str, str | bytes]:
    """Returns {path in docs/: content} of the notebooks' pages and of the pictures in them."""
    made: dict[str, str | bytes] = {}
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        made |= notebook(path.stem, json.loads(path.read_text()))
    return made


def notebook(name: str, content: dict) -> dict[str, str | bytes]:
    """Returns {path in docs/: content} of a notebook's page and pictures.

    A cell's `alt` in its metadata is the text for those who do not see its picture.
    """
    parts, pictures = [], {}
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\(([\w-]+)\.ipynb\)", r"(\1.md)", source))
            continue
        parts.append(code_block(source))
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                parts.append(text_block("".join(output["text"])))
            elif "image/png" in output["data"]:
                picture = f"{name}-{len(pictures) + 1}.png"
                pictures[f"notebooks/{picture}"] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![{cell['metadata']['alt']}]({picture})")
            else:
                parts.append(text_block("".join(output["data"]["text/plain"])))
    parts.append(f"This page is [a notebook]({name}.ipynb), which you can download and run.")
    return {f"notebooks/{name}.md": "\n\n".join(parts), **pictures}


def code_block(source: str) -> str:
    """Returns a cell's code as a block; that of a file with the file's name above it."""
    if match := re.match(r"%%writefile (\S+)\n", source):
        language = {".py": "python"}.get(Path(match[1]).suffix, Path(match[1]).suffix[1:])
        return f'```{language} title="{match[1]}"\n{source[match.end() :].rstrip()}\n```'
    return f"```python\n{source.rstrip()}\n```"


def text_block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def loss_facts(name: str) -> str:
    """Returns what a loss does, its papers, its class and the defaults of its options."""
    part = LOSSES[name]
    papers = references_of(part)
    cited = f" {', '.join(papers)}." if papers else ""
    options = ", ".join(
        f"`{option.name} = {toml_value(option.default)}`" for option in options_of(part)
    )
    return (
        f"{summary_of(part)}{cited}\n\n`{name}`, `dml.losses.{part.__name__}`"
        f"{f'; {options}' if options else ''}.\n"
    )


def references_of(part: type) -> list[str]:
    """Returns the entries under `References:` in a class's docstring."""
    section = (inspect.getdoc(part) or "").partition("\nReferences:\n")[2].partition("\n\n")[0]
    return re.findall(r"^ +- (.+)$", section, flags=re.MULTILINE)


def with_references(markdown: str) -> str:
    """Returns a text in which the names of what is exported are links to the reference."""
    blocks = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    for i in range(0, len(blocks), 2):
        blocks[i] = re.sub(r"(?<![\[`])`(dml(?:\.\w+)+)`(?![\]`])", reference, blocks[i])
    return "".join(blocks)


def reference(match: re.Match) -> str:
    """Returns a link to a name's entry, or the name itself if it has none."""
    path, _, last = match[1].rpartition(".")
    if path in packages() and last in exported(path) and callable(getattr(resolved(path), last)):
        return f"[`{match[1]}`][{home_of(path, last)}.{last}]"
    return match[0]


def resolved(name: str):
    return importlib.import_module(name)


def with_links_inside(markdown: str, uri: str) -> str:
    """Returns a text whose links to files of the repository's root lead to the site's pages."""
    here = posixpath.dirname(uri)
    in_root = uri in {f"project/{name.lower()}.md" for name in ROOT_TEXTS}

    def moved(match):
        target = match[1] if in_root else posixpath.normpath(posixpath.join("docs", here, match[1]))
        name = target.removesuffix(".md")
        if name in ROOT_TEXTS:
            target = f"project/{name.lower()}.md"
        elif in_root and target.startswith("docs/"):
            target = target.removeprefix("docs/")
            target = f"{target}index.md" if target.endswith("/") else target
        else:
            return match[0]
        return f"]({posixpath.relpath(target, here or '.')}{match[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", moved, markdown)


def as_mathml(tex: str, kind: str) -> str:
    """Returns a formula as MathML.

    Raises:
        PluginError: It can't be read.
    """
    try:
        return convert(tex.strip(), display=kind)
    except Exception as error:
        raise PluginError(f"{tex}: {type(error).__name__}: {error}") from error
