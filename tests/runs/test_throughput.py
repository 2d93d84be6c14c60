"""The speed of a training, by hand from its log."""

from dml._storage.run_folder import RunFolder
from dml.runs._throughput import Throughput, throughput_of

START = {"epoch": 0, "val_recall_at_1": 0.5, "seconds": 9.0, "validation_seconds": 9.0}
ROWS = [
    START,
    {
        **{"epoch": 0.5, "seconds": 30.0, "waiting_seconds": 10.0, "step_seconds": 10.0},
        **{"images_per_second": 60.0, "validation_seconds": 10.0},
    },
    {
        **{"epoch": 1, "seconds": 10.0, "waiting_seconds": 0.0, "step_seconds": 10.0},
        **{"images_per_second": 120.0},
    },
]


def test_rows_count_by_their_time():
    # 20 s of 60 images/s and 10 s of 120; of 40 s, 10 were spent waiting and 10 in validation.
    found = Throughput.of(ROWS)
    assert found == Throughput(images_per_second=80.0, waiting=0.25, validation=0.25)
    assert str(found) == "80 images/s; 25 % of the time waiting for data, 25 % in validation"


def test_a_log_without_epochs_has_no_speed():
    assert Throughput.of([]) is None and Throughput.of([START]) is None


def test_a_row_that_lacks_a_number_is_left_out():
    damaged = [
        {name: value for name, value in ROWS[1].items() if name != missing}
        for missing in ("seconds", "waiting_seconds", "images_per_second")
    ]
    assert Throughput.of([*damaged, *ROWS]) == Throughput.of(ROWS)
    assert Throughput.of(damaged) is None


def test_the_head_stage_counts_if_it_is_alone(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    for row in ROWS:
        folder.head_stage.append_log({**row, "seconds": 2 * row["seconds"]})
    assert throughput_of(folder).validation == 0.125
    for row in ROWS:
        folder.append_log(row)
    assert throughput_of(folder).validation == 0.25
