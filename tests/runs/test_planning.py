"""Plans by hand from timings, and what a budget leaves of a training."""

import dataclasses

import numpy as np
import pytest

from dml.datasets import Items
from dml.errors import OptionError
from dml.recipe import load_recipe
from dml.runs import Trainer
from dml.runs._planning import Counts, Timing, make_plan, planned_stages, with_epochs
from tests.runs.running import flags

GIB = 2**30
TIMING = Timing(
    read=0.001,
    start=5.0,
    step=0.5,
    embed=0.01,
    head_start=2.0,
    head_step=0.01,
    features=768,
    score=0.001,
    pair=1e-6,
    embedding_memory=1 * GIB,
    training_memory=2 * GIB,
)
COUNTS = Counts(images=5000, train=3000, validation=500, test=1500, steps=40)


def recipe(**options):
    return load_recipe("glyphs", [w for k, v in options.items() for w in (f"--{k}", str(v))])


def seconds(recipe, further=()):
    return {s.name: s.seconds for s in planned_stages(recipe, COUNTS, TIMING, further)}


def test_what_a_training_goes_through_is_counted():
    splits = ["train"] * 5 + ["val"] * 4 + ["query"] * 2 + ["gallery"]
    rows = list(map(str, range(12)))
    items = Items.build(rows, ["a", "b"] * 6, splits, rows, "query-gallery")
    assert Counts.of(items, 7) == Counts(images=12, train=5, validation=4, test=3, steps=7)
    alone = Items.build(rows, ["a"] * 12, splits, rows, "query-gallery")
    found = Counts.of(alone, 7)
    assert found.validation == 0 and found.held_out == 4  # R@1 of a single class is not measured
    splits = ["train"] * 5 + ["val"] * 4 + ["test"] * 3
    seen = Items.build(rows, ["a", "b"] * 6, splits, rows, "seen-class")
    assert Counts.of(seen, 7).seen == 12


def test_each_stage_by_hand():
    found = seconds(recipe(**{"training.epochs": 10}), ("export", "index"))
    assert found["reading"] == pytest.approx(5000 * 0.001)
    assert found["frozen"] == pytest.approx(2000 * 0.01)
    scoring = 500**2 * 1e-6
    assert found["training"] == pytest.approx(5 + 10 * (40 * 0.5 + 500 * 0.01 + scoring))
    # Embedding test and validation images, the metrics, all pairs, and the report.
    assert found["evaluation"] == pytest.approx(2000 * 0.01 + 1500 * 0.001 + 1500**2 * 1e-6 + 5)
    assert found["export"] == pytest.approx(15 + 2 * 1000 * 0.01)  # at most 1000 images
    assert found["index"] == pytest.approx(2 + 5000 * 0.01)


def test_an_evaluation_of_seen_classes_embeds_all_images_once_more():
    counts = dataclasses.replace(COUNTS, seen=5000)
    stages = {stage.name: stage.seconds for stage in planned_stages(recipe(), counts, TIMING)}
    scoring = 1500 * 0.001 + 1500**2 * 1e-6
    assert stages["evaluation"] == pytest.approx((2000 + 5000) * 0.01 + scoring + 5)
    assert stages["frozen"] == pytest.approx(2000 * 0.01)


def test_fewer_validations_take_less():
    options = {"training.epochs": 10, "training.validate_every": 4}  # after 4, 8 and 10
    assert seconds(recipe(**options))["training"] == pytest.approx(5 + 200 + 3 * 5.25)
    often = {"training.epochs": 10, "training.validate_every": 0.3}  # 33 times, and after the last
    assert seconds(recipe(**often))["training"] == pytest.approx(5 + 200 + 34 * 5.25)
    always = {"training.epochs": 10, "training.validate_every": 1e-6}
    assert seconds(recipe(**always))["training"] == pytest.approx(5 + 200 + 400 * 5.25)


def test_validations_of_the_head_stage_are_counted_too():
    options = {"training.stage": "head", "head_stage.epochs": 10, "head_stage.views": 0}
    options |= {"training.validate_every": 0.5, "training.patience": 3}
    stages = {stage.name: stage for stage in planned_stages(recipe(**options), COUNTS, TIMING)}
    assert stages["head stage"].seconds == pytest.approx(2 + 10 * 40 * 0.01 + 20 * 0.25)
    assert stages["head stage"].detail == "10 epochs of 40 batches, unless it stops early"


def test_an_early_stop_is_not_foreseen():
    options = {"training.epochs": 10, "training.patience": 3}
    stages = {stage.name: stage for stage in planned_stages(recipe(**options), COUNTS, TIMING)}
    assert stages["training"].detail == "10 epochs of 40 batches, unless it stops early"
    assert stages["training"].seconds == pytest.approx(5 + 10 * 25.25)


def adapted(**options):
    """Returns a recipe of pretrained weights with all stages."""
    return recipe(
        **{
            "backbone.weights": "weights.h5",
            "training.stage": "adapt",
            "training.epochs": 10,
            "head_stage.views": 4,
            "head_stage.epochs": 20,
            **options,
        }
    )


def test_the_stages_of_pretrained_weights_by_hand():
    found = seconds(adapted())
    assert list(found) == [
        *("reading", "frozen", "features", "head stage", "fine-tuning", "choice"),
        "evaluation",
    ]
    # Four views and the image itself.
    assert found["features"] == pytest.approx(5 * 3000 * 0.01)
    assert found["head stage"] == pytest.approx(2 + 20 * (40 * 0.01 + 0.25))
    assert found["fine-tuning"] == pytest.approx(5 + 10 * 25.25)
    # The start, the head, and four shares of the fine-tuned weights.
    assert found["choice"] == pytest.approx(6 * 5.25)
    # Three of them with statistics of 2,048 images of their own.
    estimated = seconds(adapted(**{"training.interpolate_batch_norm": "estimate"}))
    assert estimated["choice"] == pytest.approx(6 * 5.25 + 3 * 20.48)
    alone = seconds(adapted(**{"training.stage": "head"}))
    assert list(alone) == [*list(found)[:4], "evaluation"]
    whole = seconds(adapted(**{"training.stage": "full"}))
    assert list(whole) == ["reading", "frozen", "embedding", "fine-tuning", "evaluation"]
    assert whole["embedding"] == pytest.approx(3000 * 0.01)
    random = {"training.stage": "full", "embedding.init": "random"}
    assert "embedding" not in seconds(adapted(**random))


def test_a_second_stage_and_a_training_on_all_images_by_hand():
    options = {"second_stage.epochs": 4, "training.refit": "true", "head_stage.views": 0}
    found = seconds(adapted(**options))
    assert list(found) == [
        *("reading", "frozen", "features", "head stage", "fine-tuning", "second stage", "choice"),
        *("refit", "evaluation"),
    ]
    assert found["second stage"] == pytest.approx(5 + 4 * 25.25)
    # The start, the head, and four shares of the weights of each fine-tuning.
    assert found["choice"] == pytest.approx(10 * 5.25)
    # 3,500 images in 47 batches: features, head stage, fine-tuning and second stage.
    head = 3500 * 0.01 + 2 + 20 * 47 * 0.01
    assert found["refit"] == pytest.approx(head + 5 + 10 * 47 * 0.5 + 5 + 4 * 47 * 0.5)
    unvalidated = Counts(images=5000, train=3500, validation=0, test=1500, steps=47)
    names = [stage.name for stage in planned_stages(adapted(**options), unvalidated, TIMING)]
    assert "second stage" not in names and "refit" not in names


def test_images_on_which_nothing_is_measured_are_trained_on_again_too():
    unmeasured = dataclasses.replace(COUNTS, validation=0)
    options = {"second_stage.epochs": 4, "training.refit": "true", "head_stage.views": 0}
    planned = planned_stages(adapted(**options), unmeasured, TIMING)
    found = {stage.name: stage for stage in planned}
    # 3,500 images in 47 batches; without validation there is no second stage.
    assert found["refit"].seconds == pytest.approx(
        3500 * 0.01 + 2 + 20 * 47 * 0.01 + 5 + 10 * 47 * 0.5
    )
    assert found["refit"].detail == "as chosen, on 3,500 images"
    assert "second stage" not in found


@pytest.mark.parametrize(
    "budget, refit, second, epochs",
    [
        (1200.0, True, 4, 10),
        (800.0, False, 4, 10),
        (540.0, False, 2, 10),
        (480.0, False, 0, 10),
        (420.0, False, 0, 9),
    ],
)
def test_a_short_budget_leaves_the_first_fine_tuning(budget, refit, second, epochs):
    # 911.1 s: 396.4 of the refit, 25.25 of each epoch of a fine-tuning, 5 of the second one's start
    # and 21 of its candidates. A tenth of the budget is kept.
    options = {"second_stage.epochs": 4, "training.refit": "true", "head_stage.views": 0}
    found = make_plan(adapted(**options), COUNTS, TIMING, budget).recipe
    plan = make_plan(adapted(**options), COUNTS, TIMING, budget)
    left_out = [
        name for name, is_kept in (("second stage", second), ("refit", refit)) if not is_kept
    ]
    assert list(plan.left_out) == left_out
    assert [line.split()[0] for line in plan.times() if "left out" in line] == [
        name.split()[0] for name in left_out
    ]
    assert (found.training.refit, found.second_stage.epochs) == (refit, second)
    assert found.training.epochs == epochs


def test_a_budget_leaves_no_statistics_to_estimate_where_none_change():
    options = {"second_stage.epochs": 4, "training.interpolate_batch_norm": "estimate"}
    frozen = {**options, "backbone.batch_norm": "frozen", "second_stage.batch_norm": "train"}
    whole = make_plan(adapted(**frozen), COUNTS, TIMING).recipe
    assert whole.training.interpolate_batch_norm == "estimate"
    short = make_plan(adapted(**frozen), COUNTS, TIMING, 520.0).recipe
    assert short.second_stage.epochs == 0
    assert short.training.interpolate_batch_norm == "interpolate"


def test_random_weights_have_no_head_stage():
    found = seconds(adapted(**{"backbone.weights": "none"}))
    assert list(found) == ["reading", "frozen", "training", "choice", "evaluation"]
    assert found["choice"] == pytest.approx(5 * 5.25)  # the start, and four shares


def test_a_budget_takes_epochs_away_and_none_is_added():
    whole = make_plan(recipe(**{"training.epochs": 10}), COUNTS, TIMING, spent=9.0)
    assert whole.stages[0].seconds == 9.0 and whole.recipe.training.epochs == 10
    assert whole.seconds == pytest.approx(9 + 5 + 20 + 257.5 + 28.75)
    generous = make_plan(whole.recipe, COUNTS, TIMING, budget=3600.0)
    assert generous.recipe == whole.recipe
    # 90 % of 220 s are 198; an epoch takes 25.25 s, the rest 67.75.
    short = make_plan(whole.recipe, COUNTS, TIMING, budget=220.0, spent=9.0)
    assert short.recipe.training.epochs == 5
    assert short.seconds == pytest.approx(67.75 + 5 * 25.25)


@pytest.mark.parametrize(
    "budget, stage, epochs, views, head_epochs",
    [
        (600.0, "adapt", 10, 4, 20),
        (312.0, "adapt", 1, 4, 20),  # 280.5 s
        (300.0, "head", 10, 4, 20),  # 218.75 s
        (220.0, "head", 10, 3, 20),  # 188.75 s
        (135.0, "head", 10, 1, 8),  # 115.75 s, and 0.65 s an epoch
    ],
)
def test_a_short_budget_leaves_the_head_stage(budget, stage, epochs, views, head_epochs):
    found = make_plan(adapted(), COUNTS, TIMING, budget).recipe
    assert found.training.stage == stage
    assert (found.head_stage.views, found.head_stage.epochs) == (views, head_epochs)
    if stage == "adapt":
        assert found.training.epochs == epochs


@pytest.mark.parametrize("of, least", [(recipe, 94), (adapted, 130)])  # 84 s and 116.4 s
def test_a_budget_in_which_nothing_can_be_done_names_the_smallest(of, least):
    with pytest.raises(OptionError, match=rf"^budget is too short: .* {least}s") as caught:
        make_plan(of(), COUNTS, TIMING, budget=60.0)
    assert "\n" not in str(caught.value)
    assert make_plan(of(), COUNTS, TIMING, budget=float(least)).seconds < least


def test_a_short_budget_adds_no_views():
    # Without views 98.75 s, of which the features take 30, the head stage 15 and 53.75 the rest.
    found = make_plan(adapted(**{"head_stage.views": 0}), COUNTS, TIMING, budget=115.0).recipe
    assert (found.training.stage, found.head_stage.views) == ("head", 0)
    assert found.head_stage.epochs == 20


def test_what_is_counted_in_epochs_keeps_its_share_of_the_training():
    options = {
        "training.epochs": 10,
        "training.freeze_backbone_epochs": 3,
        "optimizer.warmup_epochs": 2.0,
        "optimizer.decay_epochs": 4.0,
    }
    half = with_epochs(recipe(**options), 5)
    assert half.training.epochs == 5 and half.training.freeze_backbone_epochs == 1
    assert half.optimizer.warmup_epochs == 1.0 and half.optimizer.decay_epochs == 2.0


def test_the_plan_as_text():
    plan = make_plan(recipe(**{"training.epochs": 2}), COUNTS, TIMING, budget=300.0, spent=9.0)
    lines = list(plan.lines())
    assert lines[0].endswith("a batch of 64 images takes 0.5 s, embedding an image 10 ms")
    assert lines[1:3] == [
        "  planning          9 s   2.0 GiB  done",
        "  reading           5 s            5,000 images, once",
    ]
    assert lines[4] == "  training         56 s   2.0 GiB  2 epochs of 40 batches"
    assert lines[-1] == "  together      2.0 min of the 5.0 min allowed"
    assert plan.kept(100.4) == "took 1.7 min, expected 2.0 min; allowed 5.0 min"
    device = dataclasses.replace(TIMING, device_memory=3 * GIB)
    (line, *_) = make_plan(plan.recipe, COUNTS, device).lines()
    assert line.endswith("64 images takes 0.5 s and 3.0 GiB there, embedding an image 10 ms")
    head = dataclasses.replace(TIMING, start=0.0, step=0.0)
    (line, *_) = make_plan(plan.recipe, COUNTS, head).lines()
    assert line.endswith("a batch of 64 features takes 0.01 s, embedding an image 10 ms")
    free = make_plan(plan.recipe, COUNTS, TIMING)
    assert list(free.lines())[-1] == "  together      1.8 min"


@pytest.mark.slow
def test_real_batches_are_timed_and_nothing_is_written(tmp_path, monkeypatch):
    weights = tmp_path / "tiny.weights.h5"
    load_recipe("glyphs", flags()).backbone.network().save_weights(weights)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    options = flags(backbone__weights=weights, training__stage="adapt")
    trainer = Trainer(load_recipe("glyphs", options))
    plan = trainer.plan(36000.0)
    timing = dataclasses.asdict(plan.timing)
    timing.pop("device_memory")  # 0 without an accelerator
    assert all(np.isfinite(list(timing.values()))) and min(timing.values()) > 0
    assert timing["features"] == 8  # filters
    assert plan.recipe == trainer.recipe
    assert [stage.name for stage in plan.stages] == [
        *("planning", "reading", "frozen", "features", "head stage", "fine-tuning", "choice"),
        "evaluation",
    ]
    assert not list((tmp_path / "empty").iterdir())
    with pytest.raises(OptionError, match="budget must be positive"):
        trainer.plan(0.0)
    # The head alone may have batches that the encoder has no memory for.
    monkeypatch.setattr("dml.runs._planning._timed_steps", None)
    head = Trainer(load_recipe("glyphs", [*options, "--training.stage", "head"])).plan()
    assert head.timing.start == head.timing.step == 0 < head.timing.head_step
