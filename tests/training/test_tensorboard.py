"""Scalars for TensorBoard, also where a training goes on."""

import pytest

from dml._storage.run_folder import RunFolder
from dml.training._tensorboard import TensorBoardScalars


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


def test_writes_scalars_for_tensorboard(folder):
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    with TensorBoardScalars(folder.tensorboard, steps=8) as board:
        assert not folder.tensorboard.exists()  # a stage without a row leaves none
        board.write({"epoch": 0.25, "val_recall_at_1": 0.5})
        board.write({"epoch": 1, "val_recall_at_1": 0.75, "loss": 1.5})
    found = EventAccumulator(str(folder.tensorboard)).Reload()
    assert sorted(found.Tags()["tensors"]) == ["epoch", "loss", "val_recall_at_1"]
    assert [event.step for event in found.Tensors("val_recall_at_1")] == [2, 8]
    with TensorBoardScalars(folder.tensorboard, steps=8) as board:  # goes on after epoch 0
        board.write({"epoch": 0.5, "val_recall_at_1": 0.25})
    found = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [event.step for event in found.Tensors("val_recall_at_1")] == [2, 4]
