"""One optimizer for each part of a learner, and the schedule of their learning rates."""

import math
from collections.abc import Mapping
from typing import Any, Self

import keras
from keras import ops

from dml.errors import OptionError


def _decays(variable):
    """Returns whether weight decay acts on a variable. Biases of attention have two dimensions."""
    return len(variable.shape) > 1 and "bias" not in variable.name


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
        held: The rate of the step being taken, computed once for all variables; otherwise None.
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
        self.held: Any = None
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
        if self.held is not None:
            return self.held
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
class _Fraction(keras.optimizers.schedules.LearningRateSchedule):
    """A fraction of the rate of a schedule.

    Args:
        schedule: A `Schedule`.
        factor: The fraction.
    """

    def __init__(self, schedule: Schedule, factor: float):
        super().__init__()
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        return self.schedule(step) * self.factor

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["factor"])


@keras.saving.register_keras_serializable("dml")
class PartsOptimizer(keras.optimizers.MultiOptimizer):
    """One optimizer for each part of a learner, which share one `learning_rate`.

    `learning_rate` is the encoder's rate at this step. Setting it, as `LearningRateScheduler` and
    `ReduceLROnPlateau` do, scales the schedules of all parts alike, so that the head keeps its
    multiple. `gradient_norm` is the norm of the whole gradient of the last step.

    Biases, and variables with fewer than two dimensions, never decay.

    Args:
        optimizers: {part: Keras optimizer}; `learning_rate` applies to all parts but `head`.
        schedules: {part: `Schedule`}.
        part_of: {variable's path: part}.
        factors: {variable's path: factor of its part's rate}, for those whose factor is not 1.
        clip_norm: Largest norm of the gradient of a part; 0 does not clip.

    Raises:
        ValueError: On `build`, for a variable that belongs to no part.
    """

    def __init__(
        self,
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        schedules: Mapping[str, Schedule],
        part_of: Mapping[str, str],
        factors: Mapping[str, float] | None = None,
        clip_norm: float = 0.0,
        name: str = "parts",
    ):
        of_variable = _OptimizerOfVariable(optimizers, part_of, factors or {})
        super().__init__(of_variable, name=name)
        self.of_variable = of_variable
        self.schedules = dict(schedules)
        self.clip_norm = clip_norm
        self.scale = self.add_variable((), initializer="ones", dtype="float32", name="scale")
        for (part, factor), optimizer in of_variable.of_group.items():
            schedule = self.schedules[part]
            schedule.scale = self.scale
            optimizer.learning_rate = schedule if factor == 1 else _Fraction(schedule, factor)

    def build(self, variables):
        if not self.built:
            rest = [variable for variable in variables if not _decays(variable)]
            decaying = {self.of_variable(variable) for variable in variables if _decays(variable)}
            for optimizer in self.of_variable.values():
                optimizer.exclude_from_weight_decay(rest)
                if optimizer not in decaying:
                    optimizer.weight_decay = None  # Keras on PyTorch fails where it has no variable
            super().build(variables)
            self.gradient_norm = self.add_variable(
                shape=(), initializer="zeros", dtype="float32", name="gradient_norm"
            )

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is not None:
            self.build(trainable_variables)
        grads = self._clipped(grads, trainable_variables or self._trainable_variables)
        for schedule in self.schedules.values():
            schedule.held = schedule(self.iterations)
        try:
            super().apply(grads, trainable_variables)
        finally:
            for schedule in self.schedules.values():
                schedule.held = None

    def _clipped(self, grads, variables):
        """Returns the gradients, each part's clipped to `clip_norm`; records the whole norm."""
        parts = [self.of_variable.part_of[variable.path] for variable in variables]
        squares = dict.fromkeys(parts, 0.0)
        for gradient, part in zip(grads, parts, strict=True):
            if gradient is not None:
                squares[part] += ops.sum(ops.square(ops.cast(gradient, "float32")))
        self.gradient_norm.assign(ops.sqrt(sum(squares.values())))
        if not self.clip_norm:
            return grads
        factors = {
            part: self.clip_norm / ops.maximum(ops.sqrt(square), self.clip_norm)
            for part, square in squares.items()
        }
        return [
            gradient
            if gradient is None
            else ops.multiply(gradient, ops.cast(factors[part], gradient.dtype))
            for gradient, part in zip(grads, parts, strict=True)
        ]

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
        """Returns the rate of the encoder at this step, the higher one of its parts.

        That of the head, where nothing of the encoder trains.
        """
        parts = [part for part in self.schedules if part != "head"] or ["head"]
        rates = [self.schedules[part].unscaled(self.iterations) for part in parts]
        return ops.max(ops.stack(rates))

    def get_config(self):
        of_variable = self.of_variable
        return {
            "optimizers": {
                part: keras.saving.serialize_keras_object(optimizer)
                for part, optimizer in of_variable.optimizers.items()
            },
            "schedules": {part: schedule.get_config() for part, schedule in self.schedules.items()},
            "part_of": of_variable.part_of,
            "factors": of_variable.factors,
            "clip_norm": self.clip_norm,
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
        return cls(**{**config, "optimizers": optimizers, "schedules": schedules})


class _OptimizerOfVariable:
    """Maps variables to optimizers, as `keras.optimizers.MultiOptimizer` requires.

    The variables of a part that share a factor share an optimizer.

    Args:
        optimizers: {part: Keras optimizer}, of which each factor gets a copy.
        part_of: {variable's path: part}.
        factors: {variable's path: factor of its part's rate}, for those whose factor is not 1.
    """

    def __init__(self, optimizers, part_of, factors):
        self.optimizers, self.part_of = dict(optimizers), dict(part_of)
        self.factors = dict(factors)
        groups = dict.fromkeys((part, self.factors.get(path, 1)) for path, part in part_of.items())
        self.of_group = {
            (part, factor): _copy(
                self.optimizers[part], part if factor == 1 else f"{part}_{factor:.4g}"
            )
            for part, factor in groups
        }

    def values(self):
        """Returns every optimizer."""
        return self.of_group.values()

    def __call__(self, variable):
        if variable.path not in self.part_of:
            raise ValueError(f"variable {variable.path} belongs to no optimizer")
        group = self.part_of[variable.path], self.factors.get(variable.path, 1)
        return self.of_group[group]


def _copy(optimizer, name):
    """Returns a new optimizer with the options of another."""
    return type(optimizer).from_config({**optimizer.get_config(), "name": name})
