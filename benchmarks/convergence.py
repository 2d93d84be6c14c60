"""Why dml-tf did not converge with MobileNet and on SOP: its faults, one at a time.

    DML_DATA=... python benchmarks/convergence.py [--data cub50 ...] [--settings right scale_8 ...]
        [--seeds 3] [--epochs N] [--classes N] [--out FOLDER]

For each data set it trains a right setting, and the same with one thing done as dml-tf
(https://github.com/shi510/dml-tf) did it, and prints a Markdown table of R@1 on the test classes;
`proxies` is no data set, but the proxies alone, on given embeddings. `curves.svg` in each folder
shows R@1 after each epoch. What is in the folder, by default `benchmarks/measured/convergence`, is
not trained again. `--epochs` and `--classes` make a quick trial, for which take another folder.
docs/convergence.md says what each setting is.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import proxy_simulation
from training_runs import HERE, MEASURED, kept, percent

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `dml train` has it
MOBILENET = [
    *("--backbone.name", "mobilenet_v2", "--backbone.alpha", "0.35"),
    *("--backbone.weights", "weights/mobilenet_v2_0.35_224_imagenet_notop.weights.h5"),
    *("--backbone.batch_norm", "train", "--backbone.batch_norm_momentum", "0.9"),
]
FOLDER = ["--dataset.name", "folder", "--dataset.validation_fraction", "0"]
# Of Proxy-NCA with the proxy of the own class in the denominator, at dml-tf's 64 dimensions.
MANY_CLASSES = [
    *("--embedding.dim", "64", "--sampler.name", "shuffle", "--sampler.batch_size", "128"),
    *("--loss.name", "proxy_nca", "--loss.form", "cosine", "--loss.scale", "32"),
    *("--loss.positive_in_denominator", "true", "--optimizer.weight_decay", "1e-4"),
    *("--optimizer.head_weight_decay", "1e-4", "--optimizer.warmup_epochs", "1"),
]
DML_TF = [  # what all of its trainings had in common
    *("--optimizer.name", "adam", "--optimizer.schedule", "constant"),
    *("--optimizer.warmup_epochs", "0", "--optimizer.learning_rate", "1e-4"),
    *("--optimizer.head_learning_rate", "1e-4", "--optimizer.weight_decay", "0"),
    *("--optimizer.head_weight_decay", "0", "--embedding.dim", "64"),
    *("--embedding.pooling", "average", "--embedding.layer_norm", "false"),
    *("--sampler.batch_size", "64"),
]
MOST_TEST_CLASSES = 2_000  # of those that are searched after each epoch


@dataclass(frozen=True)
class Setting:
    """What differs from the right setting.

    Args:
        text: What the table says.
        flags: Options of the recipe.
        pixels: Factor of the values 0..255, instead of the scaling that the weights expect; 0 for
            that scaling.
        loss: A loss of `faults.py` in place of the recipe's, with the options that it has, too.
        orthogonality: Weight of dml-tf's orthogonality.
        unscaled_decay: Whether each step takes 1e-4 of every weight, whatever the rate.
    """

    text: str
    flags: tuple[str, ...] = ()
    pixels: float = 0.0
    loss: str = ""
    orthogonality: float = 0.0
    unscaled_decay: bool = False


RIGHT = Setting("right")
INFERENCE = ("--backbone.batch_norm", "frozen")
SLOW = ("--backbone.batch_norm_momentum", "0.999")
FRACTION = "input x/255, not [-1, 1]"
OF_MOBILENET = {
    "right": RIGHT,
    "pixels": Setting(FRACTION, pixels=1 / 255),
    "pixels_twice": Setting("input x/255/255", pixels=1 / 255**2),
    "momentum": Setting("BatchNorm momentum 0.999", SLOW),
    "inference": Setting("BatchNorm in inference mode", INFERENCE),
    "pixels_momentum": Setting(f"{FRACTION}, and momentum 0.999", SLOW, pixels=1 / 255),
    "pixels_inference": Setting(f"{FRACTION}, and inference mode", INFERENCE, pixels=1 / 255),
    "no_warm_up": Setting("no warm-up", ("--optimizer.warmup_epochs", "0")),
    "dml_tf": Setting("all of dml-tf", (*DML_TF, *INFERENCE), pixels=1 / 255, loss="FirstProxyNCA"),
}
OF_MANY_CLASSES = {
    "right": RIGHT,
    "proxies": Setting(
        "proxies of length 8 at rate 1e-4",
        ("--optimizer.head_learning_rate", "1e-4"),
        loss="LongProxyNCA",
    ),
    "scale_16": Setting("scale 16", ("--loss.scale", "16")),
    "scale_8": Setting("scale 8", ("--loss.scale", "8")),
    "excluded": Setting(
        "proxy of the own class not in the denominator", ("--loss.positive_in_denominator", "false")
    ),
    "orthogonality": Setting("orthogonality / 2 (C - 1), any length", orthogonality=0.1),
    "decay": Setting("decay not times the rate", unscaled_decay=True),
    "batch_64": Setting("batch of 64", ("--sampler.batch_size", "64")),
    "dml_tf": Setting(
        "all of dml-tf", tuple(DML_TF), loss="FirstProxyNCA", orthogonality=0.1, unscaled_decay=True
    ),
}
IN_INFERENCE = OF_MOBILENET["pixels_inference"]


@dataclass(frozen=True)
class Table:
    """A data set with its right setting and those to compare with it.

    Args:
        recipe: The recipe that the right setting starts from.
        flags: Its options that differ.
        epochs: Of each training.
        settings: {name: `Setting`}.
    """

    recipe: str
    flags: list[str]
    epochs: int
    settings: dict[str, Setting]


TABLES = {
    "cars196-half": Table(
        "cars196-half",
        [
            *(*MOBILENET, "--dataset.validation_fraction", "0", "--backbone.aspect", "stretch"),
            *("--backbone.input_size", "128", "--backbone.resize_side", "146"),
        ],
        10,
        OF_MOBILENET,
    ),
    "cub50": Table(
        "cars196-half",
        [
            *(*MOBILENET, *FOLDER, "--dataset.root", f"{HERE}/cub50"),
            *("--backbone.input_size", "128", "--backbone.resize_side", "146"),
            *("--backbone.aspect", "keep", "--augmentation.aspect", "keep"),
            *("--optimizer.learning_rate", "1e-4", "--optimizer.head_learning_rate", "1e-2"),
        ],
        10,
        OF_MOBILENET,
    ),
    "glyphs": Table(
        "glyphs",
        [
            *("--dataset.classes", "22636", "--dataset.samples", "5", "--dataset.size", "32"),
            *("--dataset.validation_fraction", "0", "--backbone.filters", "32"),
            *("--backbone.input_size", "32", "--backbone.resize_side", "32", *MANY_CLASSES),
        ],
        10,
        OF_MANY_CLASSES,
    ),
    "emoji": Table(
        "cars196-half",
        [
            *(*MOBILENET, *FOLDER, "--dataset.root", f"{HERE}/emoji", *MANY_CLASSES),
            *("--backbone.input_size", "96", "--backbone.resize_side", "110"),
            *("--augmentation.hue", "0.05", "--augmentation.saturation", "0.3"),
        ],
        10,
        {**OF_MANY_CLASSES, "pixels_inference": IN_INFERENCE},
    ),
}
# All at once there includes the input and BatchNorm, as in dml-tf.
TABLES["emoji"].settings["dml_tf"] = dataclasses.replace(
    OF_MANY_CLASSES["dml_tf"], flags=(*DML_TF, *INFERENCE), pixels=1 / 255
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = dict.fromkeys(name for table in TABLES.values() for name in table.settings)
    data = ["proxies", *TABLES]
    parser.add_argument("--data", nargs="+", choices=data, default=data)
    parser.add_argument("--settings", nargs="+", choices=names, default=list(names))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of each table's own")
    parser.add_argument("--classes", type=int, help="the first so many of either split only")
    parser.add_argument("--out", type=Path, default=MEASURED / "convergence")
    options = parser.parse_args()
    for data in options.data:
        if data == "proxies":
            show(proxies_table(options.out / data, options.seeds))
            continue
        table = TABLES[data]
        epochs = options.epochs or table.epochs
        chosen = [name for name in table.settings if name in options.settings]
        if not chosen:
            continue
        results = {name: [] for name in chosen}
        for seed in range(options.seeds):  # a whole table after the first
            for name in chosen:
                file = options.out / data / f"{name}-{seed}.json"
                train = functools.partial(trained, data, name, seed, epochs, options.classes)
                run = kept(file, functools.partial(apart, train))
                if (run["epochs"], run["classes"]) != (epochs, options.classes):
                    raise SystemExit(
                        f"{file} is of other --epochs or --classes: take another --out"
                    )
                results[name].append(run)
            print(f"\n{data}, {epochs} epochs, {seed + 1} of {options.seeds} seeds\n")
            show(table_of(results, table.settings))
        draw(results, table.settings, options.out / data / "curves.svg")


def show(lines):
    for line in lines:
        print(line, flush=True)


def apart(compute):
    """Returns what a function returns in a process of its own."""
    # TensorFlow keeps what it has compiled, and the memory of it.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(compute).result()


def recipe_of(data, setting, seed, epochs):
    """Returns the recipe of a setting, without what no recipe can say."""
    import dml

    table = TABLES[data]
    run = ["--training.seed", str(seed), "--training.epochs", str(epochs)]
    return dml.load_recipe(table.recipe, [*table.flags, *setting.flags, *run])


def learner_of(recipe, setting, classes, steps):
    """Returns the compiled learner of a setting."""
    import faults

    import dml

    backbone, loss = recipe.backbone, recipe.loss
    if setting.pixels:
        backbone = faults.with_pixels_times(backbone, setting.pixels)
    if setting.loss:
        kind = getattr(faults, setting.loss)
        same_kind = issubclass(kind, type(loss))
        loss = kind(**dataclasses.asdict(loss)) if same_kind else kind()
    learner = (faults.UnscaledDecay if setting.unscaled_decay else dml.Learner)(
        dml.build_encoder(backbone, recipe.embedding),
        loss,
        classes=classes,
        augmentation=recipe.augmentation.layers(),
        regularizer=(
            faults.LongOrthogonality(setting.orthogonality) if setting.orthogonality else None
        ),
    )
    optimizer = dml.build_optimizer(learner, recipe.optimizer, steps, recipe.training.epochs)
    learner.compile(optimizer)
    return learner


def trained(data, name, seed, epochs, classes):
    """Trains a setting; returns R@1 on the test classes before and after each epoch."""
    import keras

    import dml

    setting = TABLES[data].settings[name]
    recipe = recipe_of(data, setting, seed, epochs)
    keras.utils.set_random_seed(seed)
    items = recipe.dataset.items()
    train = first_classes(items.select("train"), classes)
    test = first_classes(items.select("test"), classes or MOST_TEST_CLASSES)
    batches = dml.training_batches(
        train, recipe.sampler, recipe.augmentation, recipe.backbone.input_size, seed=seed
    )
    steps = batches.steps_per_epoch
    learner = learner_of(recipe, setting, len(train.label_names), steps)
    result = {"recall": [recall(learner.encoder, test)], "loss": []}

    def measure(epoch, logs):
        result["loss"].append(logs["loss"])
        result["recall"].append(recall(learner.encoder, test))
        learner.stop_training = result["recall"][-1] is None

    started, busy = time.monotonic(), time.process_time()
    learner.fit(
        batches,
        steps_per_epoch=steps,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=measure)],
    )
    return {
        **result,
        "epochs": epochs,
        "classes": classes,
        "images": [len(train), len(test)],
        # Processor time, which other processes disturb little.
        "minutes": (time.process_time() - busy) / 60 / (os.cpu_count() or 1),
        "waited": (time.monotonic() - started) / 60,
    }


def first_classes(items, count):
    """Returns the images of the first classes, of all if there are no more."""
    return items.take(items.labels < count) if count else items


def recall(encoder, items):
    """Returns R@1 of images that search each other; None if the embeddings are not finite."""
    import dml
    from dml.errors import DivergenceError

    try:
        vectors = dml.embed_images(encoder, items.paths)
    except DivergenceError:
        return None
    return float(dml.evaluation.retrieval(vectors, items.labels, ks=(1,)).recall[1])


def table_of(results, settings):
    """Yields the lines of a Markdown table.

    Args:
        results: {name of a setting: what `trained` returned for each seed}.
        settings: {name: `Setting`}.
    """
    last = max(len(run["recall"]) for runs in results.values() for run in runs) - 1
    shown = dict.fromkeys((0, 1, max(last // 2, 1), last))
    after = "".join(f" R@1 after epoch {epoch} |" for epoch in shown)
    yield f"| setting |{after} points below `right` | minutes |"
    yield f"|---|{'---|' * len(shown)}---|---|"
    right = results.get("right")
    for name, runs in results.items():
        cells = [recalls(runs, epoch) for epoch in shown]
        difference = ""
        if right and name != "right" and None not in (at(run, last) for run in (*runs, *right)):
            pairs = zip(right, runs, strict=True)
            difference = percent([at(a, last) - at(b, last) for a, b in pairs])
        minutes = statistics.mean(run["minutes"] for run in runs)
        yield f"| {settings[name].text} | {' | '.join(cells)} | {difference} | {minutes:.1f} |"


def recalls(runs, epoch):
    """Returns R@1 of some seeds after an epoch, as the cell of a table."""
    found = [at(run, epoch) for run in runs]
    return "diverged" if None in found else percent(found)


def at(run, epoch):
    """Returns R@1 after an epoch; None once the training has diverged."""
    return run["recall"][epoch] if epoch < len(run["recall"]) else None


def draw(results, settings, file):
    """Draws R@1 after each epoch, the mean over the seeds."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dml"})
    figure = Figure((8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, runs) in enumerate(results.items()):
        epochs = range(min(len([r for r in run["recall"] if r is not None]) for run in runs))
        means = [100 * statistics.mean(run["recall"][epoch] for run in runs) for epoch in epochs]
        style = "-" if name == "right" else ("--", ":", "-.")[number % 3]
        axes.plot(epochs, means, style, label=settings[name].text, lw=2)
    axes.set(xlabel="epoch", ylabel="R@1 on the test classes, %")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(file, metadata={"Date": None})


def proxies_table(folder, seeds):
    """Yields the lines of a Markdown table of the proxies alone."""
    yield f"\nproxies alone, {seeds} seeds\n"
    steps = proxy_simulation.MEASURED
    accuracies = "".join(f" accuracy after {count:,} steps |" for count in steps)
    yield f"| setting |{accuracies} cosine to the centre | degrees a step | length |"
    yield f"|---|{'---|' * len(steps)}---|---|---|"
    for name, setting in proxy_simulation.SETTINGS.items():
        runs = []
        for seed in range(seeds):
            simulate = functools.partial(proxies_of, name, seed)
            runs.append(kept(folder / f"{name}-{seed}.json", functools.partial(apart, simulate)))
        cells = [percent([run[number]["accuracy"] for run in runs]) for number in range(len(steps))]
        for key in ("cosine", "degrees", "length"):
            cells.append(f"{statistics.mean(run[-1][key] for run in runs):.3g}")
        yield f"| {setting.text} | {' | '.join(cells)} |"


def proxies_of(name, seed):
    """Returns what the simulation measured of a setting."""
    setting = proxy_simulation.SETTINGS[name]
    return [dataclasses.asdict(one) for one in proxy_simulation.simulate(setting, seed)]


if __name__ == "__main__":
    main()
