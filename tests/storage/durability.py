"""Records when files and folders are flushed to the disk, and when they are renamed."""

import os
from pathlib import Path

import pytest


class Journal:
    """Notes every `os.fsync` and rename from now on, in order.

    Args:
        monkeypatch: pytest's.
    """

    def __init__(self, monkeypatch):
        self.events = []
        fsync, replace, rename = os.fsync, os.replace, os.rename

        def noted_fsync(handle):
            status = os.fstat(handle)
            self.events.append(("fsync", status.st_ino, status.st_size))
            fsync(handle)

        def noted(move):
            def moved(source, target, **options):
                self.events.append(("rename", os.stat(source).st_ino, Path(target).name))
                move(source, target, **options)

            return moved

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "replace", noted(replace))
        monkeypatch.setattr(os, "rename", noted(rename))

    def is_flushed(self, path, events):
        """Returns whether the whole of a file or folder was flushed in some of the events."""
        status = os.stat(path)
        sizes = [event[2] for event in events if event[:2] == ("fsync", status.st_ino)]
        return bool(sizes) and (os.path.isdir(path) or sizes[-1] == status.st_size)

    def require_durable(self, path):
        """Fails unless `path` was flushed, then renamed, and then its folder flushed."""
        path = Path(path)
        renamed = ("rename", path.stat().st_ino, path.name)
        if renamed not in self.events:
            pytest.fail(f"{path.name} was not renamed to its place")
        place = len(self.events) - 1 - self.events[::-1].index(renamed)
        for inside in [path, *(path.rglob("*") if path.is_dir() else ())]:
            if not self.is_flushed(inside, self.events[:place]):
                pytest.fail(f"{inside.name} was not flushed before it was renamed")
        if not self.is_flushed(path.parent, self.events[place:]):
            pytest.fail(f"the folder of {path.name} was not flushed after it was renamed")
