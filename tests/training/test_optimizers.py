"""Each part learns at its own rate, and a variable without an optimizer is an error."""

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.encoding._layers import GeneralisedMean
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import OptionError
from dml.losses import Margin, MultiSimilarity, ProxyAnchor
from dml.regularizers import Hier
from dml.training._parts_optimizer import PartsOptimizer, Schedule
from dml.training.learner import Learner
from dml.training.optimizers import _OPTIMIZERS, OptimizerOptions, build_optimizer


@pytest.fixture
def learner():
    keras.utils.set_random_seed(0)
    backbone = Conv4(input_size=16, resize_side=16, filters=4)
    return Learner(build_encoder(backbone, EmbeddingOptions(dim=4)), ProxyAnchor(), classes=3)


def step(learner, options, freeze_backbone_epochs=0):
    """Returns the largest change of each part's variables in one step."""
    optimizer = build_optimizer(learner, options, 1, 1, freeze_backbone_epochs)
    learner.compile(optimizer, run_eagerly=True)
    values = {n: [keras.ops.convert_to_numpy(v) for v in p] for n, p in learner.parts().items()}
    x = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype="uint8")
    learner.train_on_batch(x, np.array([0, 0, 1, 1, 2, 2]))
    change = {}
    for part, variables in learner.parts().items():
        pairs = zip(values[part], variables, strict=True)
        change[part] = max(np.abs(a - keras.ops.convert_to_numpy(b)).max() for a, b in pairs)
    return change


@pytest.mark.parametrize("name", _OPTIMIZERS)
def test_every_optimizer_moves_every_part(learner, name):
    assert all(change > 0 for change in step(learner, OptimizerOptions(name=name)).values())


def test_proxies_have_their_own_rate(learner):
    options = OptimizerOptions(name="adam", learning_rate=1e-4, head_learning_rate=1e-2)
    change = step(learner, options)
    assert change["head"] == pytest.approx(1e-2, rel=0.01)
    assert change["backbone"] == pytest.approx(1e-4, rel=0.01)


def test_the_backbone_waits_for_the_warm_up(learner):
    change = step(learner, OptimizerOptions(), freeze_backbone_epochs=1)
    assert change["backbone"] == 0 and change["embedding"] > 0 and change["head"] > 0


def test_epochs_are_counted_in_steps(learner):
    options = OptimizerOptions(
        learning_rate=1.0, head_learning_rate=10.0, schedule="cosine", warmup_epochs=0.5
    )
    made = build_optimizer(learner, options, steps_per_epoch=10, epochs=4, freeze_backbone_epochs=1)

    def rates(part, *steps):
        return [float(keras.ops.convert_to_numpy(made.schedules[part](step))) for step in steps]

    # Five steps of warm-up, then half a cosine until step 40: at step 12 a fifth of it is done.
    assert rates("embedding", 0, 4, 12, 40) == pytest.approx([0.2, 1, 0.904508, 0], abs=1e-6)
    assert rates("head", 0, 4, 12, 40) == pytest.approx([2, 10, 9.04508, 0], abs=1e-5)
    assert rates("backbone", 0, 9, 10) == pytest.approx([0, 0, 0.2])  # frozen for ten


def moved(learner, options, gradient):
    """Returns (part, path, value) of each variable, 1 before a step of one gradient everywhere."""
    optimizer = build_optimizer(learner, options, 1, 1)
    before = []
    for part, variables in learner.parts().items():
        for variable in variables:
            variable.assign(np.ones(variable.shape, "float32"))
            before.append((part, variable))
    gradients = [keras.ops.full(v.shape, gradient) for v in learner.trainable_variables]
    optimizer.apply(gradients, learner.trainable_variables)
    return [(part, v.path, keras.ops.convert_to_numpy(v)) for part, v in before]


def test_what_decays_and_what_does_not(learner):
    options = OptimizerOptions(
        learning_rate=0.1, head_learning_rate=0.2, weight_decay=0.5, head_weight_decay=0.25
    )
    after = moved(learner, options, gradient=0.0)
    rests = [path for _, path, _ in after if path.split("/")[-1] in ("beta", "gamma", "bias")]
    assert len(rests) >= 3
    for part, path, value in after:
        # At no gradient AdamW only decays: w - rate * decay * w.
        expected = 1.0 if path in rests else 1 - 0.2 * 0.25 if part == "head" else 1 - 0.1 * 0.5
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=path)


class LayerScale(keras.layers.Layer):
    """As DINOv2 and ConvNeXt multiply what a block adds."""

    def build(self, shape):
        self.lambda1 = self.add_weight(name="lambda1", shape=shape[-1:], initializer="ones")

    def call(self, x):
        return self.lambda1 * x


def test_what_has_one_dimension_or_none_does_not_decay():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Dense(4)(inputs)
    x = LayerScale()(keras.layers.RMSNormalization()(x))
    x = GeneralisedMean()(x)
    network = keras.Model(inputs, keras.layers.UnitNormalization()(x))
    options = OptimizerOptions(learning_rate=0.1, head_learning_rate=0.1, weight_decay=0.5)
    after = moved(Learner(network, ProxyAnchor(), classes=3), options, gradient=0.0)
    values = {path.split("/")[-1]: value for part, path, value in after if part == "backbone"}
    assert all((values[name] == 1).all() for name in ("scale", "bias", "lambda1", "exponent"))
    np.testing.assert_allclose(values["kernel"], 1 - 0.1 * 0.5, rtol=1e-6)


def test_boundaries_alone_do_not_decay():
    inputs = keras.Input((4,))
    network = keras.Model(inputs, keras.layers.UnitNormalization()(keras.layers.Dense(4)(inputs)))
    options = OptimizerOptions(learning_rate=0.1, head_learning_rate=0.1, head_weight_decay=0.5)
    after = moved(Learner(network, Margin(), classes=3), options, gradient=0.0)
    (boundaries,) = [value for part, _, value in after if part == "head"]
    assert (boundaries == 1).all()


def test_clips_the_norm_of_each_part(learner):
    options = OptimizerOptions(
        name="sgd", learning_rate=1.0, head_learning_rate=1.0, momentum=0.0, clip_norm=0.5
    )
    after = moved(learner, options, gradient=3.0)
    for part in ("backbone", "embedding", "head"):
        values = np.concatenate([value.ravel() for of, _, value in after if of == part])
        assert np.linalg.norm(values - 1) == pytest.approx(0.5, rel=1e-4)


def test_clips_each_value(learner):
    options = OptimizerOptions(
        name="sgd", learning_rate=1.0, head_learning_rate=1.0, momentum=0.0, clip_value=0.25
    )
    for _, path, value in moved(learner, options, gradient=3.0):
        np.testing.assert_allclose(value, 0.75, rtol=1e-6, err_msg=path)


def test_records_the_norm_of_the_gradient(learner):
    optimizer = build_optimizer(learner, OptimizerOptions(), 1, 1)
    gradients = [keras.ops.full(v.shape, 3.0) for v in learner.trainable_variables]
    optimizer.apply(gradients, learner.trainable_variables)
    norm = float(keras.ops.convert_to_numpy(optimizer.gradient_norm.value))
    count = sum(np.prod(v.shape) for v in learner.trainable_variables)
    assert norm == pytest.approx(3 * np.sqrt(count), rel=1e-5)


def test_a_variable_that_no_optimizer_sees_is_an_error(learner):
    optimizer = build_optimizer(learner, OptimizerOptions(), 1, 1)
    stranger = keras.Variable(np.zeros(2, "float32"), name="stranger")
    with pytest.raises(ValueError, match="stranger belongs to no optimizer"):
        optimizer.build([*learner.trainable_variables, stranger])


class Blocks:
    """What `build_optimizer` needs of a learner: two blocks, an embedding and a head."""

    def __init__(self):
        self.variables = {
            name: [keras.Variable(np.ones((2, 1), "float32"), name=f"{name}_kernel")]
            for name in ("stem", "top", "embedding", "head")
        }

    def parts(self):
        stem, top, embedding, head = self.variables.values()
        return {"backbone": [*stem, *top], "embedding": embedding, "head": head}

    def blocks(self):
        return [self.variables["stem"], self.variables["top"]]

    def steps(self, optimizer, *gradients):
        """Returns {name: value} after steps with these gradients, the same for all entries."""
        variables = [v for (v,) in self.variables.values()]
        optimizer.build(variables)
        for gradient in gradients:
            optimizer.apply([keras.ops.full((2, 1), gradient) for _ in variables], variables)
        found = {n: keras.ops.convert_to_numpy(v) for n, (v,) in self.variables.items()}
        assert all(value[0] == value[1] for value in found.values())
        return {name: float(value[0, 0]) for name, value in found.items()}


def test_rates_fall_towards_the_input():
    options = OptimizerOptions(
        name="sgd", learning_rate=0.1, head_learning_rate=0.2, momentum=0.9, layer_decay=0.5
    )
    made = Blocks()
    after = made.steps(build_optimizer(made, options, 1, 1), 1.0, 2.0)
    # Velocities -r and -0.9 r - 2 r, together -3.9 r, of the rates 0.1 * 0.5^2, 0.1 * 0.5, ...
    rates = {"stem": 0.025, "top": 0.05, "embedding": 0.1, "head": 0.2}
    assert after == pytest.approx({name: 1 - 3.9 * rate for name, rate in rates.items()})


def test_the_decay_of_weights_falls_with_the_rate():
    options = OptimizerOptions(learning_rate=0.1, weight_decay=0.5, layer_decay=0.5)
    made = Blocks()
    after = made.steps(build_optimizer(made, options, 1, 1), 0.0)
    expected = {"stem": 1 - 0.025 * 0.5, "top": 1 - 0.05 * 0.5, "embedding": 1 - 0.1 * 0.5}
    assert after == pytest.approx({**expected, "head": 1.0})


def test_blocks_are_clipped_as_one_part():
    options = OptimizerOptions(
        name="sgd", learning_rate=1.0, momentum=0.0, layer_decay=0.5, clip_norm=3.0
    )
    made = Blocks()
    after = made.steps(build_optimizer(made, options, 1, 1), 3.0)
    # The backbone's gradient has the norm 6, the embedding's 3 sqrt(2).
    expected = {"stem": 1 - 0.25 * 1.5, "top": 1 - 0.5 * 1.5, "embedding": 1 - 3 / np.sqrt(2)}
    assert {name: after[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_blocks_wait_and_are_scaled_as_one_part():
    options = OptimizerOptions(name="sgd", learning_rate=0.1, momentum=0.0, layer_decay=0.5)
    made = Blocks()
    optimizer = build_optimizer(made, options, 1, 3, freeze_backbone_epochs=1)
    assert made.steps(optimizer, 1.0) == pytest.approx(
        {"stem": 1, "top": 1, "embedding": 0.9, "head": 0.99}
    )
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer.learning_rate = 0.2
    assert made.steps(optimizer, 1.0) == pytest.approx(
        {"stem": 0.95, "top": 0.9, "embedding": 0.7, "head": 0.97}
    )


def test_layer_decay_is_made_again_from_its_config(learner):
    options = OptimizerOptions(layer_decay=0.5, clip_norm=1.0, weight_decay=0.1)
    optimizer = build_optimizer(learner, options, 2, 3)
    again = PartsOptimizer.from_config(optimizer.get_config())
    for made in (again, optimizer):
        made.build(learner.trainable_variables)
    assert [v.path for v in again.variables] == [v.path for v in optimizer.variables]
    gradients = [keras.ops.full(v.shape, 2.0) for v in learner.trainable_variables]
    found = []
    for made in (again, optimizer):
        for variable in learner.trainable_variables:
            variable.assign(np.ones(variable.shape, "float32"))
        made.apply(gradients)
        found.append([keras.ops.convert_to_numpy(v).copy() for v in learner.trainable_variables])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_layer_decay_in_a_compiled_step(learner, jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("is refused")
    options = OptimizerOptions(
        name="adam", learning_rate=1e-3, layer_decay=0.5, schedule="cosine", clip_norm=1.0
    )
    learner.compile(build_optimizer(learner, options, 1, 2), jit_compile=jit_compile)
    before = [[keras.ops.convert_to_numpy(v).copy() for v in block] for block in learner.blocks()]
    fit(learner)
    for depth, (old, block) in enumerate(
        zip(reversed(before), reversed(learner.blocks()), strict=True), 1
    ):
        for a, variable in zip(old, block, strict=True):
            if variable.trainable:  # Adam's first step is of the size of the rate
                change = np.abs(keras.ops.convert_to_numpy(variable) - a).max()
                assert change == pytest.approx(1e-3 * 0.5**depth, rel=0.02), variable.path


@pytest.mark.parametrize(
    "loss, regularizer", [(MultiSimilarity(), None), (ProxyAnchor(), None), (Margin(), Hier())]
)
def test_an_encoder_with_nothing_to_train_is_refused(loss, regularizer):
    backbone = Conv4(input_size=16, resize_side=16, filters=4)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=0))
    learner = Learner(encoder, loss, classes=3, regularizer=regularizer, train_blocks=0)
    with pytest.raises(OptionError, match="leaves nothing of the encoder to train") as error:
        build_optimizer(learner, OptimizerOptions(), 1, 1)
    assert error.value.option == "train_blocks"
    learner.compile("sgd" if learner.parts() else None)  # for `evaluate`


def test_the_rate_of_a_head_alone():
    schedule = Schedule(peak=0.5, kind="constant")
    optimizer = PartsOptimizer({"head": keras.optimizers.SGD()}, {"head": schedule}, {})
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.parametrize(
    "options",
    [
        {"name": "adagrad"},
        {"layer_decay": 0.0},
        {"layer_decay": 1.1},
        {"schedule": "linear"},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"weight_decay": 1e-4, "name": "adam"},
        {"momentum": 1.0},
        {"clip_value": 1.0, "clip_norm": 1.0},
    ],
)
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OptimizerOptions(**options)


def rates(optimizer):
    """Returns the rate of each part now."""
    step = optimizer.iterations
    every = optimizer.schedules.items()
    return {part: float(keras.ops.convert_to_numpy(s(step))) for part, s in every}


def fit(learner, **options):
    x = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype="uint8")
    return learner.fit(x, np.array([0, 0, 1, 1, 2, 2]), verbose=0, **options)


def parts_values(learner):
    return {
        name: [keras.ops.convert_to_numpy(v) for v in part]
        for name, part in learner.parts().items()
    }


def test_a_rate_that_is_set_scales_all_parts(learner):
    optimizer = build_optimizer(learner, OptimizerOptions(), 1, 1)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)
    optimizer.learning_rate = 5e-5
    assert float(optimizer.learning_rate) == pytest.approx(5e-5)
    assert rates(optimizer) == pytest.approx({"backbone": 5e-5, "embedding": 5e-5, "head": 5e-3})
    falling = build_optimizer(learner, OptimizerOptions(schedule="cosine"), 1, 1)
    falling.iterations.assign(1)
    with pytest.raises(ValueError, match="rate is 0 at this step"):
        falling.learning_rate = 1e-4


def test_keras_callbacks_set_the_rate_from_the_first_epoch(learner):
    learner.compile()
    before = parts_values(learner)
    stop = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0 if epoch == 0 else 1e-3)
    history = fit(learner, callbacks=[stop])
    assert history.history["learning_rate"] == [0.0]
    for name, values in parts_values(learner).items():
        for old, new in zip(before[name], values, strict=True):
            np.testing.assert_array_equal(old, new)
    fit(learner, initial_epoch=1, epochs=2, callbacks=[stop])
    assert (before["head"][0] != parts_values(learner)["head"][0]).any()
    assert rates(learner.optimizer) == pytest.approx(
        {"backbone": 1e-3, "embedding": 1e-3, "head": 1e-1}, rel=1e-5
    )


@pytest.mark.slow
def test_a_plateau_lowers_the_rate_of_all_parts(learner):
    learner.compile()
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor=0.5, patience=1, min_delta=1e9, min_lr=0.0
    )
    history = fit(learner, epochs=3, callbacks=[plateau])
    assert history.history["learning_rate"] == pytest.approx([1e-4, 1e-4, 5e-5], rel=1e-5)
    assert rates(learner.optimizer)["head"] == pytest.approx(2.5e-3, rel=1e-5)


def test_a_scale_lies_over_a_schedule(learner):
    options = OptimizerOptions(schedule="step", decay=0.1, decay_epochs=1)
    learner.compile(build_optimizer(learner, options, steps_per_epoch=1, epochs=3))
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    history = fit(learner, epochs=2, callbacks=[halve])
    # Read after the step, when the next epoch's factor counts.
    assert history.history["learning_rate"] == pytest.approx([1e-5, 5e-7], rel=1e-5)


def test_is_made_again_from_its_config(learner):
    optimizer = build_optimizer(learner, OptimizerOptions(schedule="cosine"), 2, 3)
    again = PartsOptimizer.from_config(optimizer.get_config())
    again.build(learner.trainable_variables)
    optimizer.build(learner.trainable_variables)
    assert [v.path for v in again.variables] == [v.path for v in optimizer.variables]
    assert rates(again) == rates(optimizer)
