"""What happens around the epochs: checkpoints, log, the best epoch, alarms."""

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.callbacks import Checkpoint, RunRecorder, StopAtNan, TensorBoardScalars, epoch_line
from dml.encoder import EmbeddingOptions, build_encoder
from dml.folders import RunFolder, read_json
from dml.learner import Learner
from dml.losses import ProxyAnchor
from dml.samplers import Coverage

LOGS = {
    "loss": 1.5,
    "positive_similarity": 0.8,
    "negative_similarity": 0.1,
    "effective_rank": 12.0,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")
LABELS = np.arange(8) % 4


def learner(dim=4):
    encoder = build_encoder(
        Conv4(input_size=16, resize_side=16, filters=4), EmbeddingOptions(dim=dim)
    )
    learner = Learner(encoder, ProxyAnchor(), classes=4)
    learner.compile()
    return learner


def values(model):
    return [keras.ops.convert_to_numpy(v.value) for v in Checkpoint(None).variables(model)]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


def recorder(folder, scores=None, validate_every=1, epochs=9, model=None, **options):
    """Returns a recorder whose validations give these scores, and the lines that it reports."""
    lines, remaining = [], iter(scores or [])
    validate = (lambda: {"val_recall_at_1": next(remaining)}) if scores else None
    state = {"epoch": 0, "best_epoch": None, "best_score": None}
    made = RunRecorder(folder, state, validate, validate_every, epochs, lines.append, **options)
    made.set_model(model or learner())
    return made, lines


def end_epochs(callback, count, **logs):
    for epoch in range(count):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {**LOGS, **logs})


def test_a_checkpoint_brings_back_every_variable(folder):
    model = learner()
    model.fit(IMAGES, LABELS, verbose=0)
    saved = values(model)
    Checkpoint(folder).save(model, {"epoch": 1, "best_epoch": None})
    model.fit(IMAGES, LABELS, epochs=2, verbose=0)
    assert any((a != b).any() for a, b in zip(values(model), saved, strict=True))
    other = learner()
    state = read_json(folder.checkpoint_state)
    assert state["epoch"] == 1
    for restored in (model, other):
        Checkpoint(folder).load(restored, state)
        for found, expected in zip(values(restored), saved, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_only_the_last_checkpoint_is_kept(folder):
    model = learner()
    for epoch in (1, 2, 3):
        Checkpoint(folder).save(model, {"epoch": epoch})
    assert [f.name for f in folder.checkpoints.glob("*.npz")] == ["epoch-0003.npz"]


def test_a_checkpoint_of_another_recipe_is_refused(folder):
    Checkpoint(folder).save(learner(), {"epoch": 1})
    with pytest.raises(ValueError, match="belongs to another recipe"):
        Checkpoint(folder).load(learner(dim=5), read_json(folder.checkpoint_state))


@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_a_damaged_checkpoint_is_refused(folder, keep):
    model = learner()
    Checkpoint(folder).save(model, {"epoch": 1})
    path = folder.checkpoints / "epoch-0001.npz"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"epoch-0001\.npz: the checkpoint can't be read"):
        Checkpoint(folder).load(model, read_json(folder.checkpoint_state))


def test_keeps_the_best_epoch_and_a_tie_is_not_better(folder):
    made, _ = recorder(folder, [0.3, 0.6, 0.6, 0.5])
    end_epochs(made, 4)
    assert made.state == {"epoch": 4, "best_epoch": 2, "best_score": 0.6}
    assert folder.best.exists()
    assert read_json(folder.checkpoint_state)["best_epoch"] == 2


def test_validates_every_so_many_epochs_and_after_the_last(folder):
    made, _ = recorder(folder, [0.1, 0.2, 0.3], validate_every=2, epochs=5)
    end_epochs(made, 5)
    validated = [row["epoch"] for row in folder.read_log() if "val_recall_at_1" in row]
    assert validated == [2, 4, 5]


def test_without_validation_there_is_no_best_epoch(folder):
    made, _ = recorder(folder)
    end_epochs(made, 1)
    assert made.state["best_epoch"] is None and not folder.best.exists()


def test_the_log_has_a_line_an_epoch(folder):
    model = learner()
    model.fit(IMAGES, LABELS, verbose=0)
    made, lines = recorder(folder, [0.25, 0.5], model=model, coverage=lambda e: Coverage(1, 0.9, 0))
    end_epochs(made, 2)
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [1, 2] and len(lines) == 2
    assert rows[0].items() >= {**LOGS, "val_recall_at_1": 0.25, "images_seen": 0.9}.items()
    assert "seconds" in rows[0]


def test_says_once_in_words_that_everything_collapses(folder):
    made, lines = recorder(folder)
    end_epochs(made, 3, negative_similarity=0.97, effective_rank=1.1)
    (warning,) = [line for line in lines if line.startswith("warning: ")]
    assert "collapsing" in warning and "0.97" in warning and "smaller learning rate" in warning


def test_an_ordinary_run_gets_no_warning(folder):
    made, lines = recorder(folder)
    end_epochs(made, 2)
    assert not any("warning" in line for line in lines)


def test_an_epoch_in_one_line():
    row = {**LOGS, "epoch": 3, "seconds": 61.2}
    assert epoch_line(row, 12) == (
        "epoch   3/12  loss 1.5000  similarity 0.80 in a class, 0.10 across  rank 12  61 s"
    )
    assert "  validation R@1 73.5  " in epoch_line({**row, "val_recall_at_1": 0.735}, 12)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_stops_with_the_step_and_the_last_good_checkpoint(folder, loss):
    stop = StopAtNan(folder)
    stop.on_epoch_begin(2)
    stop.on_train_batch_end(0, {"loss": 3.0})
    with pytest.raises(FloatingPointError, match="epoch 3, step 8; no epoch was finished"):
        stop.on_train_batch_end(7, {"loss": loss})
    Checkpoint(folder).save(learner(), {"epoch": 2})
    with pytest.raises(FloatingPointError, match=r"last good checkpoint is .*epoch-0002\.npz"):
        stop.on_train_batch_end(7, {"loss": loss})


def test_writes_scalars_for_tensorboard(folder):
    callback = TensorBoardScalars(folder.tensorboard)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": np.float32(1.5)})
    callback.on_train_end()
    (file,) = folder.tensorboard.iterdir()
    assert "tfevents" in file.name and b"loss" in file.read_bytes()
