"""dml-tf's first table, trained here: NMI and linear accuracy beside its published figures.

    DML_DATA=... python benchmarks/dml_tf_table.py [--data cub50 ...] [--network mobilenet ...]
        [--seeds 1] [--out FOLDER]

Trains the recipe `dml_tf_first` on each data set with each network, as `dml train` does, and prints
a row of a Markdown table after each; all classes are on both sides, half of the images each. Rows
whose data or weights are not here say what is missing. `cub200` and `cars196` are the whole data
sets in their official image split, of which there are published figures; `cub50` and
`cars196-half` are parts of them: every second image of a class is tested on. What is in
`benchmarks/measured/dml-tf-table` is not trained again, and a run in the folder that was stopped
goes on.
"""

import argparse
import csv
import functools
from pathlib import Path

from training_runs import HERE, MEASURED, NETWORKS, cost_of, costs, kept, percent, train

RECIPE = "dml_tf_first"
PUBLISHED = {"cub200": ("73", "68"), "cars196": ("73", "75")}  # NMI, linear accuracy; InceptionV3
DATA = (*PUBLISHED, "cub50", "cars196-half")
# Its options are the recipe's own; its weights are downloaded by Keras.
BACKBONES = {"inception_v3": [], **NETWORKS}
POOLING = {"vit": ["--embedding.pooling", "auto"]}  # its class token
ALL = ["--dataset.validation_fraction", "0"]
METRICS = ("NMI", "linear accuracy", "R@1")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--network", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/dml-tf-table"))
    options = parser.parse_args()
    print("| data | network | NMI | published | linear | published | R@1 | minutes | missing |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for data in options.data:
        for network in options.network:
            print(row(data, network, options.seeds, options.out), flush=True)


def row(data, network, seeds, out):
    """Trains the runs of a row, unless they are there, and returns it."""
    from dml.errors import MissingDataError, StorageError

    shown = PUBLISHED.get(data, ("", "")) if network == "inception_v3" else ("", "")
    flags = [*BACKBONES[network], *POOLING.get(network, [])]
    missing = []
    try:
        chosen = data_flags(data, out)
    except MissingDataError as error:
        missing.append(str(error))
    try:
        read_weights(flags)
    except (MissingDataError, StorageError) as error:
        missing.append(str(error))
    if missing:
        why = "; ".join(missing)
        return f"| {data} | {network} | | {shown[0]} | | {shown[1]} | | | {why} |"
    runs = []
    for seed in range(seeds):
        name = f"{network}/{data}-{seed}"
        train_one = functools.partial(trained, out / name, [*chosen, *flags], seed)
        runs.append(kept(MEASURED / "dml-tf-table" / f"{name}.json", train_one))
    nmi, linear, recall = (percent([run[metric] for run in runs]) for metric in METRICS)
    cells = data, network, nmi, shown[0], linear, shown[1], recall, costs(runs, "minutes")
    return f"| {' | '.join(cells)} | |"


def data_flags(data, out):
    """Returns the options that name a data set, with all its classes on both sides.

    Raises:
        MissingDataError: It is not here.
    """
    import dml

    if data in PUBLISHED:
        flags = ["--dataset.name", data, *ALL]
        dml.load_recipe(RECIPE, flags).dataset.items()
        return flags
    file = out / f"{data}.csv"
    if not file.exists():
        whole = ["--dataset.name", data, *ALL]
        if data == "cub50":
            whole = ["--dataset.name", "folder", "--dataset.root", f"{HERE}/cub50", *ALL]
        items = dml.load_recipe(RECIPE, whole).dataset.items()
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "label", "split"])
            writer.writerows(seen_class(items))
    return ["--dataset.name", "table", "--dataset.root", str(file), *ALL]


def read_weights(flags):
    """Builds the network of a row.

    Raises:
        MissingDataError: Its weights are not here.
        StorageError: They can't be downloaded.
    """
    import dml

    dml.load_recipe(RECIPE, flags).backbone.resolved().network()


def seen_class(items):
    """Yields (path, class, split): of each class, every second image tests."""
    seen = dict.fromkeys(items.class_names, 0)
    for path, label in zip(items.paths, items.labels, strict=True):
        name = items.class_names[label]
        yield Path(path).absolute(), name, ("train", "test")[seen[name] % 2]
        seen[name] += 1


def trained(folder, flags, seed):
    """Trains a run, unless it is there, and returns its metrics and what it cost."""
    import dml

    train(folder, RECIPE, [*flags, "--training.seed", str(seed)])
    metrics = dml.Run(folder).evaluation().metrics
    return {**{name: metrics[name].value for name in METRICS}, **cost_of(folder)}


if __name__ == "__main__":
    main()
