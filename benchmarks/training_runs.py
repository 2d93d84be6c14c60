"""Runs of `dml train` for tables; what was measured of them is kept beside the scripts."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = os.environ.get("DML_DATA", ".")
# A small file for each training, with the seed in its name. What has one is not trained again.
MEASURED = Path(__file__).parent / "measured"
DATA = {
    "cub50": ["--dataset.name", "folder", "--dataset.root", f"{HERE}/cub50"],
    "emoji": ["--dataset.name", "folder", "--dataset.root", f"{HERE}/emoji"],
    "cars196-half": ["--dataset.name", "cars196-half"],
    "omniglot": ["--dataset.name", "omniglot"],
}
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


def kept(file, measure):
    """Returns what a file below `MEASURED` holds; it is measured first if there is none.

    Args:
        file: A JSON file.
        measure: Returns what to write, without arguments.
    """
    from dml._storage.atomic import write_text

    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, f"{json.dumps(measure())}\n")
    return json.loads(file.read_text())


def by_class(per_query, classes, metrics):
    """Returns what the cells of a table need of a run's metrics, to be kept.

    Args:
        per_query: {metric: values (Q,)}.
        classes: Of the queries (Q,).
        metrics: Their names.

    Returns:
        {"queries": how many each class has, metric: its mean in each class}.
    """
    _, places, queries = np.unique(classes, return_inverse=True, return_counts=True)
    means = {name: np.bincount(places, per_query[name]) / queries for name in metrics}
    return {"queries": queries.tolist()} | {k: v.round(6).tolist() for k, v in means.items()}


def metric_cells(runs, metric):
    """Returns a metric's mean and deviation over seeds, and its interval for other classes.

    Args:
        runs: What `by_class` returned of each.
        metric: Its name.
    """
    from dml.evaluation.intervals import class_interval

    queries = np.array(runs[0]["queries"])
    values = np.array([run[metric] for run in runs])  # (seeds, classes)
    mean = np.repeat(values.mean(axis=0), queries)
    low, high = class_interval(mean[:, None], np.repeat(np.arange(len(queries)), queries))
    by_seed = percent((values @ queries / queries.sum()).tolist())
    return f"{by_seed} | {ends_of({'low': low[0], 'high': high[0]})}"


def ends_of(interval):
    """Returns the ends of an interval in percent, as the cell of a table."""
    return f"{100 * interval['low']:.1f} - {100 * interval['high']:.1f}"


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


def cost_of(folder):
    """Returns the cost of a run: {"minutes": of processor time / processors, "GiB": memory}.

    It is empty for a run that was stopped in between.
    """
    file = folder / "cost.json"
    return json.loads(file.read_text()) if file.exists() else {}


def costs(measured, unit):
    """Returns the cost of each training, as the cell of a table; those without one are left out.

    Args:
        measured: What was measured of each.
        unit: "minutes" or "GiB".
    """
    return ", ".join(f"{one[unit]:.1f}" for one in measured if unit in one)
