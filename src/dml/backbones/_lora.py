"""Low-rank adaptation (Hu et al., ICLR 2022, https://arxiv.org/abs/2106.09685)."""

from typing import Any

from keras import layers

from dml.backbones._freezing import freeze
from dml.errors import OptionError

_ADAPTED = (layers.Dense, layers.EinsumDense)


def enable_lora(model: Any, rank: int) -> None:
    """Freezes a model, but for new factors A and B at the kernel of each dense layer.

    The layers compute with W + A B, where A is random and B 0. Those of attention are dense layers,
    too. BatchNormalization uses its statistics.

    Args:
        model: A Keras model.
        rank: The rank of A B. Positive.

    Raises:
        OptionError: The model has no dense layer.
    """
    adapted = [layer for layer in model._flatten_layers() if isinstance(layer, _ADAPTED)]
    if not adapted:
        raise OptionError(
            "backbone.lora_rank",
            f"must be 0 for {model.name}, which has no attention or dense kernels. "
            "training.train_blocks and optimizer.layer_decay are for every network",
        )
    freeze(model, model.weights)
    for layer in adapted:
        layer.enable_lora(rank)


def merge_lora(model: Any) -> None:
    """Replaces each kernel W and its factors by W + A B, in place.

    The model then computes the same without them, and is saved without them.

    Args:
        model: A Keras model, with or without factors.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, _ADAPTED) and layer.lora_enabled:
            factors = layer.lora_kernel_a, layer.lora_kernel_b
            layer._kernel.assign(layer.kernel)
            layer._kernel.trainable = True
            layer.lora_enabled = False
            layer.lora_rank = layer.lora_alpha = None
            for factor in factors:  # `del` collects garbage each time, which takes long
                layer._untrack_variable(factor)
            layer.lora_kernel_a = layer.lora_kernel_b = None
