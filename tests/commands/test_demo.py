"""`dml demo`: its steps and output; the steps themselves have their own tests."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import dml.commands.demo as module
from dml.cli import main
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.runs import Run
from tests.reporters import Lines
from tests.runs.running import train


class FakeRun:
    def __init__(self, path, called):
        self.path, self.called = Path(path), called
        self.index, self.report = self.path / "index", self.path / "report.html"

    def export(self):
        self.called.append(("export", str(self.path)))
        return SimpleNamespace(path=self.path / "bundle")

    def evaluation(self):
        return SimpleNamespace(path=self.path / "evaluation" / "glyphs")


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Lets the demo run in a moment; returns what it called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    called = []

    class Trainer:
        def __init__(self, recipe, reporter):
            self.name = recipe.dataset.name

        def run(self, folder, name):
            called.append(("train", self.name, folder and str(folder), name))
            return FakeRun(folder or Path("runs") / f"{name}-2", called)

    def index_images(bundle, sources, out, reporter):
        called.append(("build", str(bundle), [str(source) for source in sources], str(out)))

    def serve(path, **options):
        called.append(("serve", str(path), options["open_browser"]))

    monkeypatch.setattr("dml.runs.Trainer", Trainer)
    monkeypatch.setattr("dml.index.index_images", index_images)
    monkeypatch.setattr("dml.serve.run_server", serve)
    return called


def test_goes_the_whole_way_in_a_new_folder(steps, tmp_path):
    reporter = Lines()
    module.demo(reporter=reporter)
    assert steps == [
        ("train", "glyphs", None, "demo"),
        ("export", "runs/demo-2"),
        (
            "build",
            "runs/demo-2/bundle",
            ["runs/demo-2/evaluation/glyphs/items.parquet"],
            "runs/demo-2/index",
        ),
        ("serve", "runs/demo-2/index", True),
    ]
    assert reporter == [f"report: file://{tmp_path}/runs/demo-2/report.html"]


def test_can_stop_before_the_page(steps, tmp_path):
    reporter = Lines()
    module.demo(out=tmp_path / "mine", page=False, reporter=reporter)
    assert [step[0] for step in steps] == ["train", "export", "build"]
    assert reporter[-1] == f"search: dml serve {tmp_path}/mine/index"


def test_as_it_is_typed(steps, capsys):
    assert main(["demo", "--out", "here", "--no-page"]) == 0
    assert "search: dml serve here/index" in capsys.readouterr().out


@pytest.mark.slow
def test_the_bundle_of_a_run_on_another_backend_is_written_by_tensorflow(tmp_path, monkeypatch):
    flags = ["--dataset.classes", "12", "--dataset.samples", "6", "--training.epochs", "1"]
    flags += ["--sampler.classes_per_batch", "4", "--sampler.images_per_class", "2"]
    folder = train("glyphs", flags, tmp_path / "run")
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    bundle = module.exported(Run(folder.path))
    assert OnnxEncoder(bundle).dimension == 64
