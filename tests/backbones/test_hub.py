"""Presets of keras-hub: their own features, at other sizes, saved, and one line for what fails."""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from dml.backbones import BACKBONES, Hub
from dml.cli import main
from dml.encoding import EmbeddingOptions, build_encoder, load_encoder
from dml.errors import DataError, OptionError, PackageError, StorageError

pytest.importorskip("keras_hub")
from tests.backbones.tiny import PATCH, SIDE, TINY, write_preset

VIT = "weights/vit_tiny_patch16_224"
DATA = Path(os.environ.get("DML_DATA", "/nowhere"))
needs_vit = pytest.mark.skipif(
    not (DATA / VIT).exists(), reason=f"DML_DATA is not set or holds no {VIT}"
)
GRIDS = {"swin": 4}  # its stages merge patches


def each_network(*quick):
    """Returns the names of the tiny networks; those that are not named are slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in TINY]


def array(x):
    return keras.ops.convert_to_numpy(x)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def photos(count=2, side=SIDE):
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype="uint8")


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Returns a function from a name to a tiny preset's folder, network and image converter."""
    root, written = tmp_path_factory.mktemp("presets"), {}

    def preset(name):
        if name not in written:
            written[name] = (str(root / name), *write_preset(name, root / name))
        return written[name]

    return preset


def own_features(name, network, converter, x):
    """Returns the class token, or None, and the grid of patches, as keras-hub computes them."""
    first = TINY[name][2]
    vision = getattr(network, "vision_encoder", network)
    scaled = converter(x)
    names = vision.input if isinstance(vision.input, dict) else None
    given = {key: scaled for key in names} if names else scaled
    if name == "siglip":
        last = keras.Model(vision.inputs, vision.post_layer_norm.output)
        return array(vision(given)), array(last(scaled)).reshape(len(x), 4, 4, -1)
    features = vision(given)
    if first is None:
        return None, array(features)
    if name == "metaclip2":  # normalised in the model of both towers
        features = network.vision_post_layer_norm(features)
    features = array(features)
    grid = features[:, first:].reshape(len(x), *2 * [GRIDS.get(name, SIDE // PATCH)], -1)
    return (features[:, 0] if first else None), grid


# With a class token and registers, two towers, no class token, merged patches, and maps.
@pytest.mark.parametrize("name", each_network("dinov3", "metaclip2", "siglip", "swin", "resnet"))
def test_the_features_are_the_networks_own_and_are_saved_without_the_preset(
    name, presets, tmp_path
):
    folder, network, converter = presets(name)
    x = photos()
    token, grid = own_features(name, network, converter, x)
    encoder = build_encoder(Hub(preset=folder), EmbeddingOptions(dim=0))
    expected = unit(grid.mean(axis=(1, 2)) if token is None else token)
    np.testing.assert_allclose(array(encoder(x)), expected, atol=2e-5)
    found = encoder.get_layer("network").get_layer("hub")(converter(x))
    np.testing.assert_allclose(array(found if token is None else found[1]), grid, atol=2e-4)

    # The image tower alone, which needs no file of the preset.
    vision = getattr(network, "vision_encoder", network)
    masks = sum(w.shape[-1] for w in vision.weights if w.name == "mask_token")
    norm = 16 if name == "metaclip2" else 0
    assert encoder.count_params() == vision.count_params() - masks + norm
    encoder.save(tmp_path / "encoder.keras")
    loaded = load_encoder(tmp_path / "encoder.keras")
    np.testing.assert_allclose(array(loaded(x)), expected, atol=2e-5)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("vit", "dinov2", "siglip") else pytest.param(name, marks=pytest.mark.slow)
        for name in TINY
        if name != "swin"
    ],
)
def test_another_input_size(name, presets):
    backbone = Hub(preset=presets(name)[0], input_size=48, resize_side=56)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=0, pooling="max"))
    vectors = array(encoder(photos(2, 60)))
    assert vectors.shape[0] == 2 and np.isfinite(vectors).all()
    assert encoder.get_layer("prepare").input_size == 48
    if TINY[name][2] is not None:
        assert encoder.get_layer("network").get_layer("hub").output[1].shape == (None, 6, 6, 8)


def test_sizes_come_from_the_preset_unless_given(presets):
    folder = presets("vit")[0]
    sides = [
        (b.input_size, b.resize_side)
        for b in (
            Hub(preset=folder).resolved(),
            Hub(preset=folder, input_size=16).resolved(),
            Hub(preset=folder, resize_side=40).resolved(),
        )
    ]
    assert sides == [(32, 32), (16, 16), (32, 40)]
    with pytest.raises(OptionError, match="resize_side must be at least input_size, or 0; got 20"):
        Hub(preset=folder, resize_side=20).resolved()
    with pytest.raises(OptionError, match=r"'vit_tiny'\?\s+That is a backbone\.name"):
        Hub(preset="vit_tiny").resolved()


def test_a_size_that_is_no_multiple_of_the_patch_names_the_nearest_two(presets):
    with pytest.raises(OptionError, match="multiple of the patch of 8 pixels, 40 or 48; got 45"):
        build_encoder(Hub(preset=presets("dinov3")[0], input_size=45))


def test_a_network_of_one_size_names_it(presets):
    with pytest.raises(OptionError, match=r"input_size must be 32: SwinTransformer.*; got 8"):
        build_encoder(Hub(preset=presets("swin")[0], input_size=8))


def test_pooling_without_a_class_token_is_refused(presets):
    for pooling in ("cls", "cls+average"):
        with pytest.raises(OptionError, match=r"embedding.pooling must be .* no class token"):
            build_encoder(Hub(preset=presets("resnet")[0]), EmbeddingOptions(pooling=pooling))


def test_random_weights_and_frozen_statistics(presets):
    folder = presets("resnet")[0]
    x = photos()
    plain, drawn = (
        array(build_encoder(Hub(preset=folder, **options), EmbeddingOptions(dim=0))(x))
        for options in ({}, {"weights": "none"})
    )
    assert not np.allclose(plain, drawn)
    fixed = build_encoder(Hub(preset=folder, batch_norm="frozen"), EmbeddingOptions(dim=0))
    np.testing.assert_allclose(array(fixed(x, training=True)), plain, atol=2e-5)


def test_trained_positions_are_saved(presets, tmp_path):
    # keras-hub 0.32 saves those of DINOv2 only where training has lowered their sum.
    encoder = build_encoder(
        Hub(preset=presets("dinov2")[0], input_size=48), EmbeddingOptions(dim=0)
    )
    before, x = array(encoder(photos(2, 48))), photos(2, 48)
    for step in (0.3, -0.3):
        positions = [w for w in encoder.trainable_weights if "position" in w.path]
        assert len(positions) == 1
        positions[0].assign_add(step * np.random.default_rng(0).uniform(size=positions[0].shape))
        trained = array(encoder(x))
        assert not np.allclose(trained, before, atol=1e-3) or step < 0
        encoder.save(tmp_path / "encoder.keras")
        loaded = load_encoder(tmp_path / "encoder.keras")
        np.testing.assert_allclose(array(loaded(x)), trained, atol=2e-5)


@pytest.mark.parametrize("name", each_network("vit", "siglip"))
def test_every_weight_learns(name, presets):
    encoder = build_encoder(Hub(preset=presets(name)[0]), EmbeddingOptions(dim=4))
    weights = encoder.trainable_weights
    before = [array(w).copy() for w in weights]
    encoder.compile(keras.optimizers.SGD(0.1), "mse")
    encoder.train_on_batch(photos(4), np.eye(4, dtype="float32"))
    still = [
        w.path for w, was in zip(weights, before, strict=True) if np.array_equal(array(w), was)
    ]
    # A key's bias moves all logits of a query alike, and the next normalisation takes a shift out.
    without = ("key/bias", "k_proj/bias", "project_bn/beta")
    assert not [path for path in still if not any(part in path for part in without)]


def test_mixed_precision_reaches_the_image_tower(presets):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = build_encoder(Hub(preset=presets("clip")[0]), EmbeddingOptions(dim=4))
    finally:
        keras.config.set_dtype_policy(before)
    tower = encoder.get_layer("network").get_layer("hub").get_layer("tower")
    assert tower.layer.encoder_layers[0].compute_dtype == "bfloat16"
    assert array(encoder(photos())).dtype == np.float32


@pytest.mark.parametrize(
    "file, change, said",
    [
        ("config.json", Path.unlink, "has no config.json"),
        ("config.json", lambda path: path.write_text("{"), "can't be read as a preset"),
        ("config.json", lambda path: path.write_text('{"a": 1}'), "Unrecognized format"),
        ("model.weights.h5", lambda path: path.write_bytes(b"half"), "can't be read as a preset"),
        ("model.weights.h5", Path.unlink, "can't be read as a preset"),
        ("image_converter.json", Path.unlink, "image_converter.json"),
    ],
)
def test_a_damaged_folder_is_named_in_one_line(file, change, said, presets, tmp_path):
    folder = tmp_path / "preset"
    shutil.copytree(presets("vit")[0], folder)
    change(folder / file)
    with pytest.raises(DataError, match=said) as raised:
        build_encoder(Hub(preset=str(folder)))
    line = str(raised.value)
    assert line.startswith(f"{folder}: ") and "--backbone.preset FOLDER" in line
    assert "\n" not in line


def test_a_network_of_text_is_refused(tmp_path):
    library = importlib.import_module("keras_hub")
    network = library.models.BertBackbone(
        vocabulary_size=5, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16
    )
    network.save_to_preset(str(tmp_path))
    with pytest.raises(OptionError, match="must be of an image network; BertBackbone is another"):
        Hub(preset=str(tmp_path), input_size=32, resize_side=32).network()


@pytest.mark.parametrize(
    "preset, said",
    [
        ("dinov2_smal", "Did you mean 'dinov2_small'"),
        ("", "must be an existing folder, kaggle://..., hf://... or a name of keras-hub"),
        ("no/such/folder", "must be an existing folder"),
    ],
)
def test_an_unknown_name_is_refused_without_a_network(preset, said):
    with pytest.raises(OptionError, match=said):
        Hub(preset=preset).resolved()


@pytest.mark.parametrize("name", ["dinov2_small", "dinov3_vit_base", "vit_tiny"])
def test_without_a_network_a_preset_is_one_line(name, monkeypatch, tmp_path, capsys):
    library = importlib.import_module("keras_hub")

    def fail(place):
        raise ConnectionError("Failed to resolve 'hub'\n(Caused by NameResolutionError)")

    monkeypatch.setattr(library.layers.ImageConverter, "from_preset", fail)
    words = ["train", "glyphs", "--backbone.name", name, "--out", str(tmp_path / "run")]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "can't be fetched (Failed to resolve" in line
    assert BACKBONES[name]().preset in line and "--backbone.preset FOLDER" in line
    assert not (tmp_path / "run").exists()


def test_weights_that_cant_be_fetched_are_one_line(presets, monkeypatch):
    library = importlib.import_module("keras_hub")

    def fail(place, load_weights):
        raise ValueError("403 Client Error: the model is gated")

    monkeypatch.setattr(library.models.Backbone, "from_preset", fail)
    backbone = BACKBONES["dinov3_vit_small"](input_size=32, resize_side=32)
    with pytest.raises(StorageError, match=r"gated.*must be accepted on their hub first"):
        backbone.network()


def test_without_keras_hub_the_extra_is_named(presets, monkeypatch, tmp_path):
    encoder = build_encoder(Hub(preset=presets("vit")[0]), EmbeddingOptions(dim=4))
    encoder.save(tmp_path / "encoder.keras")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(PackageError, match=r"encoder.keras needs keras-hub: pip install 'dml\[hub"):
        load_encoder(tmp_path / "encoder.keras")
    with pytest.raises(PackageError, match=r"this backbone needs keras-hub: pip install 'dml\[hub"):
        Hub(preset="dinov2_small").resolved()


@pytest.mark.slow
def test_a_preset_is_trained_resumed_and_evaluated(presets, tmp_path, capsys):
    folder, run = presets("dinov2_with_registers")[0], str(tmp_path / "run")
    options = ["--backbone.name", "hub", "--backbone.preset", folder, "--backbone.input_size", "24"]
    size = ["--dataset.classes", "8", "--dataset.samples", "4", "--embedding.dim", "8"]
    few = ["--training.epochs", "1", "--sampler.name", "shuffle", "--sampler.batch_size", "8"]
    assert main(["train", "glyphs", "--out", run, *options, *size, *few]) == 0
    recipe = (tmp_path / "run" / "recipe.toml").read_text()
    assert "input_size = 24" in recipe and "resize_side = 24" in recipe
    assert main(["train", run, "--resume"]) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())


@pytest.mark.slow
@needs_vit
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exported on TensorFlow")
def test_onnx_has_the_vectors_of_keras_on_real_photos(tmp_path):
    from dml.encoding._formats import ExportFormat, read_encoder, write_encoder
    from dml.images import read_image

    # The first four of its twelve blocks: all of them take half a minute to export.
    preset = shutil.copytree(DATA / VIT, tmp_path / "preset", copy_function=shutil.copyfile)
    config = (preset / "config.json").read_text()
    assert '"num_layers": 12' in config
    (preset / "config.json").write_text(config.replace('"num_layers": 12', '"num_layers": 4'))
    encoder = build_encoder(Hub(preset=str(preset), input_size=160), EmbeddingOptions(dim=64))
    files = sorted((DATA / "emoji" / "test").rglob("*.*"))[::600]
    path = tmp_path / "encoder.onnx"
    write_encoder(encoder, path, ExportFormat.ONNX)
    assert path.stat().st_size < 9e6  # 2 million parameters
    run = read_encoder(path, ExportFormat.ONNX)
    for file in files:
        image = np.asarray(read_image(str(file)))[None]
        np.testing.assert_allclose(run(image), array(encoder(image)), atol=2e-5)


@pytest.mark.slow
@needs_vit
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="long, and the same there")
def test_frozen_weights_retrieve_unseen_birds():
    # Measured by the class token with keras-hub, Pillow and scikit-learn alone: 72.6 and 49.2. A
    # wrong scaling, or weights or positions that did not load, show here at once.
    from dml.datasets import DATASETS
    from dml.encoding import embed_images
    from dml.evaluation import retrieval

    items = DATASETS["folder"](root=str(DATA / "cub50")).items().select("test")
    items = items.take(np.arange(0, len(items), 8))
    encoder = build_encoder(Hub(preset=VIT), EmbeddingOptions(dim=0))
    found = retrieval(embed_images(encoder, items.paths), items.labels, ks=(1,))
    assert 100 * found.recall[1] == pytest.approx(72.6, abs=2.0)
    assert 100 * found.map_at_r == pytest.approx(49.2, abs=2.0)
