"""The quality of a training that compares with a sample of the classes (`head.sample`).

    DML_DATA=... python benchmarks/sampled_classes.py [--data emoji glyphs] [--seeds 3]
        [--loss normalized_softmax proxy_anchor] [--sample 1 0.1] [--out FOLDER]

Trains with all classes and with samples of them, as `dml train` does, and prints a Markdown table
of R@1 and MAP@R on the test classes. `emoji` trains the embedding on cached features of MobileNet;
`glyphs` the whole of a conv4 on 20,000 characters of 5 drawings, half of which train. Samples of a
softmax are also corrected for their bias. Runs in the folder are not repeated.
"""

import argparse
import itertools
import json
from pathlib import Path

from training_runs import HERE, NETWORKS, percent, train

DATA = {  # recipe, flags
    "emoji": (
        "adapt",
        [
            *NETWORKS["mobilenet"],
            *("--dataset.name", "folder", "--dataset.root", f"{HERE}/emoji"),
            *("--training.stage", "head"),
        ],
    ),
    "glyphs": (
        "glyphs",
        [
            *("--dataset.classes", "20000", "--dataset.samples", "5", "--dataset.size", "32"),
            *("--backbone.input_size", "32", "--backbone.resize_side", "32"),
            *("--dataset.validation_fraction", "0.02", "--training.epochs", "4"),
        ],
    ),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    losses = ["normalized_softmax", "proxy_anchor"]
    parser.add_argument("--loss", nargs="+", default=losses)
    parser.add_argument("--sample", nargs="+", type=float, default=[1, 0.1])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/sampled-classes"))
    options = parser.parse_args()
    print("| data | loss | sample | R@1 | MAP@R |\n|---|---|---|---|---|")
    for data, loss, sample in itertools.product(options.data, options.loss, options.sample):
        for corrected in (False, True)[: 1 + (sample < 1 and loss == "normalized_softmax")]:
            folders = [
                trained(options.out / data, data, loss, sample, corrected, seed)
                for seed in range(options.seeds)
            ]
            cells = (percent(values_of(folders, metric)) for metric in ("R@1", "MAP@R"))
            name = f"{sample:g}" + (", corrected" if corrected else "")
            print(f"| {data} | {loss} | {name} | {' | '.join(cells)} |", flush=True)


def trained(out, data, loss, sample, corrected, seed):
    """Returns the folder of a run, which is trained unless it is there."""
    recipe, flags = DATA[data]
    folder = out / f"{loss}-{sample:g}{'-corrected' * corrected}-{seed}"
    flags = [*flags, "--loss.name", loss, "--head.sample", str(sample)]
    flags += ["--head.correct_bias", str(corrected).lower(), "--training.seed", str(seed)]
    train(folder, recipe, flags)
    return folder


def values_of(folders, metric):
    """Returns a metric of each run."""
    return [
        json.loads((folder / "metrics.json").read_text())["metrics"][metric]["value"]
        for folder in folders
    ]


if __name__ == "__main__":
    main()
