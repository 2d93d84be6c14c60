"""Every loss on Omniglot, from scratch, zero-shot: test R@1 beside the untrained encoder's.

    DML_DATA=... python benchmarks/omniglot_losses.py [--seeds 3] [--epochs 20] [--out FOLDER]

Trains the recipe `omniglot` once for each loss and seed, by the command that users run, and prints
a table as Markdown. Runs that are in the folder already are not repeated. The options below were
chosen on the validation classes.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

FIGURES = ("R@1", "MAP@R")
LOSSES = {
    "proxy_nca": [],
    "proxy_nca_pp": [],
    "proxy_anchor": [],
    "soft_triple": ["--loss.proxies_per_class", "2"],
    "multi_similarity": [],
    "triplet": [],
    "adapted_triplet": [],
}


def metrics_of(loss, seed, epochs, out):
    """Trains one run, unless it is there, and returns what it wrote to metrics.json."""
    folder = out / f"{loss}-{seed}"
    if not (folder / "metrics.json").exists():
        command = [sys.executable, "-m", "dml", "train", "omniglot", "--loss.name", loss]
        command += [*LOSSES[loss], "--training.seed", str(seed), "--training.epochs", str(epochs)]
        subprocess.run([*command, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "metrics.json").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/omniglot-losses"))
    options = parser.parse_args()
    rows, untrained = [], {}
    for loss in LOSSES:
        runs = [metrics_of(loss, s, options.epochs, options.out) for s in range(options.seeds)]
        for seed, run in enumerate(runs):
            untrained[seed] = 100 * run["untrained"]["R@1"]["value"]
        rows.append((loss, *([100 * r["figures"][f]["value"] for r in runs] for f in FIGURES)))
        print(f"{loss} done", file=sys.stderr)
    print(f"omniglot, {runs[0]['protocol']}, {runs[0]['queries']:,} queries of", end=" ")
    print(f"{runs[0]['classes']} classes, conv4 from scratch, {options.epochs} epochs\n")
    print("| loss | R@1 by seed | R@1 | MAP@R |\n|---|---|---|---|")
    first = list(untrained.values())
    print(f"| untrained | {each(first)} | {mean(first)} | |")
    for loss, recalls, precisions in rows:
        print(f"| {loss} | {each(recalls)} | {mean(recalls)} | {mean(precisions)} |")


def each(values):
    return ", ".join(f"{v:.1f}" for v in values)


def mean(values):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {spread:.1f}"


if __name__ == "__main__":
    main()
