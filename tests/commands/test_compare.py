"""`dml compare` prints differences, or a Markdown table."""

import numpy as np

from dml._storage.run_folder import RunFolder
from dml.cli import main
from dml.runs._metrics import MetricValue
from tests.runs.test_comparison import write_run


def lines_of(capsys, *words):
    assert main(["compare", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_differences_are_printed_metric_by_metric(tmp_path, capsys):
    good, bad = write_run(tmp_path / "good", 0.3), write_run(tmp_path / "bad", 3.0)
    lines = lines_of(capsys, bad, good, bad)
    assert lines[0] == f"glyphs: 120 queries; differences from {bad}"
    (first, better, same) = (line for line in lines if line.startswith("R@1 "))
    value, gap, low, _, high = map(float, better.replace("to", " 0 ").split()[1:])
    assert value - float(first.split()[1]) == np.round(gap, 1) and 0 < low < gap < high
    assert same.endswith("could be chance") and "chance" not in better


def test_the_table_has_a_row_for_each_setting_and_the_best_is_first(tmp_path, capsys):
    seeds = [["--training.seed", str(seed)] for seed in range(3)]
    bad = [write_run(tmp_path / f"bad-{n}", 3.0, seed=n, flags=seeds[n]) for n in range(3)]
    flags = ["--loss.name", "proxy_nca", "--loss.scale", "5", "--auxiliary_loss.name", "center"]
    good = write_run(tmp_path / "good", 0.3, flags=flags)
    folder = RunFolder(good)
    folder.write_json(folder.parameters, {"trained": 5, "encoder": 9})
    lines = lines_of(capsys, "--table", *bad, good)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-2:]]
    assert lines[0] == "glyphs: 120 queries of 20 classes"
    assert rows[0][:4] == ["good", "proxy_nca: scale 5.0 + center", "5 of 9 parameters", "1"]
    assert rows[1][0] == "bad" and rows[1][2:4] == ["", "3"]
    assert "±" not in rows[0][4] and "±" in rows[1][4]


def test_the_frozen_network_stands_next_to_each_run(tmp_path, capsys):
    frozen = {"R@1": MetricValue(0.4321)}
    measured = write_run(tmp_path / "measured", 0.3, frozen=frozen)
    other = write_run(tmp_path / "other", 3.0, flags=["--loss.name", "triplet"])
    lines = lines_of(capsys, measured, other)
    assert lines[1].split()[-1] == "frozen" and lines[2].split()[::2] == ["R@1", "43.2"]
    better = write_run(tmp_path / "better", 0.1, frozen={"R@1": MetricValue(0.8765)})
    lines = lines_of(capsys, measured, better)  # of another network
    recall = [line for line in lines if line.startswith("R@1 ")]
    assert recall[0].endswith("43.2") and " 87.6" in recall[1]
    *_, first, second = lines_of(capsys, "--table", measured, other)
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells[0] == "measured" and cells[6] == "43.2" and cells[9] == ""
    assert [cell.strip() for cell in second.split("|")[1:-1]][6] == ""


def test_one_run_is_no_comparison(tmp_path, capsys):
    assert main(["compare", write_run(tmp_path / "a", 1.0)]) == 2
    assert "RUN must be given at least twice" in capsys.readouterr().err
