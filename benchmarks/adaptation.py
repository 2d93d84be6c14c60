"""The default procedure against its parts: frozen network, head alone, full fine-tuning.

    DML_DATA=... python benchmarks/adaptation.py [--data cub50 ...] [--procedures adapt ...]
        [--seeds 3] [--network mobilenet] [--out FOLDER] [--finished]

Trains each procedure on each data set with each seed, as `dml train` does, and prints a Markdown
table of R@1 and MAP@R on the test split, with the 95 % interval of the seeds' mean for other
classes, trained parameters, minutes and memory. Minutes are processor time, divided by the number
of processors, which other processes disturb little. The frozen network is measured in each run.
Runs in the folder are not repeated, and one that was stopped goes on; its cost is then left out.
`--finished` trains nothing and prints the table of what is there. `kept` is what each seed's
validation chose: the frozen network, the head, or a share of the weights of fine-tuning.

`full` is the recipe of `cars196-half`, or of `omniglot` on that, and `full_all` trains it on the
validation classes, too; `head` and `adapt` are the recipe `adapt`, and `adapt_all` is it with
`training.refit`. With `--network vit`, `lora` and `layer_decay` fine-tune by the recipe `adapt`,
too, without a second stage.
"""

import argparse
import itertools
import json
import tomllib
from pathlib import Path

from training_runs import HERE, NETWORKS, costs_of, train

DATA = {
    "cub50": ["--dataset.name", "folder", "--dataset.root", f"{HERE}/cub50"],
    "emoji": ["--dataset.name", "folder", "--dataset.root", f"{HERE}/emoji"],
    "cars196-half": ["--dataset.name", "cars196-half"],
    "omniglot": ["--dataset.name", "omniglot"],
}
ALL = ["--dataset.validation_fraction", "0"]
ONCE = ["--second_stage.epochs", "0"]
PROCEDURES = {  # recipe, flags
    "head": ("adapt", ["--training.stage", "head"]),
    "lora": ("adapt", ["--backbone.lora_rank", "8", "--optimizer.learning_rate", "5e-4", *ONCE]),
    "layer_decay": ("adapt", ["--optimizer.layer_decay", "0.8", *ONCE]),
    "adapt": ("adapt", []),
    "adapt_all": ("adapt", ["--training.refit", "true"]),
    "full": ("cars196-half", []),
    "full_all": ("cars196-half", ALL),
}
OMNIGLOT = {
    "full": [],
    "full_all": ALL,
    "adapt": ["--training.stage", "adapt"],
}
METRICS = ("R@1", "MAP@R")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--procedures", nargs="+", choices=PROCEDURES, default=["head", "adapt"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", choices=NETWORKS, default="mobilenet")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptation"))
    parser.add_argument("--finished", action="store_true")
    options = parser.parse_args()
    runs = {}
    for seed in range(options.seeds):  # a whole table after the first
        for data in options.data:
            for procedure in options.procedures:
                if data != "omniglot" or procedure in OMNIGLOT:
                    folder = options.out / options.network / data / f"{procedure}-{seed}"
                    if not options.finished:
                        train(folder, *options_of(data, procedure, options.network, seed))
                    if (folder / "metrics.json").exists():
                        runs.setdefault((data, procedure), []).append(folder)
        if not options.finished or seed + 1 == options.seeds:
            print(f"\n{options.network}, {seed + 1} of {options.seeds} seeds\n")
            order = list(itertools.product(DATA, PROCEDURES))
            for line in table(dict(sorted(runs.items(), key=lambda run: order.index(run[0])))):
                print(line, flush=True)


def options_of(data, procedure, network, seed):
    """Returns the recipe's name and its options that differ."""
    recipe, flags = PROCEDURES[procedure]
    flags = [*NETWORKS[network], *DATA[data], *flags]
    if data == "omniglot":  # from scratch: its own recipe, with the stages
        recipe, flags = "omniglot", OMNIGLOT[procedure]
    return recipe, [*flags, "--training.seed", str(seed)]


def table(runs):
    """Yields the lines of a Markdown table.

    Args:
        runs: {(data set, procedure): folders of runs that differ in their seed}.
    """
    from dml.runs._comparison import read_scored_runs, summarize_settings

    names = "".join(f" {metric} | 95 % interval |" for metric in METRICS)
    yield f"| data | procedure | seeds |{names} kept | trained | minutes | GiB |"
    yield f"|---|---|---|{'---|---|' * len(METRICS)}---|---|---|---|"
    shown = set()
    for (data, procedure), folders in runs.items():
        stretched = read_recipe(folders[0])["backbone"]["aspect"] == "stretch"
        if (data, stretched) not in shown:  # each run measures it, as it sees the images
            shown.add((data, stretched))
            frozen = json.loads((folders[0] / "frozen.json").read_text())["metrics"]
            name = "frozen, stretched" if stretched else "frozen"
            cells = "".join(cell(**frozen[metric]) for metric in METRICS)
            yield f"| {data} | {name} | |{cells} | 0 | | |"
        (setting,) = summarize_settings(read_scored_runs(folders))
        cells = (setting.metrics[metric] for metric in METRICS)
        row = "".join(cell(one.mean, one.low, one.high, one.deviation) for one in cells)
        minutes, memory = costs_of(folders, "minutes"), costs_of(folders, "GiB")
        trained = json.loads((folders[0] / "parameters.json").read_text())["trained"]
        kept = ", ".join(filter(None, map(kept_by, folders)))
        yield (
            f"| {data} | {procedure} | {len(folders)} |{row} {kept} | {trained / 1e6:.2f} M "
            f"| {minutes} | {memory} |"
        )


def read_recipe(folder):
    """Returns the sections of a run's recipe."""
    return tomllib.loads((folder / "recipe.toml").read_text())


def kept_by(folder):
    """Returns what a run's validation chose; empty if it had nothing to choose."""
    if not (folder / "selection.json").exists():
        return ""
    rows = json.loads((folder / "selection.json").read_text())["candidates"]
    (chosen,) = (row for row in rows if row["chosen"])
    return chosen["name"] + (f" {chosen['share']:g}" if chosen["share"] is not None else "")


def cell(value, low, high, deviation=None):
    """Returns the cells of a metric and its interval, in percent."""
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    return f" {100 * value:.1f}{spread} | {100 * low:.1f} - {100 * high:.1f} |"


if __name__ == "__main__":
    main()
