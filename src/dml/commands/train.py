"""`dml train`: from a recipe to a run folder with an evaluated encoder."""

import argparse
import contextlib
import itertools
import os
import platform
import time
from pathlib import Path

import numpy as np

from dml._console.progress import TrainingProgress, progress
from dml._console.runtime import Runtime
from dml._console.terminal import held_back
from dml._storage.atomic import atomic_path, write_text
from dml._storage.run_folder import RunFolder
from dml._storage.versions import installed_versions
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.datasets import RecordedItems
from dml.datasets.recorded import SEEN
from dml.recipe import load_recipe, load_run_recipe, read_source, training_loss
from dml.reporting import Reporter


def train(source, flags=(), out=None, resume=False, allow_parts=False, report=print):
    """Trains an encoder as a recipe says, evaluates it and writes the report.

    Args:
        source: A recipe's path or shipped name, a data set's name, a folder of class folders; or,
            with `resume`, a run's folder.
        flags: `--section.option value` as a flat list of strings.
        out: The run's folder; by default `runs/NAME` by the name of `source`, with a number where
            it exists.
        resume: Go on with an interrupted run from its last checkpoint that can be read.
        allow_parts: With `resume`, whether to import the `parts` of the run's recipe. Those of a
            recipe that is named are always imported.
        report: Called with each line of text for the user.

    Returns:
        The `RunFolder`.

    Raises:
        ValueError, FileNotFoundError, OSError: The recipe, the data or the folder is at fault: it
            holds files of another run or, with `resume`, another recipe than the training began
            with, nothing that can be read, or is written by another process.
        FloatingPointError: The loss stopped being a number.
    """
    if resume:
        if flags or out:
            raise ValueError("--resume goes on with the run's own recipe: no other options with it")
        folder = RunFolder(source)
        if not folder.recipe.exists():
            raise FileNotFoundError(f"{source}: no run to resume, recipe.toml is missing")
        with folder.writing():
            if not folder.manifest.exists():
                if folder.checkpoints.exists():  # otherwise it was stopped as it began
                    report(f"warning: {folder.manifest} is missing: going on by recipe.toml as is")
                parts = load_recipe(folder.recipe, allow_parts=allow_parts).parts
                folder.begin(read_source(folder.recipe).text, parts)
                folder.record(folder.items)
            recipe = load_run_recipe(folder, allow_parts=allow_parts)
            items = resumed_items(folder, recipe, report)
            go_on(folder, recipe, items, *prepare(recipe, items, report), report)
        return folder
    recipe = load_recipe(source, flags, allow_parts=True).with_absolute_paths()
    if out:
        RunFolder(out).check_new()
    items = recipe.dataset.items()
    prepared = prepare(recipe, items, report)
    recorded = recorded_items(recipe, items, report)
    if recorded.unreadable():
        items = items.take(recorded.digests != "")
        prepared = prepare(recipe, items, report)
    folder = RunFolder(out or free_folder(Path("runs"), run_name(source)))
    with folder.writing():
        start(folder.create(), recipe, recorded)
        go_on(folder, recipe, items, *prepared, report)
    return folder


def prepare(recipe, items, report):
    """Returns a recipe's learner and steps per epoch, from its seed on."""
    import keras

    with held_back():  # it imports TensorFlow where it finds one, on any backend
        keras.utils.set_random_seed(recipe.training.seed)
    keras.config.set_dtype_policy(recipe.training.precision)
    check_classes(items, recipe)
    check_validation_split(items.select("val"))
    learner, steps = build_learner(recipe, items.select("train"))
    report(describe(items, recipe))
    report(describe_training(recipe, steps))
    for note in items.notes:
        report(note)
    report_lone_images(items, report)
    if len(items.select("val").class_names) == 1:
        report(
            "note: validation has one class, whose R@1 is 100 by necessity: it is not measured, "
            "and the last epoch is kept"
        )
    return learner, steps


def recorded_items(recipe, items, report):
    """Returns which split each image is in and what it holds, for evaluations and `resume`.

    Raises:
        ImageError: An image can't be read, and the recipe doesn't skip these.
    """
    from dml.commands.evaluate import counted

    options = recipe.training
    faults = {} if options.unreadable == "skip" else None
    with progress("reading the images", len(items)) as advance:
        recorded = RecordedItems.of(items, options.threads, advance, faults)
    if faults:
        first = f"{faults[min(faults)]}{', ...' if len(faults) > 1 else ''}"
        report(f"left out as unreadable: {counted(recorded.unreadable())} ({first})")
    return recorded


def start(folder, recipe, recorded):
    """Makes a new run of a folder: writes its items, its recipe and its manifest."""
    recorded.write(folder.items)
    write_text(folder.recipe, recipe.to_toml())
    folder.begin(recipe.to_toml(), recipe.parts)
    folder.record(folder.items)


def go_on(folder, recipe, items, learner, steps, report):
    """Trains what is left of a run, evaluates it and writes the report."""
    from dml.commands.evaluate import evaluate_locked, untrained_figures

    folder.write_json(folder.versions, versions(recipe))
    tests = len(items.select("test", "query"))
    if tests and not known_untrained(folder):
        folder.write_json(folder.untrained, untrained_figures(learner.encoder, items, recipe))
    started = time.monotonic()
    state = fit(learner, recipe, items, folder, steps, report)
    finish(learner, recipe, folder, state)
    report(f"trained in {minutes(time.monotonic() - started)}: {folder.encoder}")
    if tests:
        evaluate_locked(folder, allow_parts=True, report=report)


def known_untrained(folder):
    """Returns whether a run has the figures of its encoder before the first step."""
    try:
        folder.checked(folder.untrained)
    except (FileNotFoundError, ValueError):  # never written, or damaged: they can be had again
        return False
    return True


def run_name(source):
    """Returns what a run of a recipe, a data set or a folder is called."""
    path = Path(os.path.abspath(Path(source).expanduser()))
    return (path.name if path.is_dir() else path.stem) or "folder"  # the root has no name


def free_folder(parent, name):
    """Makes and returns the first of parent/name, parent/name-2, ... that does not exist."""
    for number in itertools.count(1):
        path = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path


def resumed_items(folder, recipe, report):
    """Returns the items that a run was begun with.

    Raises:
        ValueError: One that it trains on or validates with is gone or is another one.
    """
    from dml.commands.evaluate import found_items

    items, changes = found_items(RecordedItems.read(folder.checked(folder.items)), recipe, SEEN)
    if changes.gone.select(*SEEN) or changes.changed.select(*SEEN):
        raise ValueError(
            f"{changes}: the run can't go on as it would have; bring them back as they were, or "
            "train anew"
        )
    if text := str(changes):
        report(f"note: {text}; the run goes on with what it began with")
    return items


def build_learner(recipe, training_items):
    """Returns the compiled learner of a recipe and its steps per epoch."""
    from dml.encoding.encoder import build_encoder
    from dml.training.learner import Learner
    from dml.training.optimizers import build_optimizer

    if not len(training_items):
        raise ValueError(
            "the training split is empty: a smaller dataset.validation_fraction leaves more of it"
        )
    steps = len(recipe.sampler.batches_of(training_items, epoch=0, seed=recipe.training.seed))
    size, chunks = recipe.sampler.batch_size, recipe.training.chunks
    if size % chunks:
        raise ValueError(f"training.chunks must divide the batch of {size} images; got {chunks}")
    learner = Learner(
        build_encoder(recipe.backbone, recipe.embedding),
        training_loss(recipe),
        classes=len(training_items.class_names),
        augmentation=recipe.augmentation.layers(),
        regularizer=recipe.regularizer,
        chunks=chunks,
    )
    optimizer = build_optimizer(
        learner,
        recipe.optimizer,
        steps_per_epoch=steps,
        epochs=recipe.training.epochs,
        freeze_backbone_epochs=recipe.training.freeze_backbone_epochs,
    )
    learner.compile(optimizer)
    return learner, steps


def check_classes(items, recipe):
    """Refuses to train, or to test, on a single class: whatever is learned, all figures are 100."""
    from dml.commands.evaluate import TestSplit, dataset_label

    name = dataset_label(recipe)
    train = items.select("train").class_names
    if len(train) == 1 and recipe.training.views == 1:
        raise ValueError(
            f"{name}: there is one class only to train on, {train[0]}, from which nothing can be "
            "told apart: give two or more, or, where others are set apart for validation, set "
            "--dataset.validation images"
        )
    if len(items.select("test", "query")):
        TestSplit.of(items, name)


def check_validation_split(validation):
    """Refuses a validation split in which no image has a positive."""
    if len(validation) and np.bincount(validation.labels).max() < 2:
        raise ValueError(
            "the validation split has no two images of a class: raise dataset.validation_fraction, "
            "set it to 0 to train without validation, or dataset.validation to images"
        )


def fit(learner, recipe, items, folder, steps, report):
    """Trains until the last epoch and returns the recorder's state."""
    from keras.callbacks import LambdaCallback

    from dml.training._callbacks import Checkpoint, RunRecorder, StopAtNan, TensorBoardScalars
    from dml.training.loader import training_batches

    options = recipe.training
    state = Checkpoint(folder).load(learner, report)
    if state is None:
        state = {"epoch": 0, "best_epoch": None, "best_score": None}
    else:
        report(f"resuming after epoch {state['epoch']}")
    folder.trim_log(state["epoch"])
    report_gaps(folder, state["epoch"], report)
    training = items.select("train")
    validation = items.select("val")
    recorder = RunRecorder(
        folder,
        state,
        validate=(lambda: validate(learner.encoder, validation, recipe))
        if len(validation.class_names) > 1
        else None,
        validate_every=options.validate_every,
        epochs=options.epochs,
        report=report,
    )
    size = recipe.sampler.batch_size
    bars = TrainingProgress(options.epochs, steps, size, state["epoch"], report)
    shown = LambdaCallback(
        on_epoch_begin=bars.on_epoch_begin,
        on_train_batch_end=bars.on_batch_end,
        on_epoch_end=bars.on_epoch_end,
    )
    # The bars first: they have to be away when the recorder prints.
    callbacks = [shown, StopAtNan(folder), recorder, TensorBoardScalars(folder.tensorboard)]
    reads_classes = "class_vectors" in recipe.sampler.wants
    unreadable = {}
    for first, end in spans(state["epoch"], options.epochs, each_epoch=reads_classes):
        batches = training_batches(
            training,
            recipe.sampler,
            recipe.augmentation,
            recipe.backbone.input_size,
            first_epoch=first,
            seed=options.seed,
            on_unreadable=options.unreadable,
            threads=options.threads,
            samples=bool(recipe.memory.size),
            class_vectors=class_vectors(learner, training, recipe)
            if reads_classes and first
            else None,
        )
        recorder.coverage = coverage_of(batches, training.labels)
        if not unreadable and first == state["epoch"]:
            report(f"sampler {recipe.names['sampler']}: {recorder.coverage(first)}")
        with bars, batches.named_errors():
            learner.fit(
                batches,
                steps_per_epoch=steps,
                initial_epoch=first,
                epochs=end,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
        unreadable.update(batches.unreadable)
    for reason in unreadable.values():
        report(f"left out of the training: {reason}")
    return recorder.state


def report_gaps(folder, epochs, report):
    """Says which of the epochs so far the log has lost."""
    logged = {row["epoch"] for row in folder.read_log()}
    if lost := sorted(set(range(1, epochs + 1)) - logged):
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        report(f"warning: {folder.log}: the line of epoch {lost[0]}{more} can't be read")


def spans(first, end, each_epoch):
    """Returns the (first, end) of epochs that are trained on one stream of batches.

    Batches that depend on what was learned must begin anew with each epoch, and not be read ahead.
    """
    if each_epoch:
        return [(epoch, epoch + 1) for epoch in range(first, end)]
    return [(first, end)]


def coverage_of(batches, labels):
    """Returns the function of an epoch that gives its `dml.samplers.Coverage`."""
    from dml.samplers import coverage

    return lambda epoch: coverage(batches.epoch_rows(epoch), labels)


def class_vectors(learner, items, recipe):
    """Returns where each class is now, floats (classes, D): its proxies' mean or its images'."""
    import keras

    from dml.encoding.embed import embed_images
    from dml.heads import ProxyHead

    if isinstance(learner.head, ProxyHead):
        return keras.ops.convert_to_numpy(learner.head.unit_proxies()).mean(axis=1)
    vectors = embed_images(  # zeros, which count for nothing, of images that are left out
        learner.encoder,
        items.paths,
        recipe.evaluation.batch_size,
        threads=recipe.training.threads,
        unreadable={} if recipe.training.unreadable == "skip" else None,
    )
    sums = np.zeros((len(items.class_names), vectors.shape[1]))
    np.add.at(sums, items.labels, vectors)
    return sums


def validate(encoder, items, recipe):
    """Returns the R@1 of the validation classes."""
    from dml.encoding.embed import embed_images
    from dml.evaluation import retrieval

    with progress("validating", len(items)) as advance:
        vectors = embed_images(
            encoder,
            items.paths,
            recipe.evaluation.batch_size,
            threads=recipe.training.threads,
            advance=advance,
        )
    return {"val_recall_at_1": float(retrieval(vectors, items.labels, ks=(1,)).recall[1])}


def finish(learner, recipe, folder, state):
    """Writes the encoder: the best epoch's by the validation classes, or the last one's."""
    from dml.training._callbacks import Checkpoint

    if recipe.training.select == "best" and state["best_epoch"]:
        Checkpoint(folder).load_best(learner.encoder, state["best_epoch"])
    with atomic_path(folder.encoder) as path:
        learner.encoder.save(path)
    folder.record(folder.encoder)


def versions(recipe):
    """Returns what the figures of a run depend on beside its recipe."""
    import keras

    names = ("dml", "keras", "tensorflow", "jax", "torch", "numpy", "grain", "faiss-cpu")
    return {
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "packages": installed_versions(*names),
        "processors": os.cpu_count(),
        "seed": recipe.training.seed,
    }


def describe(items, recipe):
    """Returns one line about the data of a run."""
    counts = []
    for split in ("train", "val", "test", "query", "gallery"):
        part = items.select(split)
        if len(part):
            counts.append(f"{split} {len(part):,} images of {len(part.class_names):,} classes")
    return f"{recipe.names['dataset']} ({items.protocol}): {', '.join(counts)}"


def describe_training(recipe, steps):
    """Returns one line about what is trained, from which weights, how and how long."""
    backbone, names, training = recipe.backbone, recipe.names, recipe.training
    own = names["backbone"] == "own"
    weights = {
        "imagenet": "ImageNet's weights",
        "none": "its own weights" if own else "random weights",
    }.get(backbone.weights, f"the weights {backbone.weights}")
    further = [
        f"{s.replace('_', ' ')} {names[s]}"
        for s in ("miner", "auxiliary_loss", "regularizer")
        if names[s] != "none"
    ]
    dim = f"embeddings of {recipe.embedding.dim}" if recipe.embedding.dim else "pooled features"
    size = backbone.input_size
    return (
        f"training {backbone.path if own else names['backbone']} from {weights}, {size} x {size} "
        f"pixels to {dim}; loss {', '.join([names['loss'], *further])}; {training.epochs:,} epochs "
        f"of {steps:,} batches of {recipe.sampler.batch_size:,} images"
    )


def report_lone_images(items, report):
    """Says which training classes have one image: no pair loss has a positive there."""
    train = items.select("train")
    lone = np.flatnonzero(np.bincount(train.labels) == 1)
    if len(lone):
        more = f" and {len(lone) - 1:,} more" if len(lone) > 1 else ""
        report(
            f"note: class {train.class_names[lone[0]]}{more} has a single training image, "
            "which is no positive of any other"
        )


def minutes(seconds):
    """Returns a duration as text."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


_EPILOG = """examples:
  dml train glyphs                         the embedded data set: needs nothing
  dml train my_images/                     a folder of class folders
  dml train cars196-half --loss.name soft_triple --loss.margin 0.02 --training.epochs 9
  dml train my_recipe.toml --out runs/mine
  dml train runs/mine --resume

sections: dataset backbone embedding sampler augmentation loss miner memory regularizer
optimizer training evaluation. `dml recipes NAME` prints a recipe with every option."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RECIPE_OR_DATASET")
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    train(
        options.source,
        options.flags,
        out=options.out,
        resume=options.resume,
        allow_parts=options.allow_parts,
        report=reporter.info,
    )


COMMAND = Command(
    "train",
    "train an encoder from a recipe, a data set or a folder of class folders",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
    after_interrupt="`dml train RUN --resume` goes on from the last epoch",
    less_memory="smaller batches, a smaller backbone.input_size or training.chunks take less",
)
