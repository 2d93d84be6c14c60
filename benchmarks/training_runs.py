"""Runs of `dml train` for tables: networks below DML_DATA, and runs that are not repeated."""

import json
import os
import statistics
import subprocess
import sys

HERE = os.environ.get("DML_DATA", ".")
NETWORKS = {
    "mobilenet": [
        *("--backbone.name", "mobilenet", "--backbone.alpha", "0.75"),
        *("--backbone.weights", "weights/mobilenet_0.75_224_imagenet_notop.weights.h5"),
        *("--backbone.input_size", "128", "--backbone.resize_side", "146"),
    ],
    "vit": [
        *("--backbone.name", "hub", "--backbone.preset", "weights/vit_tiny_patch16_224"),
        *("--backbone.input_size", "128", "--backbone.resize_side", "146"),
    ],
}


def train(folder, recipe, flags):
    """Trains and evaluates a run, as `dml train` does, unless that was done.

    A run that was stopped goes on. The cost of one that was not is in `cost.json`.

    Args:
        folder: Of the run.
        recipe: The recipe's name.
        flags: Its options that differ.
    """
    if (folder / "metrics.json").exists():
        return
    command = [sys.executable, "-m", "dml", "train"]
    resumed = (folder / "recipe.toml").exists()
    command += [str(folder), "--resume"] if resumed else [recipe, "--out", str(folder), *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    if not resumed:
        seconds = usage.ru_utime + usage.ru_stime
        cost = {"minutes": seconds / 60 / os.cpu_count(), "GiB": usage.ru_maxrss / 2**20}
        (folder / "cost.json").write_text(json.dumps(cost))


def percent(values):
    """Returns the mean and the deviation of shares in percent, as the cell of a table."""
    values = [100 * value for value in values]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def costs_of(folders, unit):
    """Returns the cost of each run, as the cell of a table.

    Args:
        folders: Of the runs; one without a record of its cost is left out.
        unit: `minutes`, of processor time divided by the number of processors, or `GiB`.
    """
    files = [file for folder in folders if (file := folder / "cost.json").exists()]
    return ", ".join(f"{json.loads(file.read_text())[unit]:.1f}" for file in files)
