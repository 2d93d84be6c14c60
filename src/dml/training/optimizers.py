"""Optimizer and learning rate for each part of a learner: backbone, embedding, head."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import ops

from dml._options import check_at_least, check_interval, check_known, check_positive, check_within
from dml.errors import OptionError

if TYPE_CHECKING:
    from dml.training.learner import Learner

OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "cosine", "exponential")


@dataclass(frozen=True)
class OptimizerOptions:
    """How the weights learn. The head (proxies) has a learning rate of its own.

    Args:
        name: `adamw`, `adam`, `sgd` or `rmsprop`.
        learning_rate: Peak rate of backbone and embedding. Positive.
        head_learning_rate: Peak rate of the head's proxies. Positive; about 100 times
            `learning_rate` (Proxy Anchor, sec. 4.2). Unused by losses without a head.
        weight_decay: Fraction of a backbone or embedding weight that a step at rate 1 removes
            (PyTorch's and Keras' convention: it is multiplied by the rate). At least 0; `adamw`
            only. Scales and shifts of normalisation and biases never decay.
        head_weight_decay: The same fraction for the proxies. At least 0.
        epsilon: Added to the root of the second moment (Adam, AdamW, RMSprop). The settings of
            Proxy-NCA's code need 1.0, those of most others 1e-7.
        momentum: Momentum of SGD and RMSprop, in [0, 1).
        nesterov: Nesterov's momentum, for SGD.
        schedule: `constant`; `step` multiplies by `decay` every `decay_epochs`; `exponential`
            does so smoothly; `cosine` falls to `final_fraction` of the peak at the last epoch.
        decay: Factor of `step` and `exponential`, in (0, 1].
        decay_epochs: Epochs between two factors. Positive.
        final_fraction: Where `cosine` ends, as a fraction of the peak, in [0, 1].
        warmup_epochs: Epochs in which the rate rises linearly from 0 to its peak. May be
            fractional.
        clip_value: Largest absolute value of a gradient's entry; 0 does not clip.
        clip_norm: Largest norm of the gradient of a part (backbone, embedding, head); 0 does not
            clip.
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
    clip_value: float = 0.0
    clip_norm: float = 0.0

    def __post_init__(self):
        check_known(OPTIMIZERS, name=self.name)
        check_known(SCHEDULES, schedule=self.schedule)
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
        check_interval("(0, 1]", decay=self.decay)
        check_within(0, 1, final_fraction=self.final_fraction)
        for decay in ("weight_decay", "head_weight_decay"):
            if self.name != "adamw" and getattr(self, decay):
                raise OptionError(decay, f"acts with name = 'adamw' only; got {self.name!r}")
        if self.clip_value and self.clip_norm:
            raise OptionError("clip_value", "and clip_norm can't both be set")


@keras.saving.register_keras_serializable("dml")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a step: 0 while waiting, a linear rise, then the decay.

    Args:
        peak: Rate after the rise.
        kind: `constant`, `step`, `cosine` or `exponential`.
        wait: Steps at rate 0, in which the part does not learn.
        warmup: Steps of the linear rise, after the wait.
        total: Steps of the whole training; where `cosine` ends.
        decay: Factor of `step` and `exponential`.
        decay_steps: Steps between two factors.
        final_fraction: Where `cosine` ends, relative to the peak.

    Attributes:
        scale: A variable that multiplies every rate; None for 1. Not part of the config.
    """

    def __init__(
        self,
        peak: float,
        kind: str,
        wait: int = 0,
        warmup: int = 0,
        total: int = 1,
        decay: float = 0.5,
        decay_steps: float = 1,
        final_fraction: float = 0.0,
    ):
        super().__init__()
        self.scale: Any = None
        self.options = {
            "peak": peak,
            "kind": kind,
            "wait": wait,
            "warmup": warmup,
            "total": total,
            "decay": decay,
            "decay_steps": decay_steps,
            "final_fraction": final_fraction,
        }

    def __call__(self, step):
        rate = self.unscaled(step)
        return rate if self.scale is None else rate * self.scale

    def unscaled(self, step):
        """Returns the rate of a step before it is scaled."""
        o = self.options
        step = ops.cast(step, "float32")
        rate = o["peak"] * ops.clip((step - o["wait"] + 1.0) / max(o["warmup"], 1), 0.0, 1.0)
        if o["kind"] == "cosine":
            start = o["wait"] + o["warmup"]
            progress = ops.clip((step - start) / max(o["total"] - start, 1), 0.0, 1.0)
            fall = 0.5 * (1.0 + ops.cos(math.pi * progress))
            rate = rate * (o["final_fraction"] + (1.0 - o["final_fraction"]) * fall)
        elif o["kind"] != "constant":
            periods = step / o["decay_steps"]
            periods = ops.floor(periods) if o["kind"] == "step" else periods
            rate = rate * ops.power(ops.cast(o["decay"], "float32"), periods)
        return ops.where(step < o["wait"], ops.zeros_like(rate), rate)

    def get_config(self):
        return dict(self.options)


@keras.saving.register_keras_serializable("dml")
class PartsOptimizer(keras.optimizers.MultiOptimizer):
    """One optimizer for each part of a learner, which share one `learning_rate`.

    `learning_rate` is the encoder's rate at this step. Setting it, as `LearningRateScheduler` and
    `ReduceLROnPlateau` do, scales the schedules of all parts alike, so that the head keeps its
    multiple. `gradient_norm` is the norm of the whole gradient of the last step.

    Args:
        optimizers: {part: Keras optimizer}; `head` is the part that `learning_rate` is not of.
        schedules: {part: `Schedule`}.
        part_of: {variable's path: part}.

    Raises:
        ValueError: When it is built, for a variable of no part.
    """

    def __init__(
        self,
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        schedules: Mapping[str, Schedule],
        part_of: Mapping[str, str],
        name: str = "parts",
    ):
        of_variable = OptimizerOfVariable(optimizers, part_of)
        super().__init__(of_variable, name=name)
        self.of_variable = of_variable
        self.schedules = dict(schedules)
        self.scale = self.add_variable((), initializer="ones", dtype="float32", name="scale")
        for part, optimizer in optimizers.items():
            self.schedules[part].scale = self.scale
            optimizer.learning_rate = self.schedules[part]

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.gradient_norm = self.add_variable(
                shape=(), initializer="zeros", dtype="float32", name="gradient_norm"
            )

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is not None:
            self.build(trainable_variables)
        squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads]
        self.gradient_norm.assign(ops.sqrt(sum(squares)))
        super().apply(grads, trainable_variables)

    @property
    def optimizers(self):
        # Keras' callbacks would give each of them one rate, and the head lose its multiple.
        raise AttributeError("the parts have one learning_rate, of the PartsOptimizer")

    @property
    def learning_rate(self):
        return self.unscaled_rate() * self.scale

    @learning_rate.setter
    def learning_rate(self, rate):
        unscaled = float(ops.convert_to_numpy(self.unscaled_rate()))
        if not unscaled:
            raise OptionError(
                "learning_rate",
                "can't be scaled, because the schedule's rate is 0 at this step: set it at another "
                "epoch, or train by OptimizerOptions(schedule='constant')",
            )
        self.scale.assign(float(rate) / unscaled)

    def unscaled_rate(self):
        """Returns the rate of the encoder at this step: of that part of it that learns faster."""
        rates = [s.unscaled(self.iterations) for p, s in self.schedules.items() if p != "head"]
        return ops.max(ops.stack(rates))

    def get_config(self):
        optimizers = {
            part: keras.saving.serialize_keras_object(optimizer)
            for part, optimizer in self.of_variable.optimizers.items()
        }
        schedules = {part: schedule.get_config() for part, schedule in self.schedules.items()}
        return {
            "optimizers": optimizers,
            "schedules": schedules,
            "part_of": self.of_variable.part_of,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        optimizers = {
            part: keras.saving.deserialize_keras_object(optimizer, custom_objects)
            for part, optimizer in config["optimizers"].items()
        }
        schedules = {part: Schedule(**options) for part, options in config["schedules"].items()}
        return cls(optimizers, schedules, config["part_of"], config["name"])


class OptimizerOfVariable:
    """Which optimizer a variable has, as `keras.optimizers.MultiOptimizer` asks.

    Args:
        optimizers: {part: Keras optimizer}.
        part_of: {variable's path: part}.
    """

    def __init__(self, optimizers, part_of):
        self.optimizers, self.part_of = dict(optimizers), dict(part_of)

    def values(self):
        """Returns every optimizer."""
        return self.optimizers.values()

    def __call__(self, variable):
        if variable.path not in self.part_of:
            raise ValueError(f"variable {variable.path} is seen by no optimizer")
        return self.optimizers[self.part_of[variable.path]]


def build_optimizer(
    learner: "Learner",
    options: OptimizerOptions,
    steps_per_epoch: int,
    epochs: int,
    freeze_backbone_epochs: float = 0,
) -> PartsOptimizer:
    """Builds one optimizer for each part of the learner, with its own rate and decay.

    Args:
        learner: A `dml.Learner`, whose `parts()` name the variables.
        options: `OptimizerOptions`.
        steps_per_epoch: Steps in an epoch; positive.
        epochs: Epochs of the whole training; positive.
        freeze_backbone_epochs: Epochs in which the backbone's rate is 0: only embedding and
            head learn.

    Returns:
        A `PartsOptimizer`. A variable that belongs to no part is an error at its first step.
    """
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
    return PartsOptimizer(optimizers, schedules, part_of)


def _part_optimizer(options, schedule, weight_decay, name):
    """Returns the Keras optimizer of one part."""
    shared = {"learning_rate": schedule, "name": name}
    shared["clipvalue"] = options.clip_value or None
    shared["global_clipnorm"] = options.clip_norm or None
    if options.name == "sgd":
        return keras.optimizers.SGD(momentum=options.momentum, nesterov=options.nesterov, **shared)
    if options.name == "rmsprop":
        return keras.optimizers.RMSprop(
            momentum=options.momentum, epsilon=options.epsilon, **shared
        )
    if options.name == "adam":
        return keras.optimizers.Adam(epsilon=options.epsilon, **shared)
    optimizer = keras.optimizers.AdamW(weight_decay=weight_decay, epsilon=options.epsilon, **shared)
    # Decaying normalisation scales and biases only hurts.
    optimizer.exclude_from_weight_decay(var_names=["beta", "gamma", "bias"])
    return optimizer
