"""Stages of a training: the frozen network, the initial embedding, interpolated weights."""

import json
import weakref

import cv2
import keras
import numpy as np
import pytest

from dml.encoding import embed_images
from dml.encoding.encoder import EmbeddingOptions, build_encoder, load_encoder
from dml.errors import OptionError
from dml.evaluation import retrieval
from dml.images import read_image
from dml.recipe import load_recipe
from dml.runs import Trainer
from dml.runs._validator import Validator
from tests.runs.running import (
    InterruptAt,
    Lines,
    encoder_weights,
    evaluate,
    flags,
    losses,
    resume,
    train,
)

pytestmark = pytest.mark.usefixtures("eager_training")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights for the small backbone, which makes it a pretrained one."""
    recipe = load_recipe("glyphs", flags())
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("weights") / "conv4.weights.h5"
    recipe.backbone.network().save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def pretrained(weights):
    """Returns the flags of a small training from pretrained weights, with changes."""

    def options(**changes):
        return flags(**{"backbone__weights": weights, "training__epochs": 2, **changes})

    return options


def recall(encoder, items):
    vectors = embed_images(encoder, items.paths)
    return retrieval(vectors, items.labels, ks=(1,)).recall[1]


def scores(folder):
    return [row.get("val_recall_at_1") for row in folder.read_log()]


def stored(path):
    with np.load(path) as arrays:
        return [arrays[f"v{i}"] for i in range(len(arrays.files) - 1)]


def test_the_frozen_network_is_measured_by_its_pooled_features(pretrained, weights, tmp_path):
    folder = train("glyphs", pretrained(training__epochs=1), tmp_path / "run")
    recipe = load_recipe("glyphs", pretrained())
    pooled = build_encoder(recipe.backbone, EmbeddingOptions(dim=0))
    items = recipe.dataset.items()
    frozen = json.loads(folder.frozen.read_text())
    assert frozen["dimension"] == recipe.backbone.filters
    assert frozen["validation"] == pytest.approx(recall(pooled, items.select("val")))
    expected = recall(pooled, items.select("test"))
    assert frozen["metrics"]["R@1"]["value"] == pytest.approx(expected)
    assert json.loads(folder.metrics.read_text())["frozen"] == frozen["metrics"]


@pytest.mark.slow
def test_an_embedding_that_loses_to_the_frozen_features_is_noted(pretrained, tmp_path):
    options = pretrained(embedding__dim=1, training__epochs=1)  # on a line, all are at one point
    lines, start = Lines(), "note: the embedding of 1 number is worse than the 8 features of"
    folder = train("glyphs", options, tmp_path / "run", lines)
    frozen = json.loads(folder.frozen.read_text())
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["metrics"]["R@1"]["value"] < frozen["metrics"]["R@1"]["value"]
    (line,) = [line for line in lines if line.startswith(start)]
    assert f"{100 * frozen['metrics']['R@1']['value']:.1f} on the test split" in line
    assert line.removeprefix("note: ") in metrics["notes"]
    assert "embedding of 1 number " in folder.report.read_text()
    lines.clear()
    later = train("glyphs", options, tmp_path / "unevaluated", lines, evaluate=False)
    (line,) = [line for line in lines if line.startswith(start)]
    assert f"{100 * frozen['validation']:.1f} in validation" in line and "test split" not in line
    # The evaluation measures what the training has left out.
    assert json.loads(later.frozen.read_text())["metrics"] == {}
    assert evaluate(later.path)["frozen"] == frozen["metrics"]
    assert json.loads(later.frozen.read_text()) == frozen


@pytest.mark.parametrize("init", ["auto", "pca", "random"])
def test_a_pretrained_network_starts_with_its_own_quality(pretrained, tmp_path, init):
    folder = train(
        "glyphs", pretrained(embedding__init=init, training__epochs=1), tmp_path, evaluate=False
    )
    frozen = json.loads(folder.frozen.read_text())["validation"]
    start = stored(folder.checkpoints / "start-0000.npz")[-2]  # the embedding's kernel
    orthogonal = np.allclose(start.T @ start, np.eye(len(start)), atol=1e-4)
    assert orthogonal == (init != "random")
    if init != "random":
        assert scores(folder)[0] == pytest.approx(frozen)


def test_random_networks_start_at_random(tmp_path):
    folder = train("glyphs", flags(training__epochs=1), tmp_path / "run", evaluate=False)
    start = stored(folder.checkpoints / "start-0000.npz")[-2]
    assert not np.allclose(start.T @ start, np.eye(len(start)), atol=0.1)


def test_whitened_components(pretrained, tmp_path):
    changes = {"embedding__pca_whiten": "true", "training__epochs": 1}
    folder = train("glyphs", pretrained(**changes), tmp_path / "run", evaluate=False)
    lengths = np.linalg.norm(stored(folder.checkpoints / "start-0000.npz")[-2], axis=0)
    assert lengths.max() > 2 * lengths.min()  # the small components are magnified


def test_the_start_is_the_result_where_no_epoch_beats_it(pretrained, tmp_path, monkeypatch):
    remaining, lines = iter([0.4, 0.5, 0.2, 0.5]), Lines()  # frozen, before, two epochs
    monkeypatch.setattr(Validator, "recall", lambda *_: next(remaining))
    folder = train("glyphs", pretrained(), tmp_path / "run", lines, evaluate=False)
    start = stored(folder.checkpoints / "start-0000.npz")
    for value, expected in zip(encoder_weights(folder), start, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert any("no epoch was better in validation" in line for line in lines)


@pytest.mark.parametrize("select, warned", [("best", True), ("last", False)])
def test_a_head_that_is_no_better_says_so_unless_the_last_epoch_is_kept(
    pretrained, tmp_path, monkeypatch, select, warned
):
    remaining, lines = iter([0.4, 0.5, 0.2, 0.5]), Lines()  # frozen, before, two epochs
    monkeypatch.setattr(Validator, "recall", lambda *_: next(remaining))
    changes = {"training__stage": "head", "head_stage__epochs": 2, "head_stage__views": 0}
    changes["training__select"] = select
    train("glyphs", pretrained(**changes), tmp_path / "run", lines, evaluate=False)
    assert any("no epoch was better in validation" in line for line in lines) is warned


def test_the_best_weights_between_start_and_end_are_kept(pretrained, tmp_path):
    changes = {"training__interpolate": "validation", "optimizer__learning_rate": 0.01}
    folder = train("glyphs", pretrained(**changes), tmp_path / "run", evaluate=False)
    rows = json.loads(folder.selection.read_text())["candidates"]
    assert [row["share"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
    (chosen,) = [row for row in rows if row["chosen"]]
    assert chosen["validation"] == max(row["validation"] for row in rows)
    state = np.load(sorted(folder.checkpoints.glob("epoch-*.npz"))[-1])["state"].item()
    best = json.loads(state)["best_epoch"]
    start = stored(folder.checkpoints / "start-0000.npz")
    end = stored(folder.checkpoints / f"best-{best:04d}.npz")
    for value, a, b in zip(encoder_weights(folder), start, end, strict=True):
        expected = a + chosen["share"] * (b - a)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    validation = load_recipe("glyphs", pretrained()).dataset.items().select("val")
    assert recall(load_encoder(folder.encoder), validation) == chosen["validation"]


def test_without_validation_the_weights_half_way_are_kept(pretrained, tmp_path):
    changes = {"training__interpolate": "validation", "dataset__validation_fraction": 0.0}
    lines = Lines()
    folder = train("glyphs", pretrained(**changes), tmp_path / "run", lines, evaluate=False)
    assert any("half-way" in line for line in lines) and not folder.selection.exists()
    start = stored(folder.checkpoints / "start-0000.npz")
    end = stored(folder.checkpoints / "epoch-0002.npz")
    for value, a in zip(encoder_weights(folder), start, strict=True):
        assert any(b.shape == a.shape and np.allclose(value, (a + b) / 2, atol=1e-5) for b in end)


def test_of_a_network_from_scratch_the_last_weights_are_kept(tmp_path):
    changes = {"training__interpolate": "validation", "dataset__validation_fraction": 0.0}
    lines, changes = Lines(), changes | {"training__epochs": 1}
    folder = train("glyphs", flags(**changes), tmp_path / "run", lines, evaluate=False)
    end = stored(folder.checkpoints / "epoch-0001.npz")
    for value in encoder_weights(folder):
        assert any(b.shape == value.shape and np.array_equal(value, b) for b in end)
    assert not any("half-way" in line for line in lines)  # between random and trained ones


@pytest.mark.slow
def test_statistics_of_interpolated_weights_are_estimated(pretrained, tmp_path):
    options = {"training__interpolate": "validation", "dataset__validation_fraction": 0.0}
    estimated = {**options, "training__interpolate_batch_norm": "estimate"}
    plain = train("glyphs", pretrained(**options), tmp_path / "plain", evaluate=False)
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train("glyphs", pretrained(**estimated), stopped, InterruptAt("no validation to choose by"))
    whole = train("glyphs", pretrained(**estimated), tmp_path / "whole", evaluate=False)
    variables = load_encoder(whole.encoder).variables
    values = zip(
        encoder_weights(plain),
        encoder_weights(whole),
        encoder_weights(resume(stopped, evaluate=False)),
        strict=True,
    )
    for variable, (interpolated, value, resumed) in zip(variables, values, strict=True):
        np.testing.assert_array_equal(value, resumed)
        is_statistic = variable.name.startswith("moving_")
        assert np.array_equal(value, interpolated) != is_statistic
    # The first normalisation sees the first convolution of the images, each of which counts once.
    network = load_encoder(whole.encoder).get_layer("network").get_layer("conv4")
    first, normalisation = network.layers[1:3]
    paths = load_recipe("glyphs", pretrained(**options)).dataset.items().select("train").paths
    images = np.stack([cv2.resize(read_image(path), (16, 16)) for path in paths])
    maps = keras.ops.convert_to_numpy(first(images.astype("float32") / 127.5 - 1))
    mean = keras.ops.convert_to_numpy(normalisation.moving_mean)
    np.testing.assert_allclose(mean, maps.mean(axis=(0, 1, 2)), atol=1e-3)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({}, "acts on interpolated weights only: set training.interpolate to validation"),
        (
            {"training__interpolate": "validation", "backbone__batch_norm": "frozen"},
            "no batch norm",
        ),
        ({"training__interpolate": "validation", "training__train_blocks": 0}, "no batch norm"),
    ],
)
def test_statistics_that_stay_are_not_estimated(pretrained, tmp_path, changes, message):
    options = pretrained(training__interpolate_batch_norm="estimate", **changes)
    with pytest.raises(OptionError, match=message):
        train("glyphs", options, tmp_path / "run", evaluate=False)
    assert not (tmp_path / "run").exists()


def test_the_head_alone_trains_on_cached_features(pretrained, tmp_path):
    changes = {"training__stage": "head", "head_stage__epochs": 3, "head_stage__views": 2}
    changes["training__select"] = "last"
    lines = Lines()
    folder = train("glyphs", pretrained(**changes), tmp_path / "run", lines, evaluate=False)
    log = folder.head_stage.read_log()
    assert [row["epoch"] for row in log] == [0, 1, 2, 3] and not folder.log.exists()
    assert any(
        "head stage: 3 epochs on cached features of the images and 2 views of each" in line
        for line in lines
    )
    before = stored(folder.head_stage.checkpoints / "start-0000.npz")
    recipe = load_recipe("glyphs", pretrained())
    network = recipe.backbone.network()
    backbone = [keras.ops.convert_to_numpy(v) for v in network.variables]
    *frozen, kernel, bias = encoder_weights(folder)
    for value, expected in zip(frozen, backbone, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert before[0].shape == kernel.shape and not np.array_equal(before[0], kernel)
    assert bias.any()
    last = log[-1]["val_recall_at_1"]
    validation = recipe.dataset.items().select("val")
    assert recall(load_encoder(folder.encoder), validation) == pytest.approx(last)
    assert not folder.features.exists()  # only the training needs them


@pytest.mark.slow
def test_adapting_keeps_the_simplest_within_an_error_of_the_best(pretrained, tmp_path):
    changes = {"training__stage": "adapt", "head_stage__epochs": 2, "head_stage__views": 1}
    whole = train("glyphs", pretrained(**changes), tmp_path / "whole", evaluate=False)
    rows = json.loads(whole.selection.read_text())["candidates"]
    assert [(row["name"], row["share"]) for row in rows] == [
        ("before training", None),
        ("head", None),
        *(("fine-tuned", share) for share in (0.25, 0.5, 0.75, 1.0)),
    ]
    assert sum(row["chosen"] for row in rows) == 1
    frozen = json.loads(whole.frozen.read_text())["validation"]
    assert rows[0]["validation"] == pytest.approx(frozen)
    best = max(row["val_recall_at_1"] for row in whole.head_stage.read_log())
    assert rows[1]["validation"] == scores(whole)[0] == pytest.approx(best, abs=0.03)
    for stop in ("head stage", "sampler", "epoch   1/2"):
        path = tmp_path / stop.replace("/", " ")
        with pytest.raises(KeyboardInterrupt):
            train("glyphs", pretrained(**changes), path, InterruptAt(stop), evaluate=False)
        resumed = resume(path, evaluate=False)
        assert losses(resumed) == losses(whole)
        assert losses(resumed.head_stage) == losses(whole.head_stage)
        for value, expected in zip(encoder_weights(resumed), encoder_weights(whole), strict=True):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("number", [0, 1])
def test_the_frozen_network_as_the_result_is_reported(pretrained, tmp_path, monkeypatch, number):
    monkeypatch.setattr("dml.runs._training.simplest_within_error", lambda found: found[number])
    changes = {"training__stage": "adapt", "head_stage__epochs": 1, "training__epochs": 1}
    lines = Lines()
    folder = train("glyphs", pretrained(**changes), tmp_path / "run", lines, evaluate=False)
    rows = json.loads(folder.selection.read_text())["candidates"]
    assert [row["name"] for row in rows if row["chosen"]] == [("before training", "head")[number]]
    better = max(row["validation"] for row in rows) > rows[number]["validation"]
    found = "no encoder was better" if better else "no epoch was better"
    reported = [line for line in lines if f"{found} in validation" in line]
    assert len(reported) == (1 if number == 0 else 0)
    assert not any("training.stage = 'adapt'" in line for line in reported)


@pytest.mark.slow
def test_options_of_the_head_stage_act(pretrained, tmp_path):
    def log(**changes):
        options = {"training__stage": "head", "head_stage__epochs": 2, **changes}
        path = tmp_path / str(changes)
        folder = train("glyphs", pretrained(**options), path, evaluate=False)
        return losses(folder.head_stage)

    plain = log()
    for changes in (
        {"head_stage__epochs": 1},
        {"head_stage__views": 1},
        {"head_stage__learning_rate": 0.1},
        {"head_stage__head_learning_rate": 0.5},
    ):
        assert log(**{"loss__name": "proxy_anchor", **changes}) != plain, changes


def test_a_head_needs_an_embedding_and_one_view(pretrained, tmp_path):
    for changes, message in (
        ({"embedding__dim": 0}, r"embedding\.dim must be positive for training\.stage = 'head'"),
        ({"training__views": 2, "loss__name": "nt_xent"}, r"training\.views must be 1"),
    ):
        options = pretrained(training__stage="head", **changes)
        with pytest.raises(OptionError, match=message):
            train("glyphs", options, tmp_path / "run", evaluate=False)
        assert not (tmp_path / "run").exists()


SECOND = {
    "training__stage": "adapt",
    "head_stage__epochs": 2,
    "head_stage__views": 0,
    "training__epochs": 1,
    "second_stage__epochs": 3,
    "training__refit": True,
}


@pytest.fixture
def fine_tuning_helps(monkeypatch):
    """Chooses the last candidate, as if each stage were better than those before."""
    monkeypatch.setattr("dml.runs._training.simplest_within_error", lambda found: found[-1])


@pytest.mark.slow
@pytest.mark.usefixtures("fine_tuning_helps")
def test_the_second_stage_starts_from_the_first_and_is_repeated_on_all_images(
    pretrained, tmp_path, monkeypatch
):
    flags = pretrained(**SECOND)
    lines, learners, alone, refit = Lines(), [], [], Trainer._refit
    build = Trainer._build

    def building(*arguments):
        prepared = build(*arguments)
        learners.append(weakref.ref(prepared.learner))
        return prepared

    def refitting(*arguments):
        alone.append(not any(learner() for learner in learners))
        return refit(*arguments)

    monkeypatch.setattr(Trainer, "_build", building)
    monkeypatch.setattr(Trainer, "_refit", refitting)
    whole = train("glyphs", flags, tmp_path / "whole", lines, evaluate=False)
    rows = json.loads(whole.selection.read_text())["candidates"]
    shares = (0.25, 0.5, 0.75, 1.0)
    assert [(row["name"], row["share"]) for row in rows] == [
        ("before training", None),
        ("head", None),
        *(("fine-tuned", share) for share in shares),
        *(("second", share) for share in shares),
    ]
    (chosen,) = [row for row in rows if row["chosen"]]
    assert chosen["name"] == "second"
    first = max(row["validation"] for row in rows[2:6])
    assert alone == [True]  # the second model had no first beside it
    assert scores(whole.second_stage)[0] == pytest.approx(first)
    assert len(whole.second_stage.read_log()) == 4  # before it, and three epochs
    assert any(line.startswith("training again") and "on all 6 classes" in line for line in lines)
    assert set(scores(whole.refit)) == {None}  # nothing is left to validate on
    assert len(losses(whole.refit)) == 1
    measured = evaluate(whole.path)
    assert measured["thresholds"] == []
    assert any("no calibrated thresholds" in note for note in measured["notes"])
    for number, place in enumerate([("epoch   2/3", 1), ("epoch   1/1", 2)]):  # in the refit
        path = tmp_path / str(number)
        with pytest.raises(KeyboardInterrupt):
            train("glyphs", flags, path, InterruptAt(*place), evaluate=False)
        resumed = resume(path, evaluate=False)
        for one, other in zip(resumed.stages, whole.stages, strict=True):
            assert losses(one) == losses(other)
        for value, expected in zip(encoder_weights(resumed), encoder_weights(whole), strict=True):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("fine_tuning_helps")
def test_statistics_that_the_second_stage_alone_changes_are_estimated(
    pretrained, tmp_path, monkeypatch
):
    estimated = []
    monkeypatch.setattr(
        "dml.training._statistics.StatisticsEstimator.estimate",
        lambda estimator, batches: estimated.append((len(estimator.layers), next(batches).shape)),
    )
    changes = {**SECOND, "second_stage__epochs": 1, "training__refit": False}
    changes |= {"backbone__batch_norm": "frozen", "training__interpolate_batch_norm": "estimate"}
    train("glyphs", pretrained(**changes), tmp_path / "run", evaluate=False)
    assert estimated == [(4, (12, 16, 16, 3))] * 3  # a quarter, half and three quarters of the way


@pytest.mark.slow
def test_an_early_stop_within_an_epoch_is_repeated_on_all_images(tmp_path, monkeypatch):
    remaining = iter([0.1, 0.1, 0.5, 0.4])  # frozen, before, and after each half of an epoch
    monkeypatch.setattr(Validator, "recall", lambda *_: next(remaining))
    options = {"training__patience": 1, "training__validate_every": 0.5, "training__refit": True}
    lines = Lines()
    folder = train("glyphs", flags(**options), tmp_path / "run", lines, evaluate=False)
    assert [(row["epoch"], row.get("stopped")) for row in folder.read_log()] == [
        (0, None),
        (0.5, None),
        (1, 1),
    ]
    assert "stopped early after epoch 1: 1 validation without a better R@1 than the 50.0 of" in (
        " ".join(lines)
    )
    assert any("training again as chosen (1 epoch and" in line for line in lines)
    assert [row["epoch"] for row in folder.refit.read_log()] == [1]
