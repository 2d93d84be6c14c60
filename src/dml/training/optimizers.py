"""Optimizer and learning rate for each part of a learner: backbone, embedding, head."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from dml._options import check_at_least, check_interval, check_known, check_positive, check_within
from dml.errors import OptionError
from dml.training._parts_optimizer import PartsOptimizer, Schedule

if TYPE_CHECKING:
    from dml.training.learner import Learner

_OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
_SCHEDULES = ("constant", "step", "cosine", "exponential")


@dataclass(frozen=True)
class OptimizerOptions:
    """Optimizer and learning rates. The head (proxies) has its own learning rate.

    Args:
        name: `adamw`, `adam`, `sgd` or `rmsprop`.
        learning_rate: Peak learning rate of backbone and embedding. Positive.
        head_learning_rate: Peak rate of the head's proxies. Positive; about 100 times
            `learning_rate` (Proxy Anchor, sec. 4.2). Unused by losses without a head.
        weight_decay: Fraction of a backbone or embedding weight that a step at rate 1 removes
            (PyTorch's and Keras' convention: it is multiplied by the rate). At least 0; `adamw`
            only. Biases never decay, nor do variables with fewer than two dimensions: scales and
            shifts of normalisation, scales of layers, the exponent of `gem` pooling.
        head_weight_decay: The same fraction for the proxies. At least 0.
        epsilon: Added to the root of the second moment (Adam, AdamW, RMSprop). The settings of
            Proxy-NCA's code need 1.0, those of most others 1e-7.
        momentum: Momentum of SGD and RMSprop, in [0, 1).
        nesterov: Nesterov's momentum, for SGD.
        schedule: `constant`; `step` multiplies by `decay` every `decay_epochs`; `exponential`
            does so smoothly; `cosine` falls to `final_fraction` of the peak at the last epoch.
        decay: Factor of `step` and `exponential`, in (0, 1].
        decay_epochs: Epochs between two decays. Positive.
        final_fraction: Where `cosine` ends, as a fraction of the peak, in [0, 1].
        warmup_epochs: Epochs in which the rate rises linearly from 0 to its peak. May be
            fractional.
        layer_decay: Factor in (0, 1] between the rates of one block of the backbone and of the
            next one towards the input: the last block learns at `layer_decay` times the rate, the
            one before at its square, and so on; the embedding layer at the full rate. BEiT's
            convention (ELECTRA's powers are one higher): 0.65 to 0.9 for transformers.
        clip_value: Largest absolute value of a gradient's entry; 0 does not clip.
        clip_norm: Largest norm of the gradient of a part (backbone, embedding, head); 0 does not
            clip.

    Example:
        >>> dml.OptimizerOptions(learning_rate=3e-4, schedule="cosine", warmup_epochs=1).name
        'adamw'
    """

    name: str = "adamw"
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-2
    weight_decay: float = 0.0
    head_weight_decay: float = 0.0
    epsilon: float = 1e-7
    momentum: float = 0.9
    nesterov: bool = False
    schedule: str = "constant"
    decay: float = 0.5
    decay_epochs: float = 10.0
    final_fraction: float = 0.0
    warmup_epochs: float = 0.0
    layer_decay: float = 1.0
    clip_value: float = 0.0
    clip_norm: float = 0.0

    def __post_init__(self):
        check_known(_OPTIMIZERS, name=self.name)
        check_known(_SCHEDULES, schedule=self.schedule)
        check_positive(
            learning_rate=self.learning_rate,
            head_learning_rate=self.head_learning_rate,
            epsilon=self.epsilon,
            decay_epochs=self.decay_epochs,
        )
        check_at_least(
            0,
            weight_decay=self.weight_decay,
            head_weight_decay=self.head_weight_decay,
            warmup_epochs=self.warmup_epochs,
        )
        check_at_least(0, clip_value=self.clip_value, clip_norm=self.clip_norm)
        check_interval("[0, 1)", momentum=self.momentum)
        check_interval("(0, 1]", decay=self.decay, layer_decay=self.layer_decay)
        check_within(0, 1, final_fraction=self.final_fraction)
        for decay in ("weight_decay", "head_weight_decay"):
            if self.name != "adamw" and getattr(self, decay):
                raise OptionError(decay, f"is only used with name = 'adamw'; got {self.name!r}")
        if self.clip_value and self.clip_norm:
            raise OptionError("clip_value", "and clip_norm can't both be set")


def build_optimizer(
    learner: "Learner",
    options: OptimizerOptions,
    steps_per_epoch: int,
    epochs: int,
    freeze_backbone_epochs: float = 0,
) -> PartsOptimizer:
    """Builds one optimizer for each part of the learner, with its own rate and decay.

    Args:
        learner: A `dml.Learner`, whose `parts()` name the variables and whose `blocks()` order
            those of the backbone.
        options: `OptimizerOptions`.
        steps_per_epoch: Steps in an epoch; positive.
        epochs: Epochs of the whole training; positive.
        freeze_backbone_epochs: Epochs in which the backbone's rate is 0: only embedding and
            head learn.

    Returns:
        A `PartsOptimizer`. A variable that belongs to no part is an error at its first step.

    Raises:
        OptionError: Nothing of the encoder would be trained.

    Example:
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=16, resize_side=16))
        >>> learner = dml.Learner(encoder, dml.losses.ProxyAnchor(), classes=4)
        >>> options = dml.OptimizerOptions(learning_rate=1e-3)
        >>> optimizer = dml.build_optimizer(learner, options, steps_per_epoch=10, epochs=5)
        >>> learner.compile(optimizer)
    """
    if not learner.parts().keys() - {"head"}:
        raise OptionError(
            "train_blocks",
            "leaves nothing of the encoder to train: the backbone is frozen and there is no "
            "embedding layer (embedding.dim = 0). Train a block or an embedding",
        )
    optimizers, schedules, part_of = {}, {}, {}
    for part, variables in learner.parts().items():
        head = part == "head"
        schedules[part] = Schedule(
            peak=options.head_learning_rate if head else options.learning_rate,
            kind=options.schedule,
            wait=round(freeze_backbone_epochs * steps_per_epoch) if part == "backbone" else 0,
            warmup=round(options.warmup_epochs * steps_per_epoch),
            total=epochs * steps_per_epoch,
            decay=options.decay,
            decay_steps=options.decay_epochs * steps_per_epoch,
            final_fraction=options.final_fraction,
        )
        decay = options.head_weight_decay if head else options.weight_decay
        optimizers[part] = _part_optimizer(options, schedules[part], decay, name=part)
        part_of.update((variable.path, part) for variable in variables)
    factors = {}
    if options.layer_decay < 1:
        for depth, block in enumerate(reversed(learner.blocks()), start=1):
            factors.update((v.path, options.layer_decay**depth) for v in block if v.path in part_of)
    return PartsOptimizer(optimizers, schedules, part_of, factors, options.clip_norm)


def _part_optimizer(options, schedule, weight_decay, name):
    """Returns the Keras optimizer of one part."""
    shared = {"learning_rate": schedule, "name": name}
    shared["clipvalue"] = options.clip_value or None
    if options.name == "sgd":
        return keras.optimizers.SGD(momentum=options.momentum, nesterov=options.nesterov, **shared)
    if options.name == "rmsprop":
        return keras.optimizers.RMSprop(
            momentum=options.momentum, epsilon=options.epsilon, **shared
        )
    if options.name == "adam":
        return keras.optimizers.Adam(epsilon=options.epsilon, **shared)
    return keras.optimizers.AdamW(weight_decay=weight_decay, epsilon=options.epsilon, **shared)
