"""One optimizer for each part of a learner, and the schedule of their learning rates."""

import math
from collections.abc import Mapping
from typing import Any, Self

import keras
from keras import ops

from dml.errors import OptionError


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
        decay_steps: Steps between two decays.
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
        optimizers: {part: Keras optimizer}; `learning_rate` applies to all parts but `head`.
        schedules: {part: `Schedule`}.
        part_of: {variable's path: part}.

    Raises:
        ValueError: On `build`, for a variable that belongs to no part.
    """

    def __init__(
        self,
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        schedules: Mapping[str, Schedule],
        part_of: Mapping[str, str],
        name: str = "parts",
    ):
        of_variable = _OptimizerOfVariable(optimizers, part_of)
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
        # Otherwise Keras' callbacks would set the same rate for all parts.
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
                "epoch, or use OptimizerOptions(schedule='constant')",
            )
        self.scale.assign(float(rate) / unscaled)

    def unscaled_rate(self):
        """Returns the rate of the encoder at this step: the higher one of its parts."""
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


class _OptimizerOfVariable:
    """Maps variables to optimizers, as `keras.optimizers.MultiOptimizer` requires.

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
            raise ValueError(f"variable {variable.path} belongs to no optimizer")
        return self.optimizers[self.part_of[variable.path]]
