"""The log of a training for TensorBoard."""

import contextlib
import functools
import time
from pathlib import Path


class TensorBoardScalars(contextlib.AbstractContextManager):
    """Writes the rows of a log for TensorBoard, on any backend, until its context ends.

    Args:
        folder: The folder of the event file, which the first row creates.
        steps: Batches in an epoch.
    """

    def __init__(self, folder: Path, steps: int):
        self.folder = folder
        self.steps = steps

    def write(self, row: dict[str, float]) -> None:
        """Writes the numbers of a row, over the batches that were trained on."""
        step = round(row["epoch"] * self.steps)
        if "_writer" not in vars(self):
            self._begin(step)
        for name, value in row.items():
            self._writer.add_scalar(name, float(value), step=step)
        self._writer.flush()

    def _begin(self, step):
        """Lets TensorBoard forget, where a training goes on, what it was told from a step on."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(self.folder))
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(step=step, wall_time=time.time(), session_log=start))
        writer.close()

    @functools.cached_property
    def _writer(self):
        from tensorboard.summary import Writer

        return Writer(str(self.folder))

    def __exit__(self, *error):
        if "_writer" in vars(self):
            self._writer.close()
