"""The default procedure against its parts: frozen network, head alone, full fine-tuning.

    DML_DATA=... python benchmarks/adaptation.py [--data cub50 ...] [--procedures adapt ...]
        [--seeds 3] [--network mobilenet] [--out FOLDER] [--measured]

Trains each procedure on each data set with each seed, as `dml train` does, and prints a Markdown
table of R@1 and MAP@R on the test split, with the 95 % interval of the seeds' mean for other
classes, trained parameters, minutes and memory. Minutes are processor time, divided by the number
of processors, which other processes disturb little. The frozen network is measured in each run.
What is in `benchmarks/measured/adaptation` is not trained again, and a run in the folder that was
stopped goes on; its cost is then left out. `--measured` trains nothing and prints the table of what
is there. `kept` is what each seed's validation chose: the frozen network, the head, or a share of
the weights of fine-tuning.

`full` is the recipe of `cars196-half`, or of `omniglot` on that, and `full_all` trains it on the
validation classes, too; `head` and `adapt` are the recipe `adapt`, and `adapt_all` is it with
`training.refit`. With `--network vit`, `lora` and `layer_decay` fine-tune by the recipe `adapt`,
too, without a second stage.
"""

import argparse
import functools
import json
import tomllib
from pathlib import Path

from training_runs import (
    DATA,
    MEASURED,
    NETWORKS,
    by_class,
    cost_of,
    costs,
    ends_of,
    kept,
    metric_cells,
    train,
)

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
    parser.add_argument("--measured", action="store_true")
    options = parser.parse_args()
    for seeds in [options.seeds] if options.measured else range(1, options.seeds + 1):
        found = {}  # of all seeds so far: a whole table after the first
        for data in options.data:
            for procedure in options.procedures:
                if data != "omniglot" or procedure in OMNIGLOT:
                    names = (f"{options.network}/{data}/{procedure}-{s}" for s in range(seeds))
                    found[data, procedure] = [
                        kept(file, functools.partial(trained, options.out, name))
                        for name in names
                        if (file := MEASURED / "adaptation" / f"{name}.json").exists()
                        or not options.measured
                    ]
        print(f"\n{options.network}, {seeds} of {options.seeds} seeds\n")
        for line in table({key: runs for key, runs in found.items() if runs}):
            print(line, flush=True)


def trained(out, name):
    """Trains a run, unless it is there, and returns what the table needs of it.

    Args:
        out: The folder of all runs.
        name: "NETWORK/DATA/PROCEDURE-SEED".
    """
    from dml.runs._comparison import read_scored_runs

    network, data, run = name.split("/")
    procedure, seed = run.rsplit("-", 1)
    folder = out / name
    train(folder, *options_of(data, procedure, network, seed))
    (scored,) = read_scored_runs([folder])
    per_query = dict(zip(scored.metrics, scored.values.T, strict=True))
    frozen = json.loads((folder / "frozen.json").read_text())["metrics"]
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    return {
        **by_class(per_query, scored.classes, METRICS),
        "frozen": {metric: frozen[metric] for metric in METRICS},
        "aspect": recipe["backbone"]["aspect"],
        "trained": json.loads((folder / "parameters.json").read_text())["trained"],
        "kept": chosen_by(folder),
        **cost_of(folder),
    }


def options_of(data, procedure, network, seed):
    """Returns the recipe's name and its options that differ."""
    recipe, flags = PROCEDURES[procedure]
    flags = [*NETWORKS[network], *DATA[data], *flags]
    if data == "omniglot":  # from scratch: its own recipe, with the stages
        recipe, flags = "omniglot", OMNIGLOT[procedure]
    return recipe, [*flags, "--training.seed", str(seed)]


def table(found):
    """Yields the lines of a Markdown table.

    Args:
        found: {(data set, procedure): what was measured with each seed}.
    """
    names = "".join(f" {metric} | 95 % interval |" for metric in METRICS)
    yield f"| data | procedure | seeds |{names} kept | trained | minutes | GiB |"
    yield f"|---|---|---|{'---|---|' * len(METRICS)}---|---|---|---|"
    shown = set()
    for (data, procedure), runs in found.items():
        first = runs[0]
        if (data, first["aspect"]) not in shown:  # each measures it, as it sees the images
            shown.add((data, first["aspect"]))
            name = "frozen, stretched" if first["aspect"] == "stretch" else "frozen"
            ends = (first["frozen"][metric] for metric in METRICS)
            cells = "".join(f" {100 * x['value']:.1f} | {ends_of(x)} |" for x in ends)
            yield f"| {data} | {name} | |{cells} | 0 | | |"
        cells = "".join(f" {metric_cells(runs, metric)} |" for metric in METRICS)
        chosen = ", ".join(run["kept"] for run in runs if run["kept"])
        cost = f"{costs(runs, 'minutes')} | {costs(runs, 'GiB')}"
        millions = f"{first['trained'] / 1e6:.2f} M"
        yield f"| {data} | {procedure} | {len(runs)} |{cells} {chosen} | {millions} | {cost} |"


def chosen_by(folder):
    """Returns what a run's validation chose; empty if it had nothing to choose."""
    if not (folder / "selection.json").exists():
        return ""
    rows = json.loads((folder / "selection.json").read_text())["candidates"]
    (chosen,) = (row for row in rows if row["chosen"])
    return chosen["name"] + (f" {chosen['share']:g}" if chosen["share"] is not None else "")


if __name__ == "__main__":
    main()
