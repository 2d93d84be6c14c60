"""A run on parts of photos is the run on files that hold these parts."""

import re

import cv2
import numpy as np
import pytest

from dml.images._strokes import render
from dml.runs import Run
from tests.runs.running import SMALL, evaluate, resume, train, words

pytestmark = pytest.mark.usefixtures("eager_training")

EACH, SIDE = 6, 32
OPTIONS = {
    **{name: value for name, value in SMALL.items() if not name.startswith("dataset.")},
    "dataset.test_fraction": 0.5,
    "dataset.validation_fraction": 0.4,
    "backbone.name": "conv4",
    "backbone.weights": "none",
    "backbone.input_size": 16,
    "backbone.resize_side": 16,
    "sampler.name": "m_per_class",
    "training.epochs": 1,
    "training.stage": "full",
    "training.interpolate": "none",
}


def write_photos(root):
    """Writes a photo of six drawings for each class, and each drawing as a file, and two tables."""
    boxes, files = ["path,label,x0,y0,x1,y1"], ["path,label"]
    for number in range(12):
        drawings = [render(number, sample, SIDE, seed=0) for sample in range(EACH)]
        cv2.imwrite(str(root / f"{number}.png"), np.concatenate(drawings, axis=1)[..., ::-1])
        for sample, drawing in enumerate(drawings):
            cv2.imwrite(str(root / f"{number}-{sample}.png"), drawing[..., ::-1])
            left = sample * SIDE
            boxes.append(f"{number}.png,{number},{left},0,{left + SIDE},{SIDE}")
            files.append(f"{number}-{sample}.png,{number}")
    (root / "boxes.csv").write_text("\n".join(boxes))
    (root / "files.csv").write_text("\n".join(files))


def shown(folder):
    return re.findall(r"data:image/jpeg;base64,[^\"\']+", folder.report.read_text())


@pytest.mark.slow
def test_the_vectors_metrics_and_pages_are_those_of_cut_files(tmp_path):
    write_photos(tmp_path)
    folders = [
        train(
            "table", words({**OPTIONS, "dataset.root": tmp_path / f"{name}.csv"}), tmp_path / name
        )
        for name in ("boxes", "files")
    ]
    boxes, files = (Run(folder.path).evaluation() for folder in folders)
    np.testing.assert_array_equal(boxes.vectors(), files.vectors())
    assert boxes.metrics == files.metrics and boxes.thresholds == files.thresholds
    assert boxes.seen == {"classes": 0, "images": 0}
    logs = [Run(folder.path).log()[0]["val_recall_at_1"] for folder in folders]
    assert logs[0] == logs[1]
    assert shown(folders[0]) == shown(folders[1]) and len(shown(folders[0])) > 10

    resume(folders[0].path)  # nothing is left to train
    assert Run(folders[0].path).evaluation().metrics == boxes.metrics
    table = tmp_path / "boxes.csv"
    table.write_text(table.read_text().replace(",0,0,32,32", ",0,0,31,32"))
    assert evaluate(folders[0].path)["since_training"]["missing"] == 12
