"""`dml evaluate`: the figures of a run on a test split, with their protocol and intervals."""

import argparse
import dataclasses
import os
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np

from dml._console.progress import progress
from dml._console.runtime import Runtime
from dml._storage.atomic import atomic_path
from dml._storage.records import text_sha256
from dml._storage.run_folder import RunFolder
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.datasets import Items, RecordedItems
from dml.datasets.recorded import SEEN, image_digests
from dml.evaluation import ThresholdKind, thresholds_from_json
from dml.images import ImageRef
from dml.recipe import load_recipe, load_run_recipe, options_of, read_flags
from dml.reporting import Reporter

TESTS = ("test", "query", "gallery")  # splits
VOTERS = (1, 5, 20)  # nearest images of the k-NN accuracy
COPIES = (
    "{:,} of the {:,} test images are exact copies of images that the training or its validation "
    "has seen"
)
TWO_CLASSES = "images of two classes, two of them of one"


def evaluate(run, on=None, flags=(), allow_parts=False, report=print):
    """Embeds a test split, measures retrieval and clustering, and writes figures and report.

    On its own data set a run is measured on the test split that it was trained beside, however the
    data set has changed since; what has come is left out, what is gone is named.

    Args:
        run: The run's folder.
        on: A data set's name, a recipe or a folder; by default the run's own data set. What has a
            test split of its own (folders `train` and `test`, a table's column `split`, a published
            split) is measured on that; any other folder or table is measured whole, unless
            `flags` give a `test_fraction`. It is called `zero-shot` only where no class has the
            name of a training or validation class and no image is a copy of their images.
        flags: `--dataset.option value` and `--evaluation.option value`; of the run's own data set,
            `--dataset.root` alone.
        allow_parts: Whether to import the Python files that a recipe lists under `parts`.
        report: Called with each line of text for the user.

    Returns:
        The figures, as written to `metrics.json`.

    Raises:
        ValueError, FileNotFoundError: The run, the data set or an image is at fault, or another
            process writes the run.
    """
    folder = RunFolder(run).open()
    with folder.writing():
        return evaluate_locked(folder, on, flags, allow_parts, report)


def evaluate_locked(folder, on=None, flags=(), allow_parts=False, report=print):
    """Does what `evaluate` does, for a caller that holds the run's lock."""
    recipe = evaluation_recipe(folder, on, flags, allow_parts)
    from dml.encoding.encoder import load_encoder

    encoder = load_encoder(folder.checked(folder.encoder))
    known = on is None and folder.untrained.exists()
    untrained = folder.read_json(folder.untrained) if known else {}
    items, facts = tested_items(folder, recipe, on)
    for note in facts["notes"]:
        report(f"note: {note}")
    split = TestSplit.of(items, dataset_label(recipe))
    started = time.monotonic()
    vectors = split.embed(encoder, recipe)
    output = folder.evaluation(evaluation_name(recipe, on))
    result, pairs, figures, lacking = measure(split, vectors, recipe, output / "unfinished")
    thresholds = ()
    if items.protocol == "seen-class":
        named, further = linear_figures(encoder, items, recipe)
        figures.update(named)
        lacking += further
    if on is None:
        thresholds, further = calibrated(encoder, items, recipe)
        lacking += further
    for note in lacking:
        report(f"note: {note}")
    thresholds = with_test_rates(thresholds, result, pairs, vectors, split)
    metrics = {
        "schema": 1,
        "dataset": dataset_label(recipe),
        "queries": len(split.query_rows),
        "excluded": int(result.excluded) if result else len(split.query_rows),
        "gallery": len(split.gallery_rows),
        "classes": len(np.unique(split.items.labels[split.query_rows])),
        "figures": figures,
        "thresholds": [one.to_json() for one in thresholds],
        "untrained": untrained,
        "seconds": round(time.monotonic() - started, 1),
        **facts,
        "notes": [*facts["notes"], *lacking],
    }
    with atomic_path(output / "vectors.npy") as path:
        np.save(path, vectors)
    with atomic_path(output / "items.parquet") as path:
        split.table().to_parquet(path, index=False)
    folder.record(output / "vectors.npy", output / "items.parquet")
    folder.write_json(output / "metrics.json", metrics)
    pages = [output / "report.html"]
    if on is None:
        folder.write_json(folder.metrics, metrics)
        pages.append(folder.report)
    write_pages(pages, folder, recipe, split, vectors, result, pairs, metrics, thresholds)
    print_table(metrics, report)
    print_thresholds(thresholds, report)
    report(f"report: {pages[-1]}")
    return metrics


def evaluation_recipe(folder, on, flags, allow_parts=False):
    """Returns the run's recipe, with another data set's options where one is named."""
    flagged = set()
    for section, option, _ in read_flags(flags):
        if section not in ("dataset", "evaluation"):
            raise ValueError(
                f"--{section}.{option}: an evaluation takes --dataset and --evaluation options only"
            )
        if on is None and section == "dataset" and option != "root":
            raise ValueError(
                f"--dataset.{option}: a run is measured on the split that it was trained beside, "
                "of which --dataset.root alone can be another place; --on measures it on other data"
            )
        flagged.add((section, option))
    recipe = load_run_recipe(folder, flags if on is None else (), allow_parts)
    if on is None:
        return recipe
    other = load_recipe(on, flags, allow_parts)
    whole = unsplit(other.dataset)
    if Path(on).suffix == ".toml":
        whole.pop("test_fraction", None)
    unsaid = {k: v for k, v in whole.items() if ("dataset", k) not in flagged}
    return dataclasses.replace(
        recipe,
        dataset=dataclasses.replace(other.dataset, **unsaid),
        evaluation=other.evaluation,
        names={**recipe.names, "dataset": other.names["dataset"]},
    )


def dataset_label(recipe):
    """Returns what a data set is called: its name, or that of the folder or file that it is of."""
    name = recipe.names["dataset"]
    root = os.path.realpath(os.path.expanduser(recipe.dataset.root))
    return Path(root).name or name if name in ("folder", "table") else name


def evaluation_name(recipe, on):
    """Returns the name of an evaluation's folder: one for each data set and its options.

    Args:
        recipe: As of `evaluation_recipe`.
        on: What it was made with; None for the run's own data set.
    """
    if on is None:
        return recipe.names["dataset"]
    part = recipe.dataset
    options = {field.name: getattr(part, field.name) for field in options_of(type(part))}
    options["root"] = part.root and os.path.realpath(os.path.expanduser(part.root))
    digest = text_sha256([recipe.names["dataset"], options])[:8]
    label = re.sub(r"[^\w.-]", "_", dataset_label(recipe))
    return f"{label[:60]}-{digest}"


def tested_items(folder, recipe, on):
    """Returns the `Items` that a run is measured on, and what there is to say of them.

    Args:
        folder: The `RunFolder`.
        recipe: As of `evaluation_recipe`.
        on: What it was made with; None for the run's own data set.

    Returns:
        (items, facts): the facts are "protocol"; of the run's own data set "since_training",
        numbers of images that "came", are "gone" or "changed"; "seen", numbers of "classes" and
        "images" of the test that training or validation has seen; "unreadable", numbers of
        images of each split that can't be read and are left out, as the run's recipe says; and
        "notes", lines for the user.

    Raises:
        ImageError: An image can't be read, and the recipe doesn't skip these.
    """
    recorded = RecordedItems.read(folder.checked(folder.items))
    if on is None:
        splits = (*TESTS, "val", *(["train"] * (recorded.items.protocol == "seen-class")))
        items, changes = found_items(recorded, recipe, splits)
        notes = [f"{changes}; what is as it was is measured"] if str(changes) else []
        if unreadable := recorded.unreadable():
            notes.append(f"left out as unreadable when it was trained: {counted(unreadable)}")
        tests = np.isin(recorded.items.splits, TESTS)
        seen = recorded.seen_in(recorded.items.take(tests), recorded.digests[tests])
        if seen["images"]:
            notes.append(COPIES.format(seen["images"], tests.sum()))
        return items, {
            "protocol": items.protocol,
            "since_training": changes.counts(),
            "seen": seen,
            "unreadable": unreadable,
            "notes": notes,
        }
    items = recipe.dataset.items()
    if not np.isin(items.splits, TESTS).any():
        items = dataclasses.replace(items, splits=np.full(len(items), "test"), protocol="zero-shot")
    items = items.select(*TESTS, *(SEEN if items.protocol == "seen-class" else ()))
    skip = recipe.training.unreadable == "skip"
    faults = {} if skip else None
    with progress("looking for training images", len(items)) as advance:
        digests = image_digests(items.paths, recipe.training.threads, advance, faults, decode=skip)
    notes, readable = [*items.notes], digests != ""
    unreadable = dict(Counter(items.splits[~readable].tolist()))
    if unreadable:
        notes.append(f"left out as unreadable: {counted(unreadable)} ({faults[min(faults)]})")
    items, digests = items.take(readable), digests[readable]
    rows = np.isin(items.splits, TESTS)
    tested = items.take(rows)
    seen = recorded.seen_in(tested, digests[rows])
    if seen["classes"]:
        notes.append(
            f"{seen['classes']:,} of the {len(tested.class_names):,} classes have the name of a "
            "class that the training or its validation has seen; it may be another class of that "
            "name"
        )
    if seen["images"]:
        notes.append(COPIES.format(seen["images"], len(tested)))
    protocol = "seen-class" if any(seen.values()) else "zero-shot"
    if items.protocol == "query-gallery":
        protocol = items.protocol
    return items, {"protocol": protocol, "seen": seen, "unreadable": unreadable, "notes": notes}


def counted(counts):
    """Returns {split: number} in words."""
    return ", ".join(f"{split} {count:,}" for split, count in counts.items())


def found_items(recorded, recipe, splits):
    """Returns the `Items` of a run that are as they were, those of `splits` read, and `Changes`."""
    wanted = int(np.isin(recorded.items.splits, splits).sum())
    now = dataclasses.replace(recipe.dataset, **unsplit(recipe.dataset)).items()
    with progress("comparing with the training's images", wanted) as advance:
        return recorded.found(now, splits, recipe.training.threads, advance)


def unsplit(dataset):
    """Returns the options of a part of `dml.datasets` with which nothing is set apart."""
    options = {"validation_fraction": 0.0}
    if hasattr(dataset, "test_fraction"):
        options["test_fraction"] = 0.0
    return options


@dataclasses.dataclass(frozen=True, eq=False)
class TestSplit:
    """The items of a test: queries search each other, or a gallery.

    Args:
        items: Queries and gallery together, so that they share their label codes.
        query_rows: Rows (Q,) of the queries.
        gallery_rows: Rows (G,) of the gallery: the queries themselves where there is none.
    """

    items: object
    query_rows: np.ndarray
    gallery_rows: np.ndarray

    @classmethod
    def of(cls, items, name):
        """Returns the test split of a data set's items; its class names are text.

        Raises:
            ValueError: It has none, or of a single class.
        """
        with_gallery = items.protocol == "query-gallery"
        items = items.select(*(("query", "gallery") if with_gallery else ("test",)))
        names = [str(items.class_names[code]) for code in items.labels]
        items = Items.build(items.paths, names, items.splits, items.ids, items.protocol)
        queries = gallery = np.arange(len(items))
        if with_gallery:
            queries, gallery = (
                np.flatnonzero(items.splits == side) for side in ("query", "gallery")
            )
        if not len(queries) or not len(gallery):
            raise ValueError(f"{name} has no test images to evaluate on")
        if len(only := np.unique(items.labels[gallery])) == 1:
            raise ValueError(
                f"{name}: all test images are of one class, {items.class_names[only[0]]}, with "
                "which every figure is 100: test on images of two classes or more"
            )
        return cls(items, queries, gallery)

    @classmethod
    def read(cls, path, protocol, name):
        """Returns the test split that an evaluation has left as a table.

        Raises:
            ValueError: The table is damaged.
        """
        import pandas as pd

        try:
            table = pd.read_parquet(path)
            columns = (table[column].tolist() for column in ("path", "class", "split", "id"))
            items = Items.build(*columns, protocol)
        except (ValueError, KeyError, OSError, NotImplementedError) as error:
            raise ValueError(f"{path}: damaged; evaluate the run again ({error})") from None
        return cls.of(items, name)

    @property
    def has_gallery(self):
        return self.items.protocol == "query-gallery"

    @property
    def has_positives(self):
        """Whether any query has an image of its class, beside itself, to find."""
        labels = self.items.labels
        if self.has_gallery:
            return bool(np.isin(labels[self.query_rows], labels[self.gallery_rows]).any())
        return bool(np.bincount(labels).max() > 1)

    def embed(self, encoder, recipe):
        """Returns the vectors of all items, in their order."""
        from dml.encoding.embed import embed_images

        with progress("embedding the test images", len(self.items)) as advance:
            return embed_images(
                encoder,
                self.items.paths,
                recipe.evaluation.batch_size,
                threads=recipe.training.threads,
                advance=advance,
            )

    def table(self):
        """Returns the items as a table whose row i belongs to vector i."""
        import pandas as pd

        items = self.items
        paths = [str(ImageRef.parse(path).absolute()) for path in items.paths]
        names = [items.class_names[code] for code in items.labels]
        columns = {"id": items.ids, "path": paths, "class": names, "split": items.splits}
        return pd.DataFrame(columns)


def measure(split, vectors, recipe, unfinished=None):
    """Returns what can be measured of a test split.

    Args:
        split: A `TestSplit`.
        vectors: Floats (N, D) of its items.
        recipe: Whose evaluation options hold.
        unfinished: A folder that keeps what is done of the search, should it be stopped.

    Returns:
        (`Retrieval` or None, `Verification` or None, figures ready for JSON, notes on those that
        can't be measured).
    """
    from dml.evaluation import clustering, retrieval, verification

    options, labels, rows = recipe.evaluation, split.items.labels, split.query_rows
    result, pairs, figures, notes = None, None, {}, []
    if split.has_positives:
        gallery = {}
        if split.has_gallery:
            found = split.gallery_rows
            gallery = {"gallery": vectors[found], "gallery_labels": labels[found]}
        with progress("searching", len(rows)) as advance:
            result = retrieval(
                vectors[rows],
                labels[rows],
                ks=options.ks or recipe.dataset.recall_ks,
                extra_metrics=options.extra_metrics,
                advance=advance,
                unfinished=unfinished,
                **gallery,
            )
        figures.update(result.metrics())
    else:
        notes.append("no retrieval figures: no query has an image of its class to find")
    if options.clustering_seeds and two_classes(labels[rows]):
        found = clustering(vectors[rows], labels[rows], seeds=options.clustering_seeds)
        figures.update(found.metrics())
    elif options.clustering_seeds:
        notes.append(f"no clustering figures: they take {TWO_CLASSES}")
    if options.verification and two_classes(labels):
        with progress("comparing all pairs", len(vectors)) as advance:
            pairs = verification(vectors, labels, advance)
        figures.update({name: {"value": value} for name, value in pairs.metrics().items()})
    elif options.verification:
        notes.append(f"no verification figures: they take {TWO_CLASSES}")
    return result, pairs, figures, notes


def two_classes(labels):
    """Returns whether label codes (N,) are of two classes or more, and two are equal."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and counts.max() > 1


def calibrated(encoder, items, recipe):
    """Returns thresholds that keep the recipe's promises, and notes on those that don't.

    Calibrated on the validation split.

    Returns:
        (tuple of `CalibratedThreshold`, notes).
    """
    from dml.encoding.embed import embed_images
    from dml.evaluation import retrieval, threshold_for_far, threshold_for_precision, verification

    options, trained, items = recipe.evaluation, items.select("train"), items.select("val")
    if not two_classes(items.labels):
        return (), [f"no calibrated thresholds: they take {TWO_CLASSES} in validation"]
    vectors = embed_images(
        encoder, items.paths, options.batch_size, threads=recipe.training.threads
    )
    nearest = retrieval(vectors, items.labels, ks=(1,)).neighbours[:, 0]
    similarities, right = (vectors * vectors[nearest]).sum(1), items.labels == items.labels[nearest]
    pairs = verification(vectors, items.labels)
    wanted = {
        f"a precision of {100 * options.target_precision:g} %": threshold_for_precision(
            similarities, right, options.target_precision
        ),
        f"a false accept rate of {100 * options.target_far:g} %": threshold_for_far(
            pairs, options.target_far
        ),
    }
    notes = [
        f"no similarity promises {name} on the validation split"
        for name, threshold in wanted.items()
        if threshold is None
    ]
    thresholds = tuple(threshold for threshold in wanted.values() if threshold is not None)
    seen = set(items.class_names) & set(trained.class_names)
    if thresholds and items.protocol != "seen-class" and seen:
        notes.append(
            "the thresholds were chosen on images of classes that were trained on; of other "
            "classes they may let in more"
        )
    return thresholds, notes


def with_test_rates(thresholds, result, pairs, vectors, split):
    """Returns thresholds with what they do on the test split, on which they were not chosen."""
    if result is None:
        return thresholds
    labels, queries, gallery = split.items.labels, split.query_rows, split.gallery_rows
    nearest = gallery[result.neighbours[:, 0]]
    similarities = (vectors[queries] * vectors[nearest]).sum(axis=1)
    right = labels[queries] == labels[nearest]
    tested = []
    for threshold in thresholds:
        accepted, rate = similarities >= threshold.similarity, None
        if threshold.kind is ThresholdKind.PRECISION and accepted.any():
            rate = float(right[accepted].mean())
        elif threshold.kind is ThresholdKind.FAR and pairs is not None:
            limits, rates, _ = pairs.roc()
            rate = float(rates[np.searchsorted(-limits, -threshold.similarity, "right") - 1])
        tested.append(
            dataclasses.replace(threshold, test_rate=rate, test_coverage=float(accepted.mean()))
        )
    return tuple(tested)


def print_thresholds(thresholds, report):
    """Reports from which similarity on results can be trusted, and how that held on the test."""
    for one in thresholds:
        tested = "not measured" if one.test_rate is None else f"{100 * one.test_rate:.1f} %"
        covered = ""
        if one.test_coverage is not None:
            covered = f", for {100 * one.test_coverage:.0f} % of the queries"
        report(
            f"similarity {one.similarity:.3f}: {one.promise} on the validation split (95 % "
            f"confidence); on the test split {tested}{covered}"
        )


def untrained_figures(encoder, items, recipe):
    """Returns the retrieval figures of an encoder before its first step."""
    split = TestSplit.of(items, recipe.names["dataset"])
    quick = dataclasses.replace(recipe.evaluation, clustering_seeds=0, verification=False)
    recipe = dataclasses.replace(recipe, evaluation=quick)
    return measure(split, split.embed(encoder, recipe), recipe)[2]


def linear_figures(encoder, items, recipe):
    """Returns how well a linear classifier and the nearest training images name test images.

    Returns:
        (figures ready for JSON, notes on those that can't be measured).
    """
    from dml.encoding.embed import embed_images
    from dml.evaluation import knn_evaluation, linear_evaluation

    items = items.select("train", "val", "test")
    vectors = embed_images(
        encoder, items.paths, recipe.evaluation.batch_size, threads=recipe.training.threads
    )
    test = items.splits == "test"
    sides = vectors[~test], items.labels[~test], vectors[test], items.labels[test]
    sizes = np.bincount(sides[1])
    unknown = ~np.isin(sides[3], sides[1])
    if (sizes > 0).sum() < 2 or unknown.all():
        needed = "training images of two classes, and test images of one of them"
        return {}, [f"no linear and k-NN accuracy: they take {needed}"]
    votes = knn_evaluation(*sides, ks=[k for k in VOTERS if k <= len(sides[0])])
    figures = {f"{k}-NN accuracy": {"value": share} for k, share in votes.items()}
    notes = []
    if (sizes > 1).sum() < 2:
        notes.append("no linear accuracy: it takes two training images of each of two classes")
    else:
        figures = {**linear_evaluation(*sides).metrics(), **figures}
    if unknown.any():
        notes.append(
            f"{unknown.sum():,} test images are of classes without a training image, which linear "
            "and k-NN accuracy count as wrong"
        )
    return figures, notes


def print_table(metrics, report):
    """Reports the figures, their intervals and those of the untrained encoder as a table."""
    excluded = (
        f", {metrics['excluded']:,} without a positive left out" if metrics["excluded"] else ""
    )
    report(
        f"{metrics['dataset']}, {metrics['protocol']}: {metrics['queries']:,} queries of "
        f"{metrics['classes']:,} classes in a gallery of {metrics['gallery']:,}{excluded}"
    )
    if metrics["figures"]:
        report(f"{'':18}{'trained':>8}  {'95 % interval':>15}{'untrained':>11}")
    for name, figure in metrics["figures"].items():
        text = f"{name:18}{100 * figure['value']:8.1f}  "
        low_high = [figure.get(key) for key in ("low", "high")]
        if None not in low_high:
            text += f"{100 * low_high[0]:6.1f} - {100 * low_high[1]:5.1f} "
        elif "spread" in figure:
            text += f"{'+-':>9} {100 * figure['spread']:4.1f}  "
        else:
            text += " " * 16
        before = metrics["untrained"].get(name)
        report(text + (f"{100 * before['value']:10.1f}" if before else ""))


def rebuild(run, on=None, flags=(), allow_parts=False, report=print):
    """Writes the report of an evaluation again, from the vectors and figures that it left.

    Args:
        run: The run's folder.
        on: What it was evaluated on; by default the run's own data set.
        flags: As of `evaluate`.
        allow_parts: As of `evaluate`.
        report: Called with each line of text for the user.

    Raises:
        FileNotFoundError: The run is not evaluated on that.
        ValueError: The evaluation's files are damaged, or another process writes the run.
    """
    folder = RunFolder(run).open()
    with folder.writing():
        rebuild_locked(folder, on, flags, allow_parts, report)


def rebuild_locked(folder, on, flags, allow_parts, report):
    """Does what `rebuild` does, for a caller that holds the run's lock."""
    recipe = evaluation_recipe(folder, on, flags, allow_parts)
    output = folder.evaluation(evaluation_name(recipe, on))
    if not (output / "metrics.json").exists():
        raise FileNotFoundError(
            f"{output} holds no evaluation: run "
            f"`dml evaluate {folder.path}{f' --on {on}' if on else ''}`"
        )
    metrics = folder.read_json(output / "metrics.json")
    thresholds = thresholds_from_json(metrics["thresholds"], output / "metrics.json")
    split = TestSplit.read(
        folder.checked(output / "items.parquet"), metrics["protocol"], metrics["dataset"]
    )
    vectors = read_vectors(folder.checked(output / "vectors.npy"), len(split.items))
    quick = dataclasses.replace(recipe.evaluation, clustering_seeds=0)
    result, pairs, *_ = measure(split, vectors, dataclasses.replace(recipe, evaluation=quick))
    pages = [output / "report.html", *([folder.report] if on is None else [])]
    write_pages(pages, folder, recipe, split, vectors, result, pairs, metrics, thresholds)
    report(f"report: {pages[-1]}")


def read_vectors(path, count):
    """Returns the vectors (count, D) that an evaluation has left.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        vectors = np.load(path, mmap_mode="r")  # without the memory that its header claims
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: damaged; evaluate the run again ({error})") from None
    if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != count:
        found = f"{vectors.dtype} {vectors.shape}"
        raise ValueError(
            f"{path}: {count:,} vectors belong here; it holds {found}. Evaluate the run again"
        )
    return np.array(vectors)


def write_pages(pages, folder, recipe, split, vectors, result, pairs, metrics, thresholds):
    """Writes the report of an evaluation."""
    from dml.images import read_image
    from dml.report import Metric, ReportData, write_report

    untrained = metrics["untrained"]

    def interval(figure):
        return (figure["low"], figure["high"]) if figure and "low" in figure else None

    def reader(rows):
        return lambda row: read_image(split.items.paths[rows[row]])

    shown = [
        Metric(
            name,
            figure["value"],
            interval(figure),
            untrained[name]["value"] if name in untrained else None,
            interval(untrained.get(name)),
        )
        for name, figure in metrics["figures"].items()
    ]
    labels, queries, gallery = split.items.labels, split.query_rows, split.gallery_rows
    data = ReportData(
        title=f"{recipe.names['loss']} on {metrics['dataset']}",
        dataset=metrics["dataset"],
        protocol=metrics["protocol"],
        metrics=shown,
        counts={
            "queries": metrics["queries"],
            "classes": metrics["classes"],
            "images in the gallery": metrics["gallery"],
            "queries without a positive": metrics["excluded"],
        },
        notes=metrics["notes"],
        history=folder.read_log(),
        vectors=vectors[queries],
        labels=labels[queries],
        class_names=split.items.class_names,
        neighbours=result.neighbours if result else np.zeros((len(queries), 0), int),
        first_positive=result.first_positive if result else np.zeros(len(queries), int),
        thumbnail=reader(queries),
        gallery_vectors=vectors[gallery] if split.has_gallery else None,
        gallery_labels=labels[gallery] if split.has_gallery else None,
        gallery_thumbnail=reader(gallery) if split.has_gallery else None,
        thresholds={one.promise: one.similarity for one in thresholds},
        errors=error_rates(pairs),
        recipe=recipe.to_toml(),
        versions=folder.read_json(folder.versions),
        seeds={"training": recipe.training.seed},
    )
    for page in pages:
        write_report(page, data)


def error_rates(pairs):
    """Returns false accept and false reject rates of a `Verification`; None without any."""
    if pairs is None:
        return None
    _, accepted, found = pairs.roc()
    return accepted, 1.0 - found


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument(
        "--on",
        metavar="DATASET",
        help="a data set's name or a folder, measured whole where it has no test split of its own",
    )
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    evaluate(options.run, options.on, options.flags, options.allow_parts, report=reporter.info)


COMMAND = Command(
    "evaluate",
    "measure a run on its test split, or on another data set",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
    takes_flags=True,
    after_interrupt="the same command goes on from the last finished part of the search",
    less_memory="a smaller --evaluation.batch_size takes less",
)
