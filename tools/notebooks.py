"""Runs the notebooks of docs/notebooks and stores what their cells show: `make notebooks`.

They are run without Jupyter: what a cell prints, the value of its last expression and its figures
are what Jupyter would show, and `%%writefile` is the only magic. tests/test_notebooks.py runs them
in the same way, and tools/site_pages.py makes the site's pages of them.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
WRITEFILE = "%%writefile "


def run_notebook(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """Runs a notebook's code in the current folder and stores in its cells what they show.

    Args:
        notebook: As read from its file; the outputs of its cells are replaced.
        name: The name in tracebacks.

    Returns:
        The variables at the end.
    """
    known: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        cell["execution_count"] = number
        cell["outputs"] = run_cell("".join(cell["source"]), known, f"{name}, cell {number}")
    return known


def run_cell(source: str, known: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Runs a cell and returns its outputs in the notebook format."""
    import matplotlib.pyplot as plt

    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        if source.startswith(WRITEFILE):
            path, _, text = source.removeprefix(WRITEFILE).partition("\n")
            Path(path).write_text(text)
            print(f"Writing {path}")
        else:
            tree = ast.parse(source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, name, "exec"), known)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), name, "eval"), known)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines_of(printed)})
    if value is not None:
        outputs.append(shown("execute_result", {"text/plain": [repr(value)]}))
    for number in plt.get_fignums():
        image = io.BytesIO()
        plt.figure(number).savefig(image, format="png", bbox_inches="tight", dpi=80)
        text = base64.b64encode(image.getvalue()).decode()
        outputs.append(shown("display_data", {"image/png": text}))
    plt.close("all")
    return outputs


def lines_of(printed: io.StringIO) -> list[str]:
    return printed.getvalue().splitlines(keepends=True)


def shown(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": kind, "data": data, "metadata": {}}


def main() -> None:
    import matplotlib

    matplotlib.use("agg")
    for path in [Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run_notebook(notebook, path.name)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
