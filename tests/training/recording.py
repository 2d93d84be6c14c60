"""A small learner, and the recording of its epochs as Keras would go through them."""

import numpy as np

from dml.backbones import Conv4
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.losses import ProxyAnchor
from dml.reporting import TrainingProgress
from dml.training._callbacks import RunRecorder, Validation
from dml.training._checkpoint import TrainingState
from dml.training._stopwatch import Stopwatch
from dml.training.learner import Learner
from tests.reporters import Lines

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
    learner.compile(run_eagerly=True)
    return learner


def kept(model):
    return model.encoder.variables


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self):
        return self.now


def recorder(folder, scores=None, model=None, state=None, every=1.0, patience=0, **changes):
    """Returns a recorder whose validations give these scores, and the lines that it reports."""
    lines, remaining = Lines(), iter(scores or [])
    validation = Validation(lambda: next(remaining), every, patience) if scores else None
    model = model or learner()
    options = {
        "epochs": 9,
        "steps": 4,
        "stopwatch": Stopwatch(batch_size=30, clock=Clock()),
        "progress": TrainingProgress(),
        **changes,
    }
    made = RunRecorder(
        folder, state or TrainingState(), kept(model), validation, reporter=lines, **options
    )
    made.set_model(model)
    return made, lines


def end_epochs(recorder, count, seconds=0.0, then=(), **logs):
    """Goes through epochs as Keras does; each batch takes some seconds.

    Args:
        recorder: The recorder.
        count: Of epochs.
        seconds: That a batch takes.
        then: Callbacks after it, of the ends of epochs.
        **logs: Of each epoch.
    """
    recorder.model.stop_training = False
    for epoch in range(count):
        recorder.on_epoch_begin(epoch)
        for batch in range(recorder.steps):
            recorder.on_train_batch_begin(batch)
            recorder.stopwatch._clock.now += seconds
            recorder.on_train_batch_end(batch, {"loss": 1.5})
            if recorder.model.stop_training:
                break
        for callback in (recorder, *then):
            callback.on_epoch_end(epoch, {**LOGS, **logs})
        if recorder.model.stop_training:
            break
