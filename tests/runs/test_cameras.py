"""Runs that leave a query's own camera or sequence out of its search."""

import shutil

import numpy as np
import pytest

from dml.errors import DataError, OptionError
from dml.evaluation import retrieval
from dml.runs import Run
from dml.runs._comparison import read_scored_runs
from dml.runs._evaluating import read_evaluated
from tests.runs.running import SMALL, Lines, evaluate, rebuild, resume, train, words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]

OPTIONS = {
    **{name: value for name, value in SMALL.items() if not name.startswith("dataset.")},
    "dataset.validation_fraction": 0.4,
    "backbone.name": "conv4",
    "backbone.weights": "none",
    "sampler.name": "m_per_class",
    "training.epochs": 1,
    "training.stage": "full",
    "training.interpolate": "none",
}


def write_table(path, camera):
    """Writes a table of 12 drawn characters, six times each, with a column `camera`."""
    lines = ["path,label,split,camera"]
    for number in range(12):
        for sample in range(6):
            drawing = f'"glyph:seed=0,size=32,class={number},sample={sample}"'
            split = "test" if number >= 6 else "train"
            lines.append(f"{drawing},{number},{split},{camera(number, sample)}")
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two cameras, of which one took all images of the last character."""
    root = tmp_path_factory.mktemp("cameras")
    table = write_table(root / "t.csv", lambda number, sample: sample % 2 * (number < 11))
    lines = Lines()
    options = {**OPTIONS, "evaluation.exclude": "camera"}
    return train("table", words({**options, "dataset.root": table}), root / "run", lines), lines


def test_validation_test_and_report_leave_a_querys_camera_out(run):
    folder, lines = run
    evaluation = Run(folder.path).evaluation()
    items, vectors = read_evaluated(folder, evaluation)[0].items, evaluation.vectors()
    names = np.array([items.class_names[code] for code in items.labels])
    keys = [(name, camera) for name, camera in zip(names, items.cameras, strict=True)]
    expected = retrieval(vectors, names, ks=(1,), exclude=keys)
    assert expected.recall[1] != retrieval(vectors, names, ks=(1,)).recall[1]
    assert evaluation.exclude == "camera" and evaluation.metrics["R@1"].value == expected.recall[1]
    assert evaluation.excluded == expected.excluded == 6
    assert any("zero-shot without a query's own camera: 36 queries" in line for line in lines)
    page = folder.report.read_text()
    assert "zero-shot without a query&#39;s own camera protocol" in page
    rebuild(folder.path)
    assert folder.report.read_text() == page
    resume(folder.path)
    assert Run(folder.path).evaluation().metrics == evaluation.metrics


def test_other_protocols_are_not_compared(run, tmp_path):
    folder, _ = run
    evaluation = Run(folder.path).evaluation()
    other = tmp_path / "other"
    shutil.copytree(folder.path, other)
    measured = evaluate(other, options=["--evaluation.exclude", "none"])
    assert measured["exclude"] == "none" and measured["excluded"] == 0
    assert measured["metrics"]["R@1"]["value"] != evaluation.metrics["R@1"].value
    assert not measured["frozen"]  # it was measured otherwise
    with pytest.raises(DataError, match=r"evaluated with evaluation\.exclude = none, and .* ca"):
        read_scored_runs([str(folder.path), str(other)])
    evaluate(other)
    (first, _) = read_scored_runs([str(folder.path), str(other)])
    assert first.means["R@1"] == evaluation.metrics["R@1"].value


def test_what_can_not_be_left_out_is_refused_before_an_image_is_read(run, tmp_path, monkeypatch):
    def read(*_, **__):
        raise AssertionError("the images were read")

    monkeypatch.setattr("dml.datasets._recorded.image_digests", read)
    monkeypatch.setattr("dml.runs._splits.image_digests", read)
    table = write_table(tmp_path / "t.csv", lambda number, sample: 1)
    for on in (None, table):
        with pytest.raises(OptionError, match="is sequence, but the data set has no sequences"):
            evaluate(run[0].path, on, ["--evaluation.exclude", "sequence"])


def test_what_can_not_be_left_out_is_refused_before_the_training(tmp_path):
    table = write_table(tmp_path / "t.csv", lambda number, sample: 1)
    options = {**OPTIONS, "dataset.root": table, "evaluation.exclude": "sequence"}
    with pytest.raises(OptionError, match="is sequence, but the data set has no sequences: give"):
        train("table", words(options), tmp_path / "run")
    options["evaluation.exclude"] = "camera"
    with pytest.raises(OptionError, match=r"evaluation\.exclude leaves no query of the valida"):
        train("table", words(options), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(OptionError, match="exclude must be one of none, camera, sequence"):
        train("table", words({**options, "evaluation.exclude": "cam"}), tmp_path / "run")
