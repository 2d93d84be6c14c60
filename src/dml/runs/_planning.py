"""What a training will take: the time and memory of each stage, from a few timed batches."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dml._durations import minutes
from dml._text import number_of
from dml._threads import reading_threads
from dml.datasets import Items
from dml.errors import OptionError
from dml.recipe import EvaluationOptions, Recipe
from dml.runs._descriptions import network_of
from dml.runs._device import device_memory, device_name, peak_memory
from dml.runs._features import MOST_COMPONENT_IMAGES
from dml.runs._interpolation import MOST_STATISTICS_IMAGES
from dml.runs._learners import head_learner, image_batches
from dml.runs._measuring import measure
from dml.runs._parameters import Parameters
from dml.runs._selection import SHARES
from dml.runs._splits import TESTS, TestSplit
from dml.runs._stage_plan import StageName, StagePlan
from dml.runs._validation import is_measured

if TYPE_CHECKING:
    from dml.training import Learner

_TIMED = 3.0  # seconds of training batches that are timed, after the first one
_FEWEST, _MOST = 3, 30  # timed batches
_SAMPLE = 500  # vectors with which the metrics are timed
_SEARCHES = 3  # products of all vectors in a measurement: search, k-means and all pairs
_RESERVE = 0.1  # share of a budget that is kept for what can't be foreseen
# Measured on two cores with MobileNet: tracing and writing ONNX, and loading and writing an index.
_EXPORT_SECONDS, _INDEX_SECONDS, _REPORT_SECONDS = 15.0, 2.0, 5.0
_CHECKED = 1000  # images on which an export is compared, with both encoders


@dataclass(frozen=True)
class Timing:
    """What a few real batches took.

    Args:
        read: Seconds until an image is read, by all threads.
        start: Seconds until the first training batch is done, which compiles; 0 if the head alone
            is trained.
        step: Seconds of a training batch: reading, forward and backward; 0 likewise.
        embed: Seconds of embedding an image, with reading it.
        head_start: Seconds until the first batch of cached features is done.
        head_step: Seconds of a batch of cached features.
        features: Length of the pooled features.
        score: Seconds of measuring a test image, without comparing it with all others.
        pair: Seconds of comparing two images.
        embedding_memory: Bytes that the process took while it embedded.
        training_memory: Bytes that the process took while it trained.
        device_memory: Bytes that were taken on an accelerator; 0 without one.
    """

    read: float
    start: float
    step: float
    embed: float
    head_start: float
    head_step: float
    features: int
    score: float
    pair: float
    embedding_memory: int
    training_memory: int
    device_memory: int = 0


@dataclass(frozen=True)
class Counts:
    """What a training goes through.

    Args:
        images: Images of all splits.
        train: Images of the training split.
        validation: Images that are embedded in a validation; 0 for no validation.
        test: Images of the test split, with a gallery.
        steps: Batches in an epoch.
        seen: Images that an evaluation embeds once more, by which those of seen classes are
            classified; 0 for other protocols.
    """

    images: int
    train: int
    validation: int
    test: int
    steps: int
    seen: int = 0

    @classmethod
    def of(cls, items: Items, steps: int) -> "Counts":
        """Returns the counts of a data set's items."""
        validation = items.select("val")
        validated = len(validation) if is_measured(validation) else 0
        tests = int(np.isin(items.splits, TESTS).sum())
        train = int((items.splits == "train").sum())
        seen = len(items) if items.protocol == "seen-class" else 0
        return cls(len(items), train, validated, tests, steps, seen)

    @property
    def held_out(self) -> int:
        """Images of the validation split, measured or not."""
        return self.images - self.train - self.test


@dataclass(frozen=True)
class PlannedStage:
    """A stage of the work.

    Args:
        name: What is done.
        seconds: Expected time.
        memory: Expected memory of the process, in bytes.
        detail: How much of it there is.
    """

    name: StageName
    seconds: float
    memory: int
    detail: str = ""


@dataclass(frozen=True)
class Plan:
    """What a training is expected to take, before it starts.

    Args:
        recipe: The recipe, with as many epochs as the budget allows.
        choices: Lines on the network, the loss and the batches, and why.
        device: What it is computed on.
        timing: The timed batches.
        stages: The stages, in order.
        budget: Seconds that they may take together; None for any time.
        left_out: Names of stages that the recipe asks for and the budget does not allow.
    """

    recipe: Recipe
    choices: tuple[str, ...]
    device: str
    timing: Timing
    stages: tuple[PlannedStage, ...]
    budget: float | None = None
    left_out: tuple[StageName, ...] = ()

    @property
    def seconds(self) -> float:
        """The expected time of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def lines(self) -> Iterator[str]:
        """Yields the plan as text."""
        yield from self.choices
        yield from self.times()

    def times(self) -> Iterator[str]:
        """Yields the expected times as text."""
        batch, timing = self.recipe.sampler.batch_size, self.timing
        memory = f" and {timing.device_memory / 2**30:.1f} GiB there" * bool(timing.device_memory)
        kind, step = ("images", timing.step) if timing.step else ("features", timing.head_step)
        yield (
            f"timed on {self.device}: a batch of {batch:,} {kind} takes {step:.2g} s{memory}, "
            f"embedding an image {1000 * timing.embed:.2g} ms"
        )
        for stage in self.stages:
            memory = f"{stage.memory / 2**30:.1f} GiB" if stage.memory else ""
            yield f"  {stage.name:12} {minutes(stage.seconds):>8} {memory:>9}  {stage.detail}"
        for left_out in self.left_out:
            yield f"  {left_out:12} {'-':>8} {'':>9}  left out: there is no time for it"
        allowed = "" if self.budget is None else f" of the {minutes(self.budget)} allowed"
        yield f"  {'together':12} {minutes(self.seconds):>8}{allowed}"

    def kept(self, seconds: float) -> str:
        """Returns a line on the time that it took, next to the expected one."""
        allowed = "" if self.budget is None else f"; allowed {minutes(self.budget)}"
        return f"took {minutes(seconds)}, expected {minutes(self.seconds)}{allowed}"


def time_batches(learner: "Learner", items: Items, recipe: Recipe) -> Timing:
    """Returns what a few training batches, and embedding a few images, take.

    Args:
        learner: A compiled learner; it is trained by these batches, so it is of no use afterwards.
        items: The items of the training split.
        recipe: The recipe of the training.
    """
    from dml.encoding import embed_images

    options, size = recipe.training, recipe.evaluation.batch_size
    batches = image_batches(recipe, items, learner.metric_loss)
    with batches.named_errors():
        (images, targets), read = _timed(lambda: batches.reader(0))
        read /= len(images) * reading_threads(options.threads)
        paths = np.resize(items.paths, 2 * size)

        def embed(paths):
            embed_images(learner.encoder, paths, size, options.threads, unreadable={})

        embed(paths[:1])  # compiles
        _, seconds = _timed(lambda: embed(paths))
        embedding_memory = peak_memory()
        head_start, head_step, features = _timed_head(learner, targets, recipe)
        start = step = 0.0
        if StagePlan.of(recipe).whole:  # a head alone may have batches too large for it
            start, step = _timed_steps(learner, batches)
            step = max(step, read * len(images))  # the first ones are read ahead
    score, pair = _timed_scores(
        learner.encoder.output_shape[-1],
        recipe.evaluation,
        recipe.evaluation.ks_for(recipe.dataset),
    )
    return Timing(
        read=read,
        start=start,
        step=step,
        embed=seconds / len(paths),
        head_start=head_start,
        head_step=head_step,
        features=features,
        score=score,
        pair=pair,
        embedding_memory=embedding_memory,
        training_memory=peak_memory(),
        device_memory=device_memory(),
    )


def _timed(function):
    """Returns the result of a function, and how many seconds it took."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def _timed_head(learner, targets, recipe: Recipe) -> tuple[float, float, int]:
    """Returns the seconds of the first batch of features and of a later one, and their length."""
    from dml.encoding import head_of

    length = head_of(learner.encoder).input_shape[-1]
    if not StagePlan.of(recipe).head:
        return 0.0, 0.0, length
    alone = head_learner(recipe, learner.encoder, learner.classes, steps=1)
    size = recipe.sampler.batch_size
    features = np.random.default_rng(0).normal(size=(size, length)).astype("float32")
    times = [_timed(lambda: alone.train_on_batch(features, targets))[1] for _ in range(1 + _FEWEST)]
    return times[0], float(np.median(times[1:])), length


def _timed_steps(learner, batches) -> tuple[float, float]:
    """Returns the seconds of the first training batch, and of a later one."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.times = [time.perf_counter()]

        def on_train_batch_end(self, batch, logs=None):
            float((logs or {}).get("loss", 0.0))  # waits for the device
            self.times.append(time.perf_counter())
            took = self.times[-1] - self.times[1]
            if batch >= _FEWEST and took >= _TIMED:
                self.model.stop_training = True

    clock = Clock()
    learner.fit(
        batches, steps_per_epoch=_MOST, epochs=1, callbacks=[clock], shuffle=False, verbose=0
    )
    spans = np.diff(clock.times)
    return float(spans[0]), float(np.median(spans[1:]))


def _timed_scores(dim: int, options: EvaluationOptions, ks: Sequence[int]) -> tuple[float, float]:
    """Returns the seconds of measuring a vector of a length, and of comparing two."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(_SAMPLE, dim)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"class {row // 10}" for row in range(_SAMPLE)]
    rows = list(map(str, range(_SAMPLE)))
    items = Items.build(rows, names, ["test"] * _SAMPLE, rows, "zero-shot")
    split = TestSplit.of(items, "sample", "none")

    def score():
        measure(
            split,
            vectors,
            ks,
            options.extra_metrics,
            options.clustering_seeds,
            options.verification,
        )

    score()  # loads libraries
    _, seconds = _timed(score)
    _, compared = _timed(lambda: vectors @ vectors.T)
    return seconds / _SAMPLE, _SEARCHES * compared / _SAMPLE**2


def make_plan(
    recipe: Recipe,
    counts: Counts,
    timing: Timing,
    budget: float | None = None,
    further: Sequence[StageName] = (),
    spent: float = 0.0,
    choices: tuple[str, ...] = (),
) -> Plan:
    """Returns the plan of a training, cut to a budget.

    Args:
        recipe: The recipe; its epochs are the most that are planned.
        counts: What it goes through.
        timing: What a few batches took.
        budget: Seconds for all stages; None for any time.
        further: Stages after the evaluation: export and index.
        spent: Seconds that it took to look at the data and to time the batches.
        choices: Lines of the plan on what is trained.

    Raises:
        OptionError: Nothing can be done in the budget.
    """
    planning = PlannedStage(StageName.PLANNING, spent, timing.training_memory, "done")

    def plan(recipe):
        stages = planned_stages(recipe, counts, timing, further)
        return Plan(recipe, choices, device_name(), timing, (planning, *stages), budget)

    whole = plan(recipe)
    if budget is None:
        return whole
    shorter = (plan(one) for one in _shortened(recipe))
    for found in (whole, *shorter):
        if found.seconds <= (1 - _RESERVE) * budget:
            names = [stage.name for stage in found.stages]
            missing = (stage.name for stage in whole.stages if stage.name not in names)
            return replace(found, left_out=tuple(missing))
    longest = sorted(found.stages, key=lambda stage: -stage.seconds)[:3]
    parts = ", ".join(f"{stage.name} {minutes(stage.seconds)}" for stage in longest)
    least = _up(found.seconds / (1 - _RESERVE))
    raise OptionError("budget", f"is too short: the least for this training is {least} ({parts})")


def choices_of(
    recipe: Recipe, items: Items, parameters: Parameters, steps: int, has_proxies: bool
) -> tuple[str, ...]:
    """Returns lines on the network, the loss and the batches of a training, and why.

    Args:
        recipe: The recipe.
        items: The items of the training split.
        parameters: The parameters of the encoder.
        steps: Batches in an epoch.
        has_proxies: Whether the loss compares images with learned proxies of the classes.
    """
    counts, batch = items.label_counts(), recipe.sampler.batch_size
    size, dim = recipe.backbone.input_size, recipe.embedding.dim
    length = f"an embedding of {dim}" if dim else "its pooled features"
    why = (
        "compares images with a learned proxy of each class, so that any batch will do"
        if has_proxies
        else "compares the images of a batch with each other"
    )
    return (
        f"plan for {len(counts):,} classes to train on, with {np.median(counts):g} images each:",
        f"  network  {network_of(recipe)}, {size} x {size} pixels to {length}",
        f"  trains   {parameters}",
        f"  loss     {recipe.names['loss']}: {why}",
        f"  batches  {batch:,} images by {recipe.names['sampler']}, {steps:,} an epoch",
    )


def planned_stages(
    recipe: Recipe, counts: Counts, timing: Timing, further: Sequence[StageName] = ()
) -> Iterator[PlannedStage]:
    """Yields the stages of a training with the time and memory that they should take."""
    embed, low, high = timing.embed, timing.embedding_memory, timing.training_memory
    measured = counts.test + counts.validation
    yield PlannedStage(
        StageName.READING, counts.images * timing.read, 0, f"{counts.images:,} images, once"
    )
    aspects = 2 * counts.validation if recipe.training.select_aspect else 0
    yield PlannedStage(
        StageName.FROZEN, (measured + aspects) * embed, low, "the network before training"
    )
    chosen = recipe
    if not counts.validation:  # which decides on it
        chosen = replace(recipe, second_stage=replace(recipe.second_stage, epochs=0))
    yield from _fitted_stages(chosen, counts, timing)
    if recipe.training.refit and counts.held_out:
        # As many epochs, at most, on all images and without validation.
        images = counts.train + counts.held_out
        steps = math.ceil(counts.steps * images / counts.train)
        everything = replace(counts, train=images, validation=0, steps=steps)
        repeated = list(_fitted_stages(chosen, everything, timing))
        seconds = sum(stage.seconds for stage in repeated)
        memory = max(stage.memory for stage in repeated)
        yield PlannedStage(StageName.REFIT, seconds, memory, f"as chosen, on {images:,} images")
    yield PlannedStage(
        StageName.EVALUATION,
        (measured + counts.seen) * embed
        + timing.score * counts.test
        + timing.pair * counts.test**2
        + _REPORT_SECONDS,
        high + 12 * counts.test * (recipe.embedding.dim or timing.features),
        f"{counts.test:,} test images",
    )
    if StageName.EXPORT in further:
        compared = min(counts.test, _CHECKED)
        seconds = _EXPORT_SECONDS + 2 * compared * embed
        yield PlannedStage(StageName.EXPORT, seconds, high, f"compared on {compared:,} images")
    if StageName.INDEX in further:
        seconds = _INDEX_SECONDS + counts.images * embed
        yield PlannedStage(StageName.INDEX, seconds, high, f"{counts.images:,} images")


def _fitted_stages(recipe: Recipe, counts: Counts, timing: Timing) -> Iterator[PlannedStage]:
    """Yields the stages that train, and the choice among their results."""
    training, head, embed = recipe.training, recipe.head_stage, timing.embed
    plan, low, high = StagePlan.of(recipe), timing.embedding_memory, timing.training_memory
    validation, searching = counts.validation * embed, timing.pair * counts.validation**2
    unless = ", unless it stops early" if training.patience and counts.validation else ""

    def validations(epochs):
        # After the last one, too; one between two batches at most.
        return min(math.ceil(epochs / training.validate_every - 1e-9), epochs * counts.steps)

    if plan.head:
        seconds = (1 + head.views) * counts.train * embed
        features = 4 * (1 + head.views) * counts.train * timing.features
        views = f" and {number_of(head.views, 'view')} of each" if head.views else ""
        yield PlannedStage(StageName.FEATURES, seconds, low + features, f"of the images{views}")
        yield PlannedStage(
            StageName.HEAD,
            timing.head_start
            + head.epochs * counts.steps * timing.head_step
            + validations(head.epochs) * searching,
            low + features,
            _epochs(head.epochs, counts.steps) + unless,
        )
    elif plan.components:
        images = min(counts.train, MOST_COMPONENT_IMAGES)
        yield PlannedStage(
            StageName.EMBEDDING, images * embed, low, f"principal components of {images:,} images"
        )

    def whole(name, epochs, note=""):
        seconds = timing.start + epochs * counts.steps * timing.step
        seconds += validations(epochs) * (validation + searching)
        return PlannedStage(name, seconds, high, _epochs(epochs, counts.steps) + note + unless)

    if plan.whole:
        yield whole(plan.whole_name, training.epochs)
        if plan.second:
            yield whole(StageName.SECOND, recipe.second_stage.epochs, ", if fine-tuning helps")
        if counts.validation and plan.chooses:
            candidates = len(SHARES) * (1 + plan.second) + 1 + plan.head
            seconds = candidates * (validation + searching)
            if training.interpolate_batch_norm == "estimate":
                between = sum(share < 1 for share in SHARES) * (1 + plan.second)
                seconds += between * min(counts.train, MOST_STATISTICS_IMAGES) * embed
            yield PlannedStage(
                StageName.CHOICE, seconds, high, f"among {candidates} candidates, in validation"
            )


def _epochs(epochs: int, steps: int) -> str:
    return f"{number_of(epochs, 'epoch')} of {number_of(steps, 'batch')}"


def _shortened(recipe: Recipe) -> Iterator[Recipe]:
    """Yields ever shorter trainings of a recipe.

    Without the training on all images; with fewer epochs of the second stage, then of the first;
    then, if it has a head stage, that alone, with fewer views and epochs.
    """
    if recipe.training.refit:
        recipe = replace(recipe, training=replace(recipe.training, refit=False))
        yield recipe
    training, plan = recipe.training, StagePlan.of(recipe)
    if plan.second:
        second = recipe.second_stage
        for epochs in range(second.epochs - 1, -1, -1):
            recipe = replace(recipe, second_stage=replace(second, epochs=epochs))
            if not epochs and recipe.backbone.batch_norm != "train":  # no statistics change then
                training = replace(training, interpolate_batch_norm="interpolate")
                recipe = replace(recipe, training=training)
            yield recipe
    if plan.whole:
        for epochs in range(training.epochs - 1, 0, -1):
            yield with_epochs(recipe, epochs)
    if not plan.head:
        return
    head = recipe.head_stage
    alone = replace(recipe, training=replace(training, stage="head"))
    fewest = min(head.views, 1)
    for views in range(head.views, fewest - 1, -1):
        yield replace(alone, head_stage=replace(head, views=views))
    for epochs in range(head.epochs - 1, 0, -1):
        yield replace(alone, head_stage=replace(head, views=fewest, epochs=epochs))


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Returns the recipe with other epochs; what is counted in epochs keeps its share."""
    training, optimizer = recipe.training, recipe.optimizer
    share = epochs / training.epochs
    return replace(
        recipe,
        training=replace(
            training,
            epochs=epochs,
            freeze_backbone_epochs=int(share * training.freeze_backbone_epochs),
        ),
        optimizer=replace(
            optimizer,
            warmup_epochs=share * optimizer.warmup_epochs,
            decay_epochs=share * optimizer.decay_epochs,
        ),
    )


def _up(seconds: float) -> str:
    """Returns a duration, rounded up, as `--budget` takes it."""
    return f"{math.ceil(seconds)}s" if seconds < 600 else f"{math.ceil(seconds / 60)}m"
