"""The main job on a few drawn characters: train, evaluate, interrupt, resume, fail well."""

import json
import os
import re

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.encoding.embed import embed_images
from dml.encoding.encoder import build_encoder, load_encoder
from dml.errors import DataError, OptionError
from dml.evaluation import retrieval
from dml.images import read_image
from dml.recipe import load_recipe, load_run_recipe
from dml.reporting import SILENT
from dml.runs import Run, Trainer
from dml.runs._validator import Validator
from dml.training._checkpoint import Checkpoint
from tests.backbones.networks import vision_transformer
from tests.datasets.layouts import write_image
from tests.runs.running import (
    SMALL,
    InterruptAt,
    Lines,
    encoder_weights,
    evaluate,
    flags,
    losses,
    rebuild,
    resume,
    train,
)

pytestmark = pytest.mark.usefixtures("eager_training")


def run(path, reporter=SILENT, evaluate=True, **changes):
    return train("glyphs", flags(**changes), path, reporter, evaluate=evaluate)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, eager_training):
    lines = Lines()
    return run(tmp_path_factory.mktemp("runs") / "run", lines), lines


def test_writes_the_run_folder(trained):
    folder, lines = trained
    for file in ("recipe.toml", "encoder.keras", "log.jsonl", "metrics.json", "versions.json"):
        assert (folder.path / file).stat().st_size, file
    assert list(folder.tensorboard.iterdir())
    assert "12 classes" not in lines[0] and "glyphs (zero-shot): train" in lines[0]
    assert any(line.startswith("report: ") for line in lines)


def test_the_recipes_options_reach_learner_and_optimizer():
    changes = {
        "loss__name": "multi_similarity",
        "auxiliary_loss__name": "center",
        "augmentation__name": "strong",
        "regularizer__name": "koleo",
        "optimizer__head_learning_rate": 0.5,
        "optimizer__warmup_epochs": 0.25,
        "training__freeze_backbone_epochs": 1,
        "training__chunks": 2,
        "training__train_blocks": 3,
        "training__average": "ema",
        "training__average_decay": 0.75,
    }
    trainer = Trainer(load_recipe("glyphs", flags(**changes)))
    prepared = trainer._prepare(trainer.recipe, trainer.recipe.dataset.items())
    learner, steps = prepared.learner, prepared.steps
    assert learner.train_blocks == 3 and learner.average.decay == 0.75
    assert learner.chunks == 2 and type(learner.regularizer).__name__ == "KoLeo"
    assert (
        [type(layer) for layer in learner.augmentation]
        == [type(layer) for layer in trainer.recipe.augmentation.layers()]
        != []
    )
    rates = {
        part: [float(keras.ops.convert_to_numpy(schedule(step))) for step in (0, steps, 2 * steps)]
        for part, schedule in learner.optimizer.schedules.items()
    }
    assert rates["backbone"][0] == 0 and rates["backbone"][2] > 0 and rates["embedding"][0] > 0
    assert rates["head"][2] > 100 * rates["embedding"][2]


def test_few_images_are_trained_in_smaller_batches(tmp_path):
    lines = Lines()
    changes = {"sampler__name": "shuffle", "sampler__batch_size": 32}
    changes |= {"sampler__classes_per_batch": None, "sampler__images_per_class": None}
    recipe = load_recipe("glyphs", flags(**changes))  # 4 classes of 6 images
    trainer = Trainer(recipe)
    assert trainer.plan().recipe.sampler.batch_size == 12
    assert trainer.recipe == recipe  # it is the same trainer after a plan
    folder = run(tmp_path / "run", lines, evaluate=False, **changes)
    assert "note: batches of 12 images, not 32: there are 24 to train on" in lines
    assert load_run_recipe(folder).sampler.batch_size == 12


def test_batches_follow_the_recipes_seed_and_policy(tmp_path, monkeypatch):
    given = {}

    def training_batches(*arguments, **options):
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("dml.training.training_batches", training_batches)
    changes = {"training__seed": 7, "training__unreadable": "skip", "training__threads": 3}
    changes |= {"loss__name": "contrastive", "memory__size": 8}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", **changes)
    expected = {"seed": 7, "on_unreadable": "skip", "threads": 3, "samples": True, "first_epoch": 0}
    assert expected.items() <= given.items()


def weights_after(path, monkeypatch, select, scores):
    """Returns the encoder's weights of a run whose validations give these scores."""
    remaining = iter([0.1, *scores])  # the frozen network's first
    with monkeypatch.context() as patched:
        patched.setattr(Validator, "recall", lambda *_: next(remaining))
        folder = train("glyphs", flags(training__select=select), path, evaluate=False)
    return encoder_weights(folder)


@pytest.mark.slow
def test_the_best_epoch_or_the_last_is_kept(tmp_path, monkeypatch):
    def weights(name, select, *scores):
        return weights_after(tmp_path / name, monkeypatch, select, scores)

    def same(first, second):
        return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    start = weights("a", "best", 0.5, 0.2, 0.4, 0.3)
    second = weights("b", "best", 0.1, 0.2, 0.4, 0.3)
    last = weights("c", "last", 0.1, 0.2, 0.4, 0.3)
    assert same(last, weights("d", "best", 0.1, 0.2, 0.3, 0.4))
    assert not same(start, second) and not same(second, last) and not same(start, last)
    trainer = Trainer(load_recipe("glyphs", flags()))
    encoder = trainer._prepare(trainer.recipe, trainer.recipe.dataset.items()).learner.encoder
    assert same(start, [keras.ops.convert_to_numpy(v) for v in encoder.variables])


def test_the_log_tells_learning_from_collapse(trained):
    rows = trained[0].read_log()
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    expected = {"loss", "positive_similarity", "negative_similarity", "effective_rank"}
    expected |= {"gradient_norm", "val_recall_at_1", "classes_seen", "images_seen", "seconds"}
    assert expected <= set(rows[1]) and all(np.isfinite(list(r.values())).all() for r in rows)


def test_metrics_name_protocol_and_metrics_of_the_frozen_network(trained):
    metrics = json.loads(trained[0].metrics.read_text())
    assert metrics["protocol"] == "zero-shot" and metrics["queries"] == 36
    names = {"R@1", "R@2", "R@4", "R@8", "R-precision", "MAP@R", "NMI", "AMI"}
    assert {*names, "AUC", "EER", "TAR@FAR=0.1"} <= set(metrics["metrics"])
    assert names - {"NMI", "AMI"} <= set(metrics["frozen"])


def test_the_report_is_one_page_without_a_network(trained):
    page = trained[0].report.read_text()
    assert "</html>" in page and "zero-shot" in page
    assert 'src="http' not in page and 'href="http' not in page


def test_tensorboard_gets_queries_and_embeddings_on_request(trained):
    board = trained[0].tensorboard / "evaluation"
    assert not board.exists()
    rebuild(trained[0].path, options=["--evaluation.tensorboard", "true"])
    assert {"metadata.tsv", "projector_config.pbtxt", "sprite.png", "vectors.tsv"} < {
        file.name for file in board.iterdir()
    }


def test_the_resolved_recipe_trains_the_same_run_again(trained, tmp_path):
    folder = train(str(trained[0].recipe), out=tmp_path / "again", evaluate=False)
    assert folder.read_log()[-1]["loss"] == trained[0].read_log()[-1]["loss"]


def test_evaluate_repeats_the_metrics_and_writes_vectors(trained):
    folder = trained[0]
    before = json.loads(folder.metrics.read_text())["metrics"]
    after = evaluate(folder.path)["metrics"]
    assert after == before
    import pandas as pd

    vectors = np.load(folder.evaluation("glyphs") / "vectors.npy")
    items = pd.read_parquet(folder.evaluation("glyphs") / "items.parquet")
    assert len(vectors) == len(items) == 36
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    encoder = load_encoder(folder.encoder)
    image = read_image(items["path"][7])
    # The encoder resizes by itself almost as the loader does.
    assert encoder.predict(image[None], verbose=0)[0] @ vectors[7] > 0.98


@pytest.mark.slow
def test_the_report_is_written_again_as_it_was(trained):
    folder = trained[0]
    evaluate(folder.path)
    before = folder.report.read_text()
    folder.report.unlink()
    rebuild(folder.path)
    assert folder.report.read_text() == before


def test_evaluates_on_another_data_set(trained, tmp_path):
    for i in range(8):
        write_image(tmp_path / "photos" / f"class {i // 2}" / f"{i}.jpg", i)
    other = str(tmp_path / "photos")
    options = ["--dataset.test_fraction", "0.6", "--evaluation.clustering_seeds", "0"]
    metrics = evaluate(trained[0].path, on=other, options=options)
    assert metrics["dataset"] == "photos" and metrics["queries"] == 4
    assert json.loads(trained[0].metrics.read_text())["dataset"] == "glyphs"  # the run's own stays


@pytest.mark.slow
def test_thresholds_are_chosen_on_the_validation_classes_and_tried_on_the_test(tmp_path):
    lines = Lines()
    folder = run(
        tmp_path / "run",
        lines,
        dataset__classes=20,
        dataset__validation_fraction=0.5,
        evaluation__target_precision=0.1,
        evaluation__target_far=0.3,
    )
    metrics = json.loads(folder.metrics.read_text())
    precision, far = metrics["thresholds"]
    assert precision["kind"] == "precision" and far["kind"] == "far"
    assert precision["bound"] >= 0.1 and far["bound"] <= 0.3
    vectors = np.load(tmp_path / "run" / "evaluation" / "glyphs" / "vectors.npy")
    items = load_recipe(folder.recipe).dataset.items().select("test")
    first, second = np.triu_indices(len(items), 1)
    accepted = (vectors[first] * vectors[second]).sum(1) >= far["similarity"]
    others = items.labels[first] != items.labels[second]
    assert far["test_rate"] == pytest.approx(accepted[others].mean(), abs=2e-3)
    similarities = vectors @ vectors.T - 2 * np.eye(len(items))
    nearest = similarities.argmax(axis=1)
    trusted = similarities.max(axis=1) >= precision["similarity"]
    right = items.labels[nearest] == items.labels
    assert precision["test_rate"] == pytest.approx(right[trusted].mean())
    assert precision["test_coverage"] == pytest.approx(trusted.mean())
    assert {"AUC", "EER", "TAR@FAR=0.1"} <= set(metrics["metrics"])
    assert any("on the validation split (95 % confidence)" in line for line in lines)


@pytest.mark.slow
def test_seen_class_adds_the_linear_evaluation(tmp_path):
    changes = {"dataset__samples": 12, "dataset__validation_fraction": 0.4}
    folder = run(tmp_path / "seen", dataset__protocol="seen-class", training__epochs=1, **changes)
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["protocol"] == "seen-class"
    assert {"linear accuracy", "1-NN accuracy", "5-NN accuracy"} <= set(metrics["metrics"])


def test_a_resumed_run_ends_as_an_uninterrupted_one(trained, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", InterruptAt("epoch   1/"))
    folder = resume(tmp_path / "run", evaluate=False)
    whole = trained[0]
    for found, expected in zip(encoder_weights(folder), encoder_weights(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert losses(folder) == losses(whole)


def restored(folder):
    """Returns the learner of a run as its last checkpoint holds it."""
    trainer = Trainer(load_recipe(folder.recipe))
    learner = trainer._prepare(trainer.recipe, trainer.recipe.dataset.items()).learner
    Checkpoint(folder).load(learner, learner.encoder.variables, SILENT)
    return learner


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


@pytest.mark.slow
@pytest.mark.parametrize("select", ["best", "last"])
def test_careful_fine_tuning_resumes_as_well_and_keeps_the_average(tmp_path, select):
    changes = {
        "training__average": "ema",
        "training__train_blocks": 2,
        "training__select": select,
        "optimizer__layer_decay": 0.5,
        "optimizer__learning_rate": 0.01,
    }
    whole = run(tmp_path / "whole", evaluate=False, **changes)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", InterruptAt("epoch   1/"), False, **changes)
    resumed = resume(tmp_path / "run", evaluate=False)
    encoders = [load_encoder(folder.encoder) for folder in (whole, resumed)]
    for a, b in zip(*(values(encoder.weights) for encoder in encoders), strict=True):
        np.testing.assert_array_equal(a, b)
    if select == "last":
        learner = restored(whole)
        learner.adopt_average()
        for a, b in zip(values(learner.encoder.weights), values(encoders[0].weights), strict=True):
            np.testing.assert_array_equal(a, b)
    else:  # the validation was of the weights that are kept
        rows = whole.read_log()
        best = max(row["val_recall_at_1"] for row in rows)
        items = load_recipe(whole.recipe).dataset.items().select("val")
        vectors = embed_images(encoders[0], items.paths)
        assert retrieval(vectors, items.labels, ks=(1,)).recall[1] == pytest.approx(best)


@pytest.mark.slow
def test_adapted_kernels_resume_as_well_and_are_written_merged(tmp_path):
    keras.utils.set_random_seed(0)
    vision_transformer(size=16, patch=4).save(tmp_path / "own.keras")
    changes = {
        "backbone__name": "own",
        "backbone__path": tmp_path / "own.keras",
        "backbone__filters": None,
        "backbone__lora_rank": 2,
        "optimizer__learning_rate": 0.01,
        "training__select": "last",
    }
    whole = run(tmp_path / "whole", evaluate=False, **changes)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", InterruptAt("epoch   1/"), False, **changes)
    resumed = resume(tmp_path / "run", evaluate=False)
    learners = [restored(folder) for folder in (whole, resumed)]
    assert sum("lora" in v.path for v in learners[0].encoder.variables) == 24
    for a, b in zip(*(values(learner.variables) for learner in learners), strict=True):
        np.testing.assert_array_equal(a, b)
    encoder = load_encoder(whole.encoder)
    assert not any("lora" in v.path for v in encoder.variables)
    paths = load_recipe(whole.recipe).dataset.items().paths[:8]
    expected = embed_images(learners[0].encoder, paths)
    np.testing.assert_allclose(embed_images(encoder, paths), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {
            "loss__name": "proxy_anchor",
            "head__sample": 0.7,
            "dataset__classes": 60,
            "head__storage": "bfloat16",
        },
        {"loss__name": "multi_similarity"},
    ],
)
def test_batches_of_near_classes_resume_as_well(tmp_path, changes):
    changes = {"sampler__name": "hard_class", **changes}
    whole = run(tmp_path / "whole", evaluate=False, **changes)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", InterruptAt("epoch   2/"), False, **changes)
    folder = resume(tmp_path / "run", evaluate=False)
    assert losses(folder) == losses(whole)


@pytest.mark.slow
def test_batches_of_near_classes_are_others_from_the_second_epoch(tmp_path):
    near, random = (
        losses(run(tmp_path / name, evaluate=False, sampler__name=name))
        for name in ("hard_class", "m_per_class")
    )
    assert near[0] == random[0] and near[1] != random[1]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"loss__name": "contrastive", "head__sample": 0.9}, "head.sample is for losses with"),
        ({"head__correct_bias": "true"}, "head.correct_bias is for softmax losses"),
        ({"training__train_blocks": 9}, "training.train_blocks must be in [0, 4]"),
    ],
)
def test_what_a_learner_refuses_names_the_option_of_the_recipe(tmp_path, changes, said):
    with pytest.raises(OptionError, match=f"^{re.escape(said)}"):
        run(tmp_path / "run", dataset__classes=60, **changes)
    assert not (tmp_path / "run").exists()


def test_a_sample_too_small_for_a_batch_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match=r"head\.sample takes 2 of 4 classes .* of 12 images"):
        run(tmp_path / "run", head__sample=0.5)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif("DML_DATA" not in os.environ, reason="DML_DATA names no folder of real images")
def test_batches_of_a_few_alphabets():
    recipe = load_recipe("omniglot", ["--sampler.name", "hierarchical"])
    items = recipe.dataset.items().select("train")
    batches = recipe.sampler.batches_of(items, epoch=0, seed=0)
    assert {len(set(items.super_labels[rows].tolist())) for rows in batches} == {2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {
            "auxiliary_loss__name": "center",
            "training__auxiliary_loss_weight": 0.1,
            "training__nested_dims": "4",
        },
        {"loss__name": "nt_xent", "training__views": 2},
        {"loss__name": "contrastive", "memory__size": 24, "memory__start": 0},
        {"regularizer__name": "hier", "regularizer__triplets": 50, "training__chunks": 3},
    ],
)
def test_what_stands_around_a_loss_trains_compiled(tmp_path, monkeypatch, changes):
    monkeypatch.delattr(keras.Model, "run_eagerly")
    found = losses(run(tmp_path / "run", evaluate=False, training__epochs=2, **changes))
    assert len(found) == 2 and np.isfinite(found).all()


def test_a_data_set_without_super_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs a super-label for each image"):
        train("glyphs", ["--sampler.name", "hierarchical"], out=tmp_path / "run")


def test_a_name_is_no_recipe():
    with pytest.raises(OptionError, match=r"recipe must be a Recipe, as dml\.load_recipe"):
        Trainer("glyphs")


def test_a_run_is_never_overwritten(trained):
    before = trained[0].encoder.read_bytes()
    with pytest.raises(ValueError, match="already holds a run"):
        run(trained[0].path)
    assert trained[0].encoder.read_bytes() == before


def test_a_folder_that_can_not_be_written_is_refused_before_an_image_is_read(tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError("the images were read")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "_record", read)
    trainer = Trainer(load_recipe("glyphs", flags()))
    with pytest.raises(OptionError, match="must be a name within runs, without folders"):
        trainer.run(name="a/b")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        trainer.run(tmp_path / "file" / "run")


def test_a_training_that_does_not_begin_leaves_the_folders_as_they_were(tmp_path, monkeypatch):
    def read(*_):
        seen.append([str(path) for path in sorted(tmp_path.rglob("*")) if path.name != ".lock"])
        raise DataError("x", "can't be read")

    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "_record", read)
    trainer = Trainer(load_recipe("glyphs", flags()))
    (tmp_path / "empty").mkdir()
    for folder in (None, tmp_path / "new" / "run", tmp_path / "empty"):
        with pytest.raises(DataError, match="can't be read"):
            trainer.run(folder)
        assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    claimed = [("runs", "runs/glyphs"), ("new", "new/run"), ()]
    for paths, names in zip(seen, claimed, strict=True):
        assert paths == sorted(str(tmp_path / name) for name in ("empty", *names))


BREAKING_LOSS = """
from pathlib import Path
from dataclasses import dataclass
from typing import ClassVar
from dml.losses import LOSSES, ProxyAnchor

@LOSSES.register("breaking")
@dataclass(eq=False)
class Breaking(ProxyAnchor):
    flag: str = ""

    def batch_loss(self, labels, cosines):
        broken = float("nan") if Path(self.flag).exists() else 1.0
        return broken * super().batch_loss(labels, cosines)
"""


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path):
    (tmp_path / "part.py").write_text(BREAKING_LOSS)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('parts = ["part.py"]\n[dataset]\nname = "glyphs"\n')
    flag = tmp_path / "flag"
    words = flags(loss__name="breaking", loss__flag=flag, backbone__name="conv4")
    words += ["--sampler.name", "m_per_class"]
    words = sorted(zip(words[::2], words[1::2], strict=True), key=lambda w: ".name" not in w[0])
    words = [word for pair in words for word in pair]

    with pytest.raises(KeyboardInterrupt):
        train(str(recipe), words, tmp_path / "run", InterruptAt("epoch   1/"))
    flag.touch()
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 1; .*epoch-0001\.npz"):
        resume(tmp_path / "run", allow_parts=True)
    folder = RunFolder(tmp_path / "run")
    assert len(losses(folder)) == 1 and not folder.encoder.exists()
    assert len(list(folder.checkpoints.glob("epoch-*.npz"))) == 1
    flag.unlink()
    assert resume(tmp_path / "run", allow_parts=True, evaluate=False).encoder.exists()


def photos(root):
    for i in range(24):
        write_image(root / f"class {i // 4}" / f"{i}.jpg", i)
    file = root / "class 1" / "5.jpg"
    file.write_bytes(file.read_bytes()[:200])
    return {
        "dataset.test_fraction": 0.0,
        "dataset.validation_fraction": 0.0,
        "backbone.name": "conv4",
        **{k: v for k, v in SMALL.items() if not k.startswith(("dataset", "sampler"))},
        "backbone.weights": "none",
        "sampler.batch_size": 8,
        "training.epochs": 1,
    }


def test_a_truncated_image_is_named_or_left_out_as_the_recipe_says(tmp_path):
    options = photos(tmp_path / "photos")
    words = [word for k, v in options.items() for word in (f"--{k}", str(v))]
    with pytest.raises(ValueError, match=r"5\.jpg: truncated"):
        train(str(tmp_path / "photos"), words, out=tmp_path / "a")
    lines = Lines()
    words += ["--training.unreadable", "skip"]
    folder = train(str(tmp_path / "photos"), words, tmp_path / "b", lines)
    assert folder.encoder.exists()
    assert any("left out as unreadable: train 1 (" in line and "5.jpg" in line for line in lines)
    assert not (tmp_path / "a").exists()  # refused before anything was written


@pytest.mark.slow
def test_batches_of_near_classes_leave_out_a_truncated_image_as_well(tmp_path):
    options = photos(tmp_path / "photos")
    del options["sampler.batch_size"]
    options |= {"sampler.name": "hard_class", "sampler.classes_per_batch": 2}
    options |= {"sampler.images_per_class": 4, "loss.name": "multi_similarity"}
    options |= {"training.unreadable": "skip", "training.epochs": 2}  # the second by the vectors
    words = [word for k, v in options.items() for word in (f"--{k}", str(v))]
    folder = train(str(tmp_path / "photos"), words, out=tmp_path / "a", evaluate=False)
    assert folder.encoder.exists() and len(losses(folder)) == 2


def test_a_class_with_one_image_is_named(tmp_path):
    options = photos(tmp_path / "photos")
    write_image(tmp_path / "photos" / "lonely" / "1.jpg")
    write_image(tmp_path / "photos" / "class 1" / "5.jpg")
    words = [word for k, v in options.items() for word in (f"--{k}", str(v))]
    lines = Lines()
    train(str(tmp_path / "photos"), words, tmp_path / "a", lines, evaluate=False)
    assert any("class lonely has a single training image" in line for line in lines)


@pytest.mark.slow
def test_glyphs_are_neither_trivial_nor_hopeless_untrained():
    recipe = load_recipe("glyphs")
    items = recipe.dataset.items()
    keras.utils.set_random_seed(0)
    encoder = build_encoder(recipe.backbone, recipe.embedding)
    test = items.select("test")
    found = retrieval(embed_images(encoder, test.paths), test.labels)
    assert items.protocol == "zero-shot" and 0.1 < found.recall[1] < 0.35  # Omniglot: 0.17


def test_the_precision_of_a_run_does_not_outlive_it(tmp_path):
    changes = {"training__precision": "mixed_bfloat16", "training__epochs": 1}
    folder = train("glyphs", flags(**changes), tmp_path / "run", evaluate=False)
    assert keras.config.dtype_policy().name == "float32"
    layers = list(Run(folder.path).encoder()._flatten_layers())
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in layers}
