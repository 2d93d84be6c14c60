"""Tiny networks of each class of keras-hub, written as presets."""

import keras_hub
import numpy as np

SIDE, PATCH = 32, 8
SCALE, OFFSET = [1 / 60, 1 / 50, 1 / 70], [-2.0, -1.8, -1.5]
_VIT = {"patch_size": PATCH, "num_layers": 1, "num_heads": 2, "hidden_dim": 8}
_IMAGE = {"image_shape": (SIDE, SIDE, 3)}
_TEXT = {
    **{"vocabulary_size": 5, "embedding_dim": 8, "hidden_dim": 8, "num_layers": 1},
    **{"num_heads": 2, "intermediate_dim": 16, "max_sequence_length": 4},
}


def _two_towers(kind, **options):
    models = keras_hub.models
    vision = getattr(models, f"{kind}VisionEncoder")(**_VIT, **_IMAGE, intermediate_dim=16)
    text = getattr(models, f"{kind}TextEncoder")(**_TEXT)
    return getattr(models, f"{kind}Backbone")(vision_encoder=vision, text_encoder=text, **options)


def _dinov2(registers):
    return keras_hub.models.DINOV2Backbone(
        **_VIT,
        **_IMAGE,
        intermediate_dim=16,
        num_register_tokens=registers,
        position_embedding_shape=(SIDE, SIDE, 3),
    )


def _mobilenet_v5():
    return keras_hub.models.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "mqa"]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [8, 8]],
        stackwise_strides=[[2], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu", "relu"]],
        stackwise_exp_ratios=[[2.0], [2.0, 2.0]],
        stackwise_se_ratios=[[0.0], [0.0, 0.0]],
        stackwise_dw_kernel_sizes=[[0], [3, 3]],
        stackwise_dw_start_kernel_sizes=[[0], [0, 0]],
        stackwise_dw_end_kernel_sizes=[[0], [0, 0]],
        stackwise_exp_kernel_sizes=[[3], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0]],
        stackwise_num_heads=[[0], [0, 2]],
        stackwise_key_dims=[[0], [0, 4]],
        stackwise_value_dims=[[0], [0, 4]],
        stackwise_kv_strides=[[0], [0, 1]],
        stackwise_use_cpe=[[False], [False, False]],
        stem_size=8,
        num_features=16,
        msfa_output_resolution=4,
    )


# name: (prefix of its classes, network, tokens in front of the patches or None for a map)
TINY = {
    "vit": ("ViT", lambda: keras_hub.models.ViTBackbone(**_VIT, **_IMAGE, mlp_dim=16), 1),
    "deit": (
        "DeiT",
        lambda: keras_hub.models.DeiTBackbone(**_VIT, **_IMAGE, intermediate_dim=16),
        2,
    ),
    "dinov2": ("DINOV2", lambda: _dinov2(0), 1),
    "dinov2_with_registers": ("DINOV2", lambda: _dinov2(2), 3),
    "dinov3": (
        "DINOV3",
        lambda: keras_hub.models.DINOV3Backbone(
            **_VIT, **_IMAGE, intermediate_dim=16, num_register_tokens=2
        ),
        3,
    ),
    "clip": ("CLIP", lambda: _two_towers("CLIP", projection_dim=4), 1),
    "metaclip2": ("MetaCLIP2", lambda: _two_towers("MetaCLIP2", projection_dim=4), 1),
    "siglip": ("SigLIP", lambda: _two_towers("SigLIP"), 0),
    "swin": (
        "SwinTransformer",
        lambda: keras_hub.models.SwinTransformerBackbone(
            **_IMAGE, embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=2
        ),
        0,
    ),
    "resnet": (
        "ResNet",
        lambda: keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[3],
            stackwise_num_filters=[64],
            stackwise_num_blocks=[1],
            stackwise_num_strides=[1],
            block_type="basic_block",
        ),
        None,
    ),
    "efficientnet": (
        "EfficientNet",
        lambda: keras_hub.models.EfficientNetBackbone(
            stackwise_kernel_sizes=[3, 3],
            stackwise_num_repeats=[1, 1],
            stackwise_input_filters=[8, 8],
            stackwise_output_filters=[8, 8],
            stackwise_expansion_ratios=[1, 2],
            stackwise_squeeze_and_excite_ratios=[0.0, 0.25],
            stackwise_strides=[2, 2],
            stackwise_block_types=["v1", "v1"],
            width_coefficient=1.0,
            depth_coefficient=1.0,
        ),
        None,
    ),
    "mobilenet_v5": ("MobileNetV5", _mobilenet_v5, None),
}


def write_preset(name, folder):
    """Writes a preset with drawn weights; returns its network and image converter."""
    kind, build, _ = TINY[name]
    network, rng = build(), np.random.default_rng(0)
    for weight in network.weights:
        if "int" not in str(weight.dtype):
            low, high = (0.5, 1.0) if "variance" in weight.name else (-0.5, 0.5)
            weight.assign(rng.uniform(low, high, weight.shape))
    layer = getattr(keras_hub.layers, f"{kind}ImageConverter")
    converter = layer(image_size=(SIDE, SIDE), scale=SCALE, offset=OFFSET)
    network.save_to_preset(str(folder))
    converter.save_to_preset(str(folder))
    return network, converter
