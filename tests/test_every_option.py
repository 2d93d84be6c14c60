"""No option is ignored: a different value changes a built part, a batch, a metric or a file.

Every option of every section and part is set to other valid values, until one of them changes what
the part does on a small input. An option that acts only in company stands in `COMPANY` with the
options that it needs; one that can't be seen here stands in `ELSEWHERE` with the reason.
"""

import json
import shutil

import keras
import numpy as np
import pytest

import dml
from dml.datasets import Items
from dml.encoding import EmbeddingOptions, build_encoder
from dml.errors import DmlError
from dml.recipe import (
    FAMILIES,
    SECTIONS,
    EvaluationOptions,
    HeadOptions,
    MemoryOptions,
    TrainingOptions,
    load_recipe,
    options_of,
    training_loss,
)
from dml.recipe._schema import GROUPS, group_of
from dml.runs._learners import image_learner
from dml.training import OptimizerOptions, build_optimizer
from tests.datasets.layouts import LAYOUTS, png, write_image, write_parquet, write_tar
from tests.regularizers.test_contract import given
from tests.samplers.test_contract import batches_of

WORDS = (  # values of the options that take a word or a path; those of a run are slow to refuse
    *("last", "best", "ema", "mixed_bfloat16", "bfloat16", "float32"),
    *("all", "hard", "semi_hard", "easy", "cosine", "dot", "euclidean", "squared", "poincare"),
    *("snr", "linear", "gaussian", "cos", "arc", "squared_distance", "O", "Iu", "Ib", "Ds", "Dq"),
    *("keep", "stretch", "train", "frozen", "fixed", "average", "max", "average+max", "gem", "cls"),
    *("classes", "images", "zero-shot", "seen-class", "once", "repeat", "skip", "error", "other"),
    *("sgd", "adam", "rmsprop", "adamw", "constant", "step", "exponential", "none", "torch", "tf"),
    *("other.csv", "other.keras", "other.preset"),
    *("json.about.kind", "json.split", "jpg", "kind", "where", "other"),
)
CLASSES, DIM = 6, 5

# Options that act only where others are set, too.
COMPANY = {
    "loss.adapted_triplet.bandwidth": {"kernel": "gaussian"},
    "loss.adapted_triplet.soft_margin": {"mining": "hard", "distance": "euclidean"},
    "loss.triplet.soft_margin": {"mining": "hard", "distance": "euclidean"},
    "loss.pnp.b": {"variant": "Ib"},
    "loss.pnp.power": {"variant": "Dq"},
    "regularizer.hier": {"ancestors": 16, "neighbours": 4, "triplets": 200},
    "sampler.fixed_triplets": {"path": "some.csv"},
    "dataset.glyphs": {"classes": 8, "samples": 4, "size": 16},
    "dataset.parquet": {"image": "image"},
    "dataset": {"validation_fraction": 0.5},
    **{
        f"dataset.{name}.label_separator": {"protocol": "seen-class", "validation": "images"}
        for name in ("table", "parquet", "webdataset")
    },
    "backbone": {"weights": "none", "input_size": 32, "resize_side": 40},
    "backbone.conv4": {"input_size": 16, "resize_side": 20, "filters": 4},
    "backbone.own": {"input_size": 16, "resize_side": 20, "path": "some.keras"},
    "backbone.hub": {"weights": "preset", "preset": "some.preset"},
    "optimizer.momentum": {"name": "sgd"},
    "optimizer.nesterov": {"name": "sgd"},
    "optimizer.decay": {"schedule": "step", "decay_epochs": 1.0},
    "optimizer.decay_epochs": {"schedule": "step"},
    "optimizer.final_fraction": {"schedule": "cosine"},
    "memory": {"size": 8, "start": 0},
    "head.correct_bias": {"sample": 0.5},
    "head.storage": {"sample": 0.5},
    "training.average_decay": {"average": "ema", "epochs": 4},  # the first steps hardly differ
    "training.patience": {"epochs": 4, "validate_every": 0.5},
}
# Options that change nothing, or not here, and why.
ELSEWHERE = {
    "backbone.weights": "ImageNet's are downloaded; files: tests/backbones/test_weights.py",
    "backbone.lora_rank": "for networks with dense kernels: tests/backbones/test_lora.py",
    "backbone.own.input_size": "the saved model has it: tests/backbones/test_own.py",
    "dataset.glyphs.root": "every data set has one; this one makes its images",
    "training.threads": "a batch depends on seed, epoch and step alone, on purpose",
    "training.devices": "train as one device does, on purpose: tests/test_devices.py",
    "training.shard_proxies": "trains as whole proxies do, on purpose: tests/test_devices.py",
    "embedding.init": "acts when a training starts: tests/runs/test_training.py",
    "embedding.pca_whiten": "acts when a training starts: tests/runs/test_training.py",
    **dict.fromkeys(
        (f"head_stage.{o}" for o in ("epochs", "views", "learning_rate", "head_learning_rate")),
        "act in that stage: tests/runs/test_training.py",
    ),
    **dict.fromkeys(
        (f"second_stage.{o}" for o in ("epochs", "learning_rate", "head_learning_rate")),
        "act in that stage: tests/runs/test_training.py",
    ),
    "second_stage.batch_norm": "acts in that stage: tests/runs/test_training.py",
    "training.select": "the best epoch may be the last one: tests/runs/test_trainer.py",
    "training.stage": "chooses stages: tests/runs/test_training.py",
    "training.select_aspect": "acts before a training: tests/runs/test_aspect.py",
    "training.refit": "acts after the training: tests/runs/test_training.py",
    "training.interpolate": "acts after the training: tests/runs/test_training.py",
    "training.interpolate_batch_norm": "acts after the training: tests/runs/test_training.py",
    "evaluation.exclude": "a folder has no cameras; tables: tests/runs/test_cameras.py",
    "training.trackers": "receive the log: tests/runs/test_trackers.py",
    "evaluation.tensorboard": "writes further files: tests/runs/test_trainer.py",
    "evaluation.batch_size": "how many images are embedded at once, on purpose without effect",
}


def other_values(value):
    """Yields values unlike the default, of its type; not all of them are valid."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (v for v in (value + 1, value // 2, 2 * value, 1, 2, 3, 0) if v != value)
    elif isinstance(value, float):
        numbers = (value / 2, 2 * value, value + 0.1, 0.25, 0.5, 0.8, 1.0, 3.0, 0.0, -0.5)
        yield from (v for v in numbers if v != value)
    elif isinstance(value, str):
        yield from (word for word in WORDS if word != value)
    elif isinstance(value, tuple):
        yield from ((1, 3), (2,), ("map",))
    else:
        yield from (0.5, 0.9, 2)


def same(first, second):
    """Tells whether two observations, lists of arrays, numbers and texts, are equal."""
    if len(first) != len(second):
        return False
    return all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True)
    )


def company(name, option):
    """Returns the options that one of a part's needs to act; the more precise entry wins."""
    section = name.partition(".")[0]
    names = dict.fromkeys([section, name, f"{section}.{option}", f"{name}.{option}"])
    return {key: value for entry in names for key, value in COMPANY.get(entry, {}).items()}


def is_elsewhere(name, option):
    return bool({f"{name}.{option}", f"{name.partition('.')[0]}.{option}"} & set(ELSEWHERE))


def ignored(name, make, observe, options):
    """Returns those of the options that change nothing.

    Args:
        name: Of the section and the part, such as "loss.triplet".
        make: Called with options, it returns a part or raises a `ValueError`.
        observe: Called with a part, it returns a list of arrays, numbers and texts.
        options: {name: default}.
    """
    plain, found = {}, []
    for option in (o for o in options if not is_elsewhere(name, o)):
        others = company(name, option)
        if (key := repr(others)) not in plain:
            seen = observe(make(**others))
            if not plain:
                again = observe(make(**others))
                assert same(seen, again), f"{name}: what it does is left to chance"
            plain[key] = seen
        for value in other_values(others.get(option, options[option])):
            try:
                changed = not same(plain[key], observe(make(**{**others, option: value})))
            except (ValueError, OSError):
                continue
            if changed:
                break
        else:
            found.append(option)
    return found


def defaults_of(part):
    return {option.name: option.default for option in options_of(part)}


def array(x):
    return keras.ops.convert_to_numpy(x)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 5, 5])


def embeddings(spread, seed=0):
    """Returns float32 unit vectors (B, D) around one direction of each class."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(CLASSES, DIM)))[LABELS]
    return unit(centres + spread * rng.normal(size=centres.shape)).astype("float32")


def loss_values(loss):
    """Returns the loss of batches that follow each other, through the head that it wants."""
    keras.utils.set_random_seed(0)
    head, values = loss.head(CLASSES, DIM), []
    if head is not None:
        head.build((None, DIM))
        values += [tuple(v.shape) for v in head.variables]
    for spread in (0.2, 0.5, 2.0):
        x = embeddings(spread)
        if loss.reads_length:
            x = x * np.linspace(5, 120, len(x), dtype="float32")[:, None]
        compared = x if head is None else head(x, LABELS, training=True)
        values.append(array(loss(LABELS, compared)))
        if (penalty := loss.penalty(head)) is not None:
            values.append(array(penalty))
    return values


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES["loss"].parts()))
def test_losses(name):
    part = FAMILIES["loss"].parts()[name]
    assert not ignored(f"loss.{name}", part, loss_values, defaults_of(part))


def kept_pairs(miner):
    keras.utils.set_random_seed(0)
    found = []
    for spread in (0.2, 0.5, 2.0):
        x = embeddings(spread)
        known = {"dim": DIM} if miner.wants else {}
        masks = miner(keras.ops.array(LABELS), keras.ops.array(x @ x.T), **known)
        found += [array(mask) for mask in masks]
    return found


@pytest.mark.parametrize("name", sorted(FAMILIES["miner"].parts()))
def test_miners(name):
    part = FAMILIES["miner"].parts()[name]
    assert not ignored(f"miner.{name}", part, kept_pairs, defaults_of(part))


def penalties(part):
    keras.utils.set_random_seed(0)
    if part.acts_on == "head":
        head = part.head(DIM)
        head.build((None, DIM))
        return [array(part(head(embeddings(s), LABELS, training=True))) for s in (0.2, 1.0)]
    shapes = [(4, 1, 8), (20, 2, 4)]
    return [array(part(keras.ops.cast(given(part, shape), "float32"))) for shape in shapes]


@pytest.mark.parametrize("name", sorted(FAMILIES["regularizer"].parts()))
def test_regularizers(name):
    part = FAMILIES["regularizer"].parts()[name]
    assert not ignored(f"regularizer.{name}", part, penalties, defaults_of(part))


@pytest.mark.parametrize("name", sorted(FAMILIES["reduction"].parts()))
def test_reductions_have_no_options(name):
    assert not options_of(FAMILIES["reduction"].parts()[name])


@pytest.mark.parametrize("name", sorted(FAMILIES["sampler"].parts()))
def test_samplers(name, tmp_path, monkeypatch):
    part = FAMILIES["sampler"].parts()[name]
    # 30 classes of nine images, and ten of one or two.
    labels = np.r_[np.repeat(np.arange(30), 9), np.repeat(np.arange(30, 40), [1, 2] * 5)]
    monkeypatch.chdir(tmp_path)
    for file, shift in (("some.csv", 9), ("other.csv", 18)):
        lines = [f"{i},{i + 1},{(i + shift) % 270}" for i in range(0, 252, 9)]
        (tmp_path / file).write_text("\n".join(["anchor,positive,negative", *lines]))
    assert not ignored(
        f"sampler.{name}", part, lambda s: [batches_of(s, labels, 0, 0)], defaults_of(part)
    )


def augmented(part):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 60, 3), dtype=np.uint8)
    crops = np.stack([part.crop(x, 32, np.random.default_rng(i)) for i, x in enumerate(images)])
    batch = keras.ops.cast(crops, "float32")
    for layer in part.layers(seed=0):
        batch = layer(batch, training=True)
    return [crops, array(batch), part.decode_side(32)]


@pytest.mark.parametrize("name", sorted(FAMILIES["augmentation"].parts()))
def test_augmentations(name):
    part = FAMILIES["augmentation"].parts()[name]
    assert not ignored(f"augmentation.{name}", part, augmented, defaults_of(part))


def built(backbone, embedding=None):
    """Returns the encoder's architecture, what it makes of an image, and what it learns of it."""
    keras.backend.clear_session(free_memory=False)  # names start anew; collecting garbage is slow
    keras.utils.set_random_seed(0)
    encoder = build_encoder(backbone, embedding or EmbeddingOptions(dim=4))
    image = np.random.default_rng(0).integers(0, 256, (2, 30, 60, 3), dtype="uint8")
    frozen = [v.path for v in encoder.non_trainable_variables]
    seen = array(encoder(image, training=True))
    statistics = [array(v) for v in encoder.non_trainable_variables if "moving" in v.path]
    return [encoder.to_json(), str(frozen), seen, *statistics]


LARGER = ("own", "hub", "mobilenet", "resnet50_v2")
ONE_OF_EACH = ("conv4", *(pytest.param(n, marks=pytest.mark.slow) for n in LARGER))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_backbones(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "own":
        for file, filters in (("some.keras", 2), ("other.keras", 3)):
            image = keras.Input((16, 16, 3))
            x = keras.layers.Conv2D(filters, 3)(image)
            keras.Model(image, keras.layers.BatchNormalization()(x)).save(file)
    if name == "hub":
        tiny = pytest.importorskip("tests.backbones.tiny")
        tiny.write_preset("resnet", tmp_path / "some.preset")
        tiny.write_preset("efficientnet", tmp_path / "other.preset")
    part = FAMILIES["backbone"].parts()[name]
    assert not ignored(f"backbone.{name}", part, built, defaults_of(part))


def test_the_other_backbones_handle_their_options_as_these_do():
    for name, part in FAMILIES["backbone"].parts().items():
        if name not in ("conv4", "own", "hub"):
            assert part.__base__.__name__ in ("Application", "WidthApplication", "Hub")
            assert not {"network", "architecture", "__post_init__"} & set(vars(part))


def test_embedding():
    conv4 = FAMILIES["backbone"].parts()["conv4"](input_size=16, resize_side=20, filters=4)
    options = defaults_of(EmbeddingOptions)
    assert not ignored("embedding", EmbeddingOptions, lambda e: built(conv4, e), options)


class Parts:
    """What `build_optimizer` needs of a learner: three parts, with a kernel and a bias each."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.variables = {
            part: [
                keras.Variable(rng.normal(size=(3, 1)), dtype="float32", name=f"{part}_{kind}")
                for kind in ("kernel", "bias")
            ]
            for part in ("backbone", "embedding", "head")
        }

    def parts(self):
        return self.variables

    def blocks(self):
        return [[v] for v in self.variables["backbone"]]


def trained_by(options, freeze_backbone_epochs=0):
    """Returns the variables after each of four steps in two epochs, with the same gradients."""
    learner, rng, found = Parts(), np.random.default_rng(1), []
    optimizer = build_optimizer(learner, options, 2, 2, freeze_backbone_epochs)
    variables = [v for part in learner.parts().values() for v in part]
    optimizer.build(variables)
    for _ in range(4):
        gradients = [keras.ops.cast(30 * rng.normal(size=v.shape), "float32") for v in variables]
        optimizer.apply(gradients, variables)
        found += [array(v).copy() for v in variables]
    return found


@pytest.mark.slow
def test_optimizer():
    assert not ignored("optimizer", OptimizerOptions, trained_by, defaults_of(OptimizerOptions))


def test_the_frozen_backbone_epochs():
    plain, frozen = (trained_by(OptimizerOptions(), epochs) for epochs in (0, 1))
    assert not same(plain[:2], frozen[:2])  # after the first step, the backbone's two
    assert same(plain[2:6], frozen[2:6])


def composed(section, *flags):
    """Returns what makes a recipe with these flags and options of a section."""

    def make(**options):
        given = [f"--{section}.{name}={text(value)}" for name, value in options.items()]
        return load_recipe("glyphs", [f"--embedding.dim={DIM}", *flags, *given])

    return make


def text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def composed_values(recipe):
    loss = training_loss(recipe)
    return [loss.views, *loss_values(loss)]


def test_memory():
    make = composed("memory", "--loss.name=contrastive")
    assert not ignored("memory", make, composed_values, defaults_of(MemoryOptions))


def test_head():
    def built(recipe):
        head = image_learner(recipe, classes=8, steps=1).head
        options = ("sample", "correction", "storage")
        return [type(head).__name__, *(getattr(head, name, 0) for name in options)]

    small = ["--backbone.name=conv4", "--backbone.input_size=16", "--backbone.resize_side=16"]
    make = composed("head", *small, "--loss.name=normalized_softmax")
    assert not ignored("head", make, built, defaults_of(HeadOptions))


COMPOSED = {
    "auxiliary_loss_weight": ["--auxiliary_loss.name=center"],
    "nested_dims": [],
    "views": ["--loss.name=nt_xent"],
}


@pytest.mark.parametrize("option", COMPOSED)
def test_training_options_of_the_loss(option):
    make, default = composed("training", *COMPOSED[option]), defaults_of(TrainingOptions)[option]
    assert not ignored("training", make, composed_values, {option: default})


@pytest.mark.parametrize(
    "flag",
    ["--miner.name=batch_hard", "--reduction.name=non_zero", "--auxiliary_loss.name=center"],
)
def test_what_stands_around_the_loss(flag):
    plain, other = (
        composed("training", "--loss.name=contrastive", *more)() for more in ([], [flag])
    )
    assert not same(composed_values(plain), composed_values(other))


def found_items(part):
    items = part.items()
    return [
        *(items.paths, items.labels, items.splits, items.ids, items.class_names),
        *(str(items.protocol), str(items.notes)),
    ]


@pytest.mark.parametrize("name", sorted(FAMILIES["dataset"].parts()))
def test_datasets(name, tmp_path):
    def make(**options):
        if name == "glyphs":
            return FAMILIES["dataset"].parts()[name](**options)
        root = tmp_path / options.pop("root", "some")
        if not root.exists():
            root.mkdir()
            write_layout(name, root)
        part = FAMILIES["dataset"].parts()[name]
        own = {"expected": {}, "read": lambda dataset: grown(part, dataset)}
        kind = type(part.__name__, (part,), own)
        return kind(root=str(root / "table.csv" if name == "table" else root), **options)

    defaults = defaults_of(FAMILIES["dataset"].parts()[name])
    assert not ignored(f"dataset.{name}", make, found_items, defaults)


def grown(part, dataset):
    """Returns what a data set reads; few classes four times, so that some can be held out."""
    items = part.read(dataset)
    if len(items.select("train").class_names) >= 4:
        return items
    copies = range(4)
    names = [f"{items.class_names[code]} {copy}" for copy in copies for code in items.labels]
    return Items.build(
        [*items.paths] * 4,
        names,
        [*items.splits] * 4,
        [f"{id} {copy}" for copy in copies for id in items.ids],
        items.protocol,
        None if items.super_labels is None else [*items.super_labels] * 4,
        notes=items.notes,
    )


def write_layout(name, root):
    """Writes the small layout of a data set; more images where splits are drawn from them."""
    LAYOUTS[name][0](root)
    for i in range(10, 30):
        if name == "folder":
            write_image(root / f"class {i // 2 % 5}" / f"{i}.png", i)
        elif name == "table":
            write_image(root / "images" / f"{i}.jpg", i)
            with open(root / "table.csv", "a") as file:
                file.write(f"images/{i}.jpg,{i // 2 % 5}\n")
    if name == "webdataset":
        members = {}
        for i in range(30):
            about = {"about": {"kind": i // 3}, "split": "train" if i % 4 else "test"}
            members |= {f"{i}.{'png' if i % 3 else 'jpg'}": png(i), f"{i}.cls": str(i // 2 % 5)}
            members |= {f"{i}.json": json.dumps(about)}
        for part in range(2):
            write_tar(root / f"shard-{part}.tar", members)
    if name == "parquet":
        for part in range(2):
            rows = range(15 * part, 15 * part + 15)
            columns = {"other": [png(i + 100) for i in rows], "label": [i // 2 % 9 for i in rows]}
            columns["kind"] = [f"kind {i // 3}" for i in rows]
            columns["where"] = ["train" if i % 3 else "test" for i in rows]
            write_parquet(root / f"part-{part}.parquet", [png(i) for i in rows], **columns)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of six classes of six images."""
    root = tmp_path_factory.mktemp("images")
    for i in range(36):
        write_image(root / f"class {i // 6}" / f"{i}.png", i)
    return root


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory, eager_training):
    """Returns what trains a recipe with options of a section, and returns the run."""

    def train(section="training", root=images, **options):
        flags = [
            *("--backbone.name=conv4", "--backbone.input_size=16", "--backbone.filters=4"),
            *("--sampler.name=m_per_class", "--sampler.classes_per_batch=2"),
            *("--dataset.validation_fraction=0.5", f"--embedding.dim={DIM}"),
            *("--optimizer.learning_rate=0.1", "--training.epochs=2", "--training.threads=1"),
            *("--training.stage=full", "--training.interpolate=none", "--training.select=last"),
            *("--evaluation.clustering_seeds=1", "--backbone.resize_side=16"),
            *("--auxiliary_loss.name=center", "--training.select_aspect=false"),
            *(f"--{section}.{name}={text(value)}" for name, value in options.items()),
        ]
        folder = tmp_path_factory.mktemp("runs") / "run"
        try:
            return dml.Trainer(load_recipe(root, flags)).run(folder, evaluate=False)
        finally:
            keras.config.set_dtype_policy("float32")

    return train


def left_by(run):
    """Returns what a training leaves: its log without times, and the weights that it keeps."""
    log = [{k: v for k, v in row.items() if "second" not in k} for row in run.log()]
    encoder = run.encoder()
    return [str(log), str(encoder.dtype_policy), *encoder.get_weights()]


@pytest.mark.slow
def test_training_options_of_the_run(trained):
    options = {"epochs", "seed", "validate_every", "precision", "chunks"}
    options |= {"freeze_backbone_epochs", "auxiliary_loss_weight"}
    options |= {"train_blocks", "average", "average_decay", "patience"}
    defaults = {k: v for k, v in defaults_of(TrainingOptions).items() if k in options}
    assert not ignored("training", trained, left_by, defaults)


@pytest.mark.slow
def test_the_layers_of_an_augmentation_reach_the_run(trained):
    colours = (left_by(trained("augmentation", name="strong", hue=hue)) for hue in (0.0, 0.5))
    assert not same(*colours)


@pytest.mark.slow
def test_unreadable_images(trained, images, tmp_path):
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "images" / "class 0" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DmlError, match=r"broken\.png"):
        trained(root=tmp_path / "images")
    assert trained(root=tmp_path / "images", unreadable="skip").log()


@pytest.mark.slow
def test_evaluation(trained):
    run = trained()

    def metrics(flags):
        found = run.evaluate(flags=flags).to_json()
        return [str({name: value for name, value in found.items() if name != "seconds"})]

    def make(**options):
        flags = [f"--evaluation.{name}={text(value)}" for name, value in options.items()]
        load_recipe("glyphs", flags)  # checks them
        return flags

    assert not ignored("evaluation", make, metrics, defaults_of(EvaluationOptions))


def test_every_option_is_covered_or_listed():
    training = {*COMPOSED, "freeze_backbone_epochs", "unreadable"}
    training |= {"epochs", "seed", "validate_every", "precision", "chunks", "threads"}
    training |= {
        "select",
        "stage",
        "interpolate",
        "interpolate_batch_norm",
        "select_aspect",
        "refit",
    }
    training |= {"train_blocks", "average", "average_decay", "patience", "trackers"}
    training |= {"devices", "shard_proxies"}
    assert training == set(defaults_of(TrainingOptions))
    covered = {"dataset", "backbone", "embedding", "sampler", "augmentation", "loss", "miner"}
    covered |= {"reduction", "auxiliary_loss", "regularizer", "optimizer", "memory", "head"}
    assert covered | {"training", "evaluation", "head_stage", "second_stage"} == set(SECTIONS)


def test_the_lists_name_options_that_there_are():
    known = {f"{s}.{o}" for s in GROUPS for o in defaults_of(group_of(s))}
    for section, family in FAMILIES.items():
        for name, part in family.parts().items():
            known |= {f"{section}.{o}" for o in defaults_of(part)}
            known |= {f"{section}.{name}.{o}" for o in defaults_of(part)}
    assert set(ELSEWHERE) <= known
    sections = {entry.rpartition(".")[0] for entry in known} | set(FAMILIES) | set(GROUPS)
    assert set(COMPANY) <= known | sections
