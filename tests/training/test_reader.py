"""What makes batches: the sampler's rows, and their labels."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np

from dml import _processes
from dml.samplers import MPerClass
from dml.training._reader import BatchReader

ITEMS = SimpleNamespace(labels=np.repeat(np.arange(4), 5), super_labels=None, ids=None)


class Rows(BatchReader):
    """Gives the rows themselves; the first of a batch is replaced by row 19."""

    def inputs(self, rows, places, epoch, step):
        rows[0] = 19
        return rows[places].astype("float32")[:, None] + 100 * epoch


def test_labels_are_those_of_the_rows_that_were_used():
    sampler = MPerClass(2, 3)
    reader = Rows(ITEMS, sampler, 7, None, samples=True, shape=(1,), dtype="float32")
    steps = reader.steps_per_epoch
    for number in (0, steps - 1, steps, 3 * steps + 1):
        epoch, step = divmod(number, steps)
        rows = sampler.batches(ITEMS.labels, epoch, 7)[step]
        np.testing.assert_array_equal(reader.epoch_rows(epoch)[step], rows)
        used = [19, *rows[1:]]
        inputs, targets = reader(number)
        np.testing.assert_array_equal(inputs[:, 0], np.array(used) + 100 * epoch)
        np.testing.assert_array_equal(targets["labels"], ITEMS.labels[used])
        np.testing.assert_array_equal(targets["samples"], used)
        assert targets["labels"].dtype == targets["samples"].dtype == np.int32


def test_targets_take_the_place_of_labels():
    reader = Rows(ITEMS, MPerClass(2, 3), 7, None, True, (1,), "float32", lambda y: np.eye(4)[y])
    _, targets = reader(0)
    rows = [19, *reader.epoch_rows(0)[0][1:]]
    np.testing.assert_array_equal(targets["labels"], np.eye(4)[ITEMS.labels[rows]])
    np.testing.assert_array_equal(targets["samples"], rows)


def test_each_process_makes_its_share(monkeypatch):
    made = {}
    for index in range(3):
        monkeypatch.setattr("dml._processes.process_count", lambda: 3)
        monkeypatch.setattr("dml._processes.process_index", lambda i=index: i)
        reader = Rows(ITEMS, MPerClass(2, 3), 7, None, samples=True, shape=(1,), dtype="float32")
        made[index] = reader(0)
    monkeypatch.undo()
    whole = Rows(ITEMS, MPerClass(2, 3), 7, None, samples=True, shape=(1,), dtype="float32")(0)
    inputs, targets = zip(*made.values(), strict=True)
    np.testing.assert_array_equal(np.concatenate(inputs), whole[0])
    for name in ("labels", "samples"):
        shares = [share[name] for share in targets]
        assert [len(share) for share in shares] == [2, 2, 2]
        np.testing.assert_array_equal(np.concatenate(shares), whole[1][name])


def test_readers_go_on_while_the_first_process_works_alone(monkeypatch):
    monkeypatch.setattr(_processes, "_joined", SimpleNamespace(index=0, count=3))
    monkeypatch.setattr(_processes, "_broadcast", lambda sent: sent)
    options = {"samples": True, "shape": (1,), "dtype": "float32"}
    reader = Rows(ITEMS, MPerClass(2, 3), 7, None, **options)
    with ThreadPoolExecutor(1) as threads:
        ahead = threads.submit  # as training batches are read

        def work():
            own = Rows(ITEMS, MPerClass(2, 3), 7, None, **options)
            counts = _processes.process_count(), ahead(_processes.process_count).result()
            return counts, [len(ahead(each, 0).result()[0]) for each in (reader, own)]

        # What is read in the meantime is a share of a batch; what it reads itself, a whole one.
        assert _processes.from_first(work) == ((1, 3), [2, 6])
        assert _processes.process_count() == 3
