"""`dml demo`: its steps and what it says; the steps themselves have tests of their own."""

from pathlib import Path

import pytest

import dml.commands.demo as module
from dml._storage.run_folder import RunFolder
from dml.cli import main
from dml.encoding.onnx_encoder import OnnxEncoder
from tests.reporters import Lines


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Lets the demo run in a moment; returns what it called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    called = []

    def train(source, out, report):
        called.append(("train", source, str(out)))
        return RunFolder(out)

    def export(run, report):
        called.append(("export", str(run)))
        return Path(run) / "bundle"

    def index_images(bundle, sources, out, reporter):
        called.append(("build", str(bundle), [str(source) for source in sources], str(out)))

    def serve(path, **options):
        called.append(("serve", str(path), options["open_browser"]))

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "export", export)
    monkeypatch.setattr("dml.index.index_images", index_images)
    monkeypatch.setattr("dml.serve.run_server", serve)
    return called


def test_goes_the_whole_way_in_a_new_folder(steps, tmp_path):
    reporter = Lines()
    module.demo(reporter=reporter)
    assert steps == [
        ("train", "glyphs", "runs/demo-2"),
        ("export", "runs/demo-2"),
        (
            "build",
            "runs/demo-2/bundle",
            ["runs/demo-2/evaluation/glyphs/items.parquet"],
            "runs/demo-2/index",
        ),
        ("serve", "runs/demo-2/index", True),
    ]
    assert reporter.lines == [f"report: file://{tmp_path}/runs/demo-2/report.html"]


def test_can_stop_before_the_page(steps, tmp_path):
    reporter = Lines()
    module.demo(out=tmp_path / "mine", page=False, reporter=reporter)
    assert [step[0] for step in steps] == ["train", "export", "build"]
    assert reporter.lines[-1] == f"search: dml serve {tmp_path}/mine/index"


def test_as_it_is_typed(steps, capsys):
    assert main(["demo", "--out", "here", "--no-page"]) == 0
    assert "search: dml serve here/index" in capsys.readouterr().out


@pytest.mark.slow
def test_the_bundle_of_a_run_on_another_backend_is_written_by_tensorflow(tmp_path, monkeypatch):
    from dml.commands.train import train

    flags = ["--dataset.classes", "12", "--dataset.samples", "6", "--training.epochs", "1"]
    flags += ["--sampler.classes_per_batch", "4", "--sampler.images_per_class", "2"]
    folder = train("glyphs", out=tmp_path / "run", flags=flags, report=lambda line: None)
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    bundle = module.exported(folder, print)
    assert OnnxEncoder(bundle).dimension == 64
