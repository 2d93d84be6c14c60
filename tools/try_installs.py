"""Installs the built wheel with each extra in a clean environment, and uses it there.

    make dist && .venv/bin/python tools/try_installs.py
    .venv/bin/python tools/try_installs.py --python python3.13 --extras none serve train
    .venv/bin/python tools/try_installs.py --extras train --with keras==3.15.0
    .venv/bin/python tools/try_installs.py --contents

It needs dml[train] in its own environment, where it writes the bundle with which installations
without Keras search. Environments are made one after another, in a temporary folder. The exit code
is 1 if anything failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = {
    "dataset.classes": 20,
    "dataset.samples": 10,
    "dataset.size": 32,
    "backbone.filters": 8,
    "backbone.input_size": 28,
    "backbone.resize_side": 28,
    "sampler.classes_per_batch": 4,
    "training.epochs": 1,
}
TINY = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
KERAS_FREE = """
from importlib.util import find_spec
assert not any(map(find_spec, ("keras", "tensorflow", "jax", "torch")))
"""
PARQUET = """
import pyarrow, pyarrow.parquet as parquet
from pathlib import Path
paths = sorted(Path("photos").rglob("*.png"))
columns = {"image": [p.read_bytes() for p in paths], "label": [p.parent.name for p in paths]}
parquet.write_table(pyarrow.table(columns), "images.parquet")
"""
PRESET = """
import keras_hub
size = {"patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
network = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), **size)
network.save_to_preset("preset")
keras_hub.layers.ViTImageConverter(image_size=(32, 32)).save_to_preset("preset")
"""
S3 = "import fsspec; assert fsspec.filesystem('s3', anon=True)"
GS = "import fsspec; assert fsspec.filesystem('gs', token='anon')"


class Failed(Exception):
    """A command failed; the text has the command and the end of what it printed."""


@dataclass(frozen=True)
class Installation:
    """An environment with dml and an extra, and a folder to use it in.

    Args:
        bin: The environment's programs.
        folder: Where commands run; it has `bundle`, `photos` and `query.png`, which is also in
            `photos`.
    """

    bin: Path
    folder: Path

    def variables(self, **others: str) -> dict[str, str]:
        """The variables of commands: nothing of the environment that runs this script."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        return kept | {"PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"} | others

    def run(self, *command: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Runs a command, prints its time and returns what it printed.

        Raises:
            Failed: Its exit code is not 0.
        """
        words = [str(word) for word in command]
        start = time.perf_counter()
        done = subprocess.run(
            words,
            cwd=cwd or self.folder,
            env=self.variables(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise Failed(f"{shown(words)}\n{done.stdout[-2000:]}")
        report(shown(words), start)
        return done.stdout

    def python(self, code: str) -> None:
        """Runs Python code."""
        self.run("python", "-c", code)

    def train(self, backend: str = "tensorflow") -> None:
        """Trains a small network for an epoch."""
        self.run("dml", "train", "glyphs", *TINY, "--out", "run", KERAS_BACKEND=backend)


def report(what: str, start: float) -> None:
    """Prints what worked, and the seconds that it took."""
    print(f"  ok {time.perf_counter() - start:6.1f} s  {what}", flush=True)


def shown(words: list[str]) -> str:
    """Returns a command in one short line."""
    text = " ".join(words).replace(" ".join(TINY), "...").replace("\n", " ")
    return text if len(text) <= 70 else f"{text[:67]}..."


def search(at: Installation, index: str = "index", *options: str, bundle: str = "bundle") -> None:
    """Builds an index and searches for an image that it holds."""
    at.run("dml", "index", "build", bundle, "photos", "--out", index)
    found = at.run("dml", "search", index, "query.png", "-k", "1", "--json", *options)
    if json.loads(found)[0]["neighbours"][0]["similarity"] < 0.999:
        raise Failed(f"the image itself is not the nearest one: {found}")


def serve(at: Installation) -> None:
    """Starts the service and sends it a query."""
    start = time.perf_counter()
    service = subprocess.Popen(
        ["dml", "serve", "index", "--port", "0"],
        cwd=at.folder,
        env=at.variables(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = service.stdout.readline().split(" ")[0]
        query = urllib.request.Request(
            f"{address}search?k=1", (at.folder / "query.png").read_bytes()
        )
        with urllib.request.urlopen(query, timeout=60) as response:
            response.read()
    except (ValueError, OSError) as error:
        raise Failed(f"dml serve: {error}") from error
    finally:
        service.terminate()
        service.wait()
    report("dml serve index, one request", start)


def keras_free(at: Installation) -> None:
    at.python(KERAS_FREE)
    search(at)


def serving(at: Installation) -> None:
    keras_free(at)
    serve(at)


def workflow(at: Installation) -> None:
    """From training to a search, step by step and by one command."""
    at.run("dml", "run", "glyphs", *TINY, "--out", "whole")
    at.train()
    at.run("dml", "evaluate", "run")
    at.run("dml", "export", "run", "--out", "own")
    search(at, bundle="own")


def hugging_face(at: Installation) -> None:
    at.python("import huggingface_hub")
    at.python(PARQUET)
    at.run("dml", "data", "check", "hf:images.parquet")


def hub(at: Installation) -> None:
    at.python(PRESET)
    backbone = ["--backbone.name", "hub", "--backbone.preset", "preset"]
    small = ["--training.epochs", "1", "--head_stage.epochs", "1", "--sampler.batch_size", "8"]
    at.run("dml", "train", "photos", *backbone, *small, "--out", "run")


def remote(at: Installation) -> None:
    """Embeds an image of a server on this machine."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=at.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = server.stdout.readline().split("port ")[1].split(" ")[0]
        url = f"http://127.0.0.1:{port}/query.png"
        at.run("dml", "embed", "bundle", url, "--out", "vectors.parquet")
    finally:
        server.terminate()
        server.wait()


def ray(at: Installation) -> None:
    at.run("dml", "embed", "bundle", "photos", "--out", "vectors.parquet", "--engine", "ray")


def milvus(at: Installation) -> None:
    search(at, "photos.db", "--bundle", "bundle")


def tune(at: Installation) -> None:
    at.run("dml", "tune", "glyphs", "--trials", "2", *TINY, "--out", "study")


def wandb(at: Installation) -> None:
    tracked = ("--training.trackers", "wandb", "--out", "tracked")
    at.run("dml", "train", "glyphs", *TINY, *tracked, WANDB_MODE="offline")
    assert list((at.folder / "tracked").glob("wandb/offline-run-*"))


def site(at: Installation) -> None:
    at.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", at.folder / "site", cwd=ROOT)


def tests(at: Installation) -> None:
    """Runs some of the quick tests of the checkout against what is installed."""
    pytest = ["python", "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    at.run(*pytest, "tests/test_cli.py", "tests/losses", "tests/training", cwd=ROOT)


CHECKS = {
    "none": keras_free,
    "serve": serving,
    "train": workflow,
    "tune": tune,
    "wandb": wandb,
    "hf": hugging_face,
    "hub": hub,
    "remote": remote,
    "s3": lambda at: at.python(S3),
    "gs": lambda at: at.python(GS),
    "ray": ray,
    "milvus": milvus,
    "jax": lambda at: at.train("jax"),
    "torch": lambda at: at.train("torch"),
    "gpu": lambda at: at.train(),
    "jax-gpu": lambda at: at.train("jax"),
    "docs": site,
    "test": tests,
}


def wheel_problems(names: set[str], source: Path = ROOT / "src") -> Iterator[str]:
    """Yields what a wheel lacks, and what it should not hold."""
    files = {p for p in (source / "dml").rglob("*") if p.is_file() and p.suffix != ".pyc"}
    expected = {p.relative_to(source).as_posix() for p in files}
    held = {name for name in names if ".dist-info/" not in name}
    yield from (f"lacks {name}" for name in sorted(expected - held))
    yield from (f"holds {name}" for name in sorted(held - expected))
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        yield "lacks LICENSE"


def sdist_problems(names: set[str], source: Path = ROOT / "src") -> Iterator[str]:
    """Yields what a source distribution lacks, and what it should not hold."""
    inner = {name.partition("/")[2] for name in names}
    package = {name.removeprefix("src/") for name in inner if name.startswith("src/dml/")}
    yield from wheel_problems(package | {"x.dist-info/licenses/LICENSE"}, source)
    others = {name for name in inner if not name.startswith(("src/dml/", "src/dml.egg-info/"))}
    wanted = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "PKG-INFO", "setup.cfg"}
    yield from (f"lacks {name}" for name in sorted(wanted - others))
    yield from (f"holds {name}" for name in sorted(others - wanted))


def problems(folder: Path) -> list[str]:
    """Returns what is wrong with the wheel and the source distribution in a folder."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        found = [f"{wheel.name} {problem}" for problem in wheel_problems(set(archive.namelist()))]
    with tarfile.open(sdist) as archive:
        names = {member.name for member in archive if member.isfile()}
    return found + [f"{sdist.name} {problem}" for problem in sdist_problems(names)]


def write_inputs(folder: Path) -> None:
    """Writes a bundle and drawings to search among, with the environment that runs this."""
    import cv2

    import dml

    recipe = dml.load_recipe("glyphs", TINY)
    dml.Trainer(recipe).run(folder / "trained").export(out=folder / "bundle")
    items = recipe.dataset.items()
    for i in range(40):
        image = cv2.cvtColor(dml.images.read_image(items.paths[i]), cv2.COLOR_RGB2BGR)
        path = folder / "photos" / f"character {items.labels[i]}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    (folder / "query.png").write_bytes(path.read_bytes())


def size_of(folder: Path) -> float:
    """Returns the GB of a folder's files."""
    return sum(p.stat().st_size for p in folder.rglob("*") if not p.is_symlink()) / 1e9


def try_installation(python: str, requirements: list[str], extra: str, inputs: Path) -> bool:
    """Makes an environment, uses dml in it, prints each step, and removes the environment.

    Args:
        python: The interpreter.
        requirements: What pip installs.
        extra: The extra, whose check is run.
        inputs: What `write_inputs` has written.

    Returns:
        Whether all worked.
    """
    print(f"\n{python}, {extra}", flush=True)
    with tempfile.TemporaryDirectory(prefix="dml-install-") as root:
        environment = Path(root, "environment")
        at = Installation(environment / "bin", Path(root, "work"))
        at.folder.mkdir()
        for name in ("bundle", "photos", "query.png"):
            at.folder.joinpath(name).symlink_to(inputs / name)
        subprocess.run([python, "-m", "venv", environment], check=True)
        try:
            pip = ["python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            at.run(*pip, *requirements)
            at.run("python", "-m", "pip", "check")
            at.run("dml", "--help")
            at.run("python", "-m", "dml", "--version")
            CHECKS[extra](at)
        except Failed as failure:
            print(f"  FAILED: {failure}", flush=True)
            return False
        print(f"  {size_of(environment):.1f} GB", flush=True)
        return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="default: dist/")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters")
    parser.add_argument("--extras", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--with", nargs="+", default=[], dest="others", help="more requirements")
    parser.add_argument("--contents", action="store_true", help="only look into the two files")
    options = parser.parse_args()
    found = problems(options.dist)
    print("\n".join(found) or "the wheel and the source distribution hold what they should")
    if found or options.contents:
        return bool(found)
    (wheel,) = options.dist.resolve().glob("*.whl")
    failed = []
    with tempfile.TemporaryDirectory(prefix="dml-install-") as inputs:
        write_inputs(Path(inputs))
        for python in options.python:
            for extra in options.extras:
                name = str(wheel) if extra == "none" else f"{wheel}[{extra}]"
                if not try_installation(python, [name, *options.others], extra, Path(inputs)):
                    failed.append(f"{python} {extra}")
    print(f"\nfailed: {', '.join(failed) or 'nothing'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
