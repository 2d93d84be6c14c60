"""The processors that the batches share."""

from dml.serve import ServiceOptions


def test_workers_do_not_share_processors(monkeypatch):
    for processors, threads in ((1, 1), (2, 1), (3, 1), (4, 2), (16, 14)):
        monkeypatch.setattr("os.cpu_count", lambda count=processors: count)
        assert ServiceOptions(workers=3).threads_per_batch == threads
