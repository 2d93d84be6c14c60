"""Low-rank adaptation: what learns, what is merged, and what can't be adapted."""

import keras
import numpy as np
import pytest

import dml
from dml.backbones import Conv4, Hub, Own, merge_lora
from dml.encoding.encoder import EmbeddingOptions, build_encoder, load_encoder
from tests.backbones.networks import vision_transformer


@pytest.fixture
def path(tmp_path):
    keras.utils.set_random_seed(0)
    vision_transformer().save(tmp_path / "transformer.keras")
    return str(tmp_path / "transformer.keras")


def own(path, rank=2):
    return Own(path=path, input_size=32, resize_side=32, lora_rank=rank)


def array(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def test_only_the_factors_and_the_embedding_learn(path):
    encoder = build_encoder(own(path), EmbeddingOptions(dim=4))
    names = [v.path.split("/")[-1] for v in encoder.trainable_variables]
    # Two blocks with query, key, value, output and two layers of the perceptron.
    assert names.count("lora_kernel_a") == names.count("lora_kernel_b") == 2 * 6
    assert len(names) == 2 * 2 * 6 + 2  # and the embedding layer's
    assert not any(v.trainable for v in own(path).network().weights if "lora" not in v.path)


def test_an_adapted_network_starts_where_it_was(path):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    plain, adapted = own(path, 0).network(), own(path).network()
    np.testing.assert_allclose(array(adapted(images)), array(plain(images)), atol=1e-6)


def test_merging_adds_the_product_of_the_factors(path):
    model, rng = own(path).network(), np.random.default_rng(0)
    for v in model.trainable_variables:
        v.assign(rng.normal(size=v.shape))
    layers = [x for x in model._flatten_layers() if getattr(x, "lora_enabled", False)]
    expected = [
        array(x._kernel) + np.tensordot(array(x.lora_kernel_a), array(x.lora_kernel_b), 1)
        for x in layers
    ]
    merge_lora(model)
    assert len(layers) == 12
    for layer, kernel in zip(layers, expected, strict=True):
        np.testing.assert_allclose(array(layer.kernel), kernel, rtol=1e-5, atol=1e-5)
    assert not any("lora" in v.path for v in model.variables)
    merge_lora(model)  # nothing is left to merge
    np.testing.assert_allclose(array(layers[0].kernel), expected[0], rtol=1e-5, atol=1e-5)


def test_a_merged_encoder_is_saved_without_factors(path, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    encoder = build_encoder(own(path), EmbeddingOptions(dim=4))
    learner = dml.Learner(encoder, dml.losses.ProxyAnchor(), classes=2)
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    learner.fit(images, np.array([0, 0, 1]), epochs=2, verbose=0)
    before = array(encoder(images))
    merge_lora(encoder)
    np.testing.assert_allclose(array(encoder(images)), before, atol=1e-5)
    encoder.save(tmp_path / "encoder.keras")
    loaded = load_encoder(tmp_path / "encoder.keras")
    assert not any("lora" in v.path for v in loaded.variables)
    np.testing.assert_allclose(array(loaded(images)), before, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "dinov3",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("vit", "dinov2", "siglip", "swin")),
    ],
)
def test_transformers_of_keras_hub(name, tmp_path):
    tiny = pytest.importorskip("tests.backbones.tiny")
    tiny.write_preset(name, tmp_path / "preset")
    backbone = Hub(preset=str(tmp_path / "preset"), lora_rank=2)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=0))
    assert all("lora" in v.path for v in encoder.trainable_variables)
    # Query, key, value, output and the perceptron's two: of DINOv3 they have other names.
    assert len(encoder.trainable_variables) >= 2 * (4 if name == "swin" else 6)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    learner = dml.Learner(encoder, dml.losses.MultiSimilarity())
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    before = array(encoder(images))
    learner.fit(images, np.array([0, 0, 1, 1]), epochs=2, verbose=0)
    after = array(encoder(images))
    assert np.abs(after - before).max() > 1e-3
    merge_lora(encoder)
    encoder.save(tmp_path / "encoder.keras")
    loaded = load_encoder(tmp_path / "encoder.keras")
    assert not any("lora" in v.path for v in loaded.variables)
    np.testing.assert_allclose(array(loaded(images)), after, atol=1e-4)


def test_a_network_without_dense_kernels_is_refused():
    with pytest.raises(ValueError, match=r"backbone\.lora_rank must be 0 for conv4"):
        Conv4(input_size=16, resize_side=16, lora_rank=4).network()
    with pytest.raises(ValueError, match="lora_rank"):
        Conv4(lora_rank=-1)
