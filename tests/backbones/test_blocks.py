"""Blocks in order of depth: known counts, composite layers, and a contract over the registry."""

import itertools

import keras
import pytest
from keras import layers

from dml.backbones import BACKBONES, Hub, blocks_of
from dml.backbones._tower import Tower
from dml.encoding._layers import FrozenStatistics
from tests.backbones.networks import Transformer, vision_transformer

# Of the publications: the stem, and the blocks that they count.
COUNTS = {
    "conv4": 4,
    "mobilenet": 1 + 13,
    "mobilenet_v2": 1 + 17 + 1,  # the last is the convolution before the pooling
    "mobilenet_v3_small": 1 + 11 + 1,
    "resnet50": 1 + 16,
    "resnet50_v2": 1 + 16,
    "vgg16": 13,
    "inception_v3": 5 + 11,  # five convolutions, then mixed0 .. mixed10
    "xception": 2 + 12 + 2,
    "densenet121": 1 + 58 + 3,  # with the transitions
    "efficientnet_b0": 1 + 16 + 1,
    "efficientnet_v2_b0": 1 + 21 + 1 + 2,  # two fused blocks without a residual count twice
    "convnext_tiny": 1 + 18 + 3,  # with the downsampling
    # Each cell reads the two before it: nothing behind the stem passes through one tensor.
    "nasnet_mobile": 2,
}
QUICK = ("conv4", "mobilenet", "mobilenet_v2", "mobilenet_v3_small")


def network(name):
    size = 75 if name in ("inception_v3", "xception") else 32
    return BACKBONES[name](weights="none", input_size=size, resize_side=size).network()


def names(block):
    """Returns the names of the layers whose weights are in a block."""
    return list(dict.fromkeys(weight.path.split("/")[-2] for weight in block))


def check_contract(model):
    """Checks that each weight is in exactly one block, in order of depth; returns the blocks."""
    blocks = blocks_of(model)
    found = [id(w) for block in blocks for w in block]
    assert sorted(found) == sorted(map(id, model.weights))
    assert {id(v) for v in model.trainable_variables} <= set(found)
    place = {id(w): i for i, w in enumerate(model.weights)}  # Keras orders layers by depth
    ends = [(min(at), max(at)) for at in ([place[id(w)] for w in block] for block in blocks)]
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(ends))
    assert all(any(len(w.shape) > 1 for w in block) for block in blocks)
    return blocks


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in COUNTS if n not in QUICK)]
)
def test_every_family_of_networks(name):
    if name == "nasnet_mobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not build it")
    blocks = check_contract(network(name))
    assert len(blocks) == COUNTS[name]
    assert len(blocks) >= 3 or name == "nasnet_mobile"


# Of one layer each; Swin of one in each of two stages, MobileNetV5 of three.
HUB = {"vit": 2, "dinov2_with_registers": 2, "dinov3": 2, "clip": 2, "metaclip2": 2}
HUB |= {"siglip": 3, "swin": 3, "mobilenet_v5": 3, "efficientnet": 4, "resnet": 2}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "dinov3" else pytest.mark.slow) for n in HUB]
)
def test_networks_of_keras_hub(name, tmp_path):
    tiny = pytest.importorskip("tests.backbones.tiny")
    tiny.write_preset(name, tmp_path)
    backbone = Hub(preset=str(tmp_path)).resolved()
    assert len(check_contract(backbone.network())) == HUB[name]


def test_a_transformer_of_keras_hub_is_divided_at_its_layers():
    models = pytest.importorskip("keras_hub").models
    options = {"patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 8}
    model = models.ViTBackbone(**options, mlp_dim=16, image_shape=(16, 16, 3))
    blocks = check_contract(model)
    assert len(blocks) == 1 + 3
    assert len(check_contract(keras.Model(model.input, Tower(model)(model.input)))) == 1 + 3


def test_a_depthwise_convolution_belongs_to_the_pointwise_one_after_it():
    stem, first, *_, last = blocks_of(network("mobilenet"))
    assert names(stem) == ["conv1", "conv1_bn"]
    assert names(first) == ["conv_dw_1", "conv_dw_1_bn", "conv_pw_1", "conv_pw_1_bn"]
    assert names(last) == ["conv_dw_13", "conv_dw_13_bn", "conv_pw_13", "conv_pw_13_bn"]


def test_an_expansion_and_a_gate_belong_to_their_block():
    blocks = blocks_of(network("mobilenet_v3_small"))
    for number, block in enumerate(blocks[2:-1], start=1):  # the first has no expansion
        assert all(f"expanded_conv_{number}_" in name for name in names(block)), names(block)
    assert "expanded_conv_squeeze_excite_conv" in names(blocks[1])


def test_a_transformer_of_plain_layers():
    model = vision_transformer(depth=3)
    blocks = check_contract(model)
    assert len(blocks) == 1 + 3
    assert names(blocks[0]) == ["patches", "positions"]
    assert {"norm_1_1", "norm_1_2", "query", "mlp_1_1", "mlp_1_2"} <= set(names(blocks[1]))
    assert "norm" in names(blocks[3])  # the last one belongs to the block before it


def test_an_encoder_that_is_one_layer_is_divided_at_its_blocks():
    image = keras.Input((32, 32, 3))
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 8, 8, name="patches")(image))
    model = keras.Model(image, Transformer(depth=4, name="encoder")(x))
    blocks = check_contract(model)
    assert len(blocks) == 1 + 4
    assert [w.path.split("/")[1] for w in (b[0] for b in blocks[1:])] == [
        f"block_{i}" for i in range(4)
    ]


@pytest.mark.parametrize("wrap", [FrozenStatistics, lambda model: model], ids=["frozen", "plain"])
def test_models_in_models_and_in_wrappers(wrap):
    inner = BACKBONES["conv4"](input_size=16, resize_side=16, filters=2).network()
    image = keras.Input((16, 16, 3))
    head = keras.Sequential([layers.Flatten(), layers.Dense(3), layers.ReLU(), layers.Dense(2)])
    model = keras.Model(image, head(wrap(inner)(image)))
    assert [len(block) for block in check_contract(model)] == [5, 5, 5, 5, 2, 2]


def test_what_passes_beside_without_weights_does_not_join_blocks():
    image = keras.Input((8, 8, 3))
    mean = layers.GlobalAveragePooling2D(keepdims=True)(image)  # used by each layer
    x = layers.Conv2D(4, 1, name="first")(image)
    x = layers.Conv2D(4, 1, name="second")(layers.Concatenate()([x, mean + x[..., :3] * 0]))
    x = layers.Conv2D(4, 1, name="third")(x)
    model = keras.Model(image, x + keras.ops.mean(mean))
    assert [names(block) for block in check_contract(model)] == [["first"], ["second"], ["third"]]


def test_a_shared_layer_belongs_to_the_first_block_that_uses_it():
    image = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.Dense(4, name="own")(shared(image))
    model = keras.Model(image, shared(x))
    assert [names(block) for block in blocks_of(model)] == [["shared"], ["own"]]


def test_a_network_without_kernels_is_one_block():
    image = keras.Input((4,))
    model = keras.Model(image, layers.BatchNormalization()(image))
    assert [len(block) for block in blocks_of(model)] == [4]
    assert blocks_of(keras.Model(image, layers.ReLU()(image))) == []
