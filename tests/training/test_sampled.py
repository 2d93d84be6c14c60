"""Training with a sample of the classes."""

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.encoding import EmbeddingOptions, build_encoder, head_of
from dml.heads import ProxyHead, SampledProxyHead
from dml.losses import LOSSES, NormalizedSoftmax, ProxyAnchor, reduced
from dml.reductions import PerAnchor
from dml.training import Learner, OptimizerOptions, build_optimizer

CLASSES, BATCH = 24, 6


def of_features():
    """Returns a new encoder of features of length 8."""
    backbone = Conv4(input_size=16, resize_side=16, filters=8)
    return head_of(build_encoder(backbone, EmbeddingOptions(dim=8)))


def of_plain_proxies(name):
    try:
        return type(LOSSES[name]().head(CLASSES, 8)) is ProxyHead
    except TypeError:  # options without a default
        return False


PLAIN = sorted(name for name in LOSSES if of_plain_proxies(name))

ONE_OF_EACH = ("normalized_softmax", "proxy_anchor", "soft_triple")  # softmax, pairs, centres


def array(variable):
    """Returns the values of a variable, which stay when it changes."""
    return np.array(keras.ops.convert_to_numpy(variable))


def data(batches=4, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(batches * BATCH, 8)).astype("float32")
    return features, rng.integers(0, CLASSES, len(features))


def learner(loss, sample, eager=False, **options):
    keras.utils.set_random_seed(0)
    made = Learner(of_features(), loss, CLASSES, sample=sample, **options)
    options = OptimizerOptions(
        learning_rate=1e-2,
        head_learning_rate=0.1,
        head_weight_decay=1e-3,
        epsilon=1e-2,  # with a smaller one, rounding errors of small gradients become whole steps
    )
    made.compile(build_optimizer(made, options, 4, 2), run_eagerly=eager)
    return made


def fit(made, epochs=2, **options):
    x, y = data(**options)
    return made.fit(x, y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in ONE_OF_EACH else pytest.mark.slow) for n in PLAIN],
)
def test_a_sample_of_all_classes_trains_as_without(name):
    # Compiling takes long, and JAX compiles each operation else.
    eager = name not in ONE_OF_EACH and keras.backend.backend() != "jax"
    whole, sample = (learner(LOSSES[name](), share, eager) for share in (1.0, 0.99))
    assert isinstance(sample.head, SampledProxyHead) and sample.head.sample == CLASSES
    sample.head.table.assign(array(whole.head.proxies))
    np.testing.assert_allclose(fit(sample), fit(whole), rtol=1e-5)
    for one, other in (
        (sample.head.table, whole.head.proxies),
        *zip(sample.encoder.weights, whole.encoder.weights, strict=True),
    ):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-4, atol=1e-5)
    x, y = data(1)
    np.testing.assert_allclose(
        sample.evaluate(x, y, verbose=0), whole.evaluate(x, y, verbose=0), rtol=1e-4
    )


@pytest.mark.parametrize("correct, wrapped", [(False, False), (True, False), (True, True)])
def test_the_loss_is_that_of_the_drawn_classes(correct, wrapped):
    loss = NormalizedSoftmax(temperature=0.2)
    loss = reduced(loss, PerAnchor()) if wrapped else loss
    made = learner(loss, 0.5, correct_bias=correct)
    before = array(made.head.table)[:, 0].astype("float64")
    x, y = data(1)
    z = made.embed(x).astype("float64")
    (loss,) = fit(made, 1, batches=1)
    rows = array(made.head.rows)
    assert len(rows) == 12 and set(y) <= set(rows)
    logits = 5 * z @ (before / np.linalg.norm(before, axis=1, keepdims=True)).T
    if correct:
        own = len(set(y))
        logits += np.where(np.isin(np.arange(CLASSES), y), 0, np.log((24 - own) / (12 - own)))
    of_own = logits[np.arange(BATCH), y]
    expected = np.mean(np.log(np.exp(logits[:, rows]).sum(axis=1)) - of_own)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_what_is_not_drawn_is_left_alone_and_moments_stay_with_their_class():
    made = learner(ProxyAnchor(), 0.25)
    before, drawn = array(made.head.table), set()
    for seed in range(2):
        fit(made, 1, batches=1, seed=seed)
        drawn |= set(array(made.head.rows).tolist())
    others = np.delete(np.arange(CLASSES), list(drawn))
    assert 0 < len(others) < CLASSES - 6  # the second batch drew others
    after = array(made.head.table)
    np.testing.assert_array_equal(after[others], before[others])
    changed = np.abs(after - before).max(axis=(1, 2)) > 0
    assert set(np.flatnonzero(changed)) == drawn
    assert len(made.slots.tables) == 2  # AdamW's moments
    for table in made.slots.tables:
        known = np.abs(array(table)).max(axis=(1, 2)) > 0
        assert set(np.flatnonzero(known)) == drawn


def test_steps_that_bfloat16_can_not_show_add_up_and_its_tables_take_half_the_memory():
    plain, stored = (
        Learner(of_features(), NormalizedSoftmax(), CLASSES, sample=0.99, storage=format_)
        for format_ in ("float32", "bfloat16")
    )
    stored.encoder.set_weights(plain.encoder.get_weights())
    start = array(keras.ops.cast(stored.head.table, "float32"))
    plain.head.table.assign(start)
    for each in (plain, stored):
        each.compile(keras.optimizers.SGD(2e-5, momentum=0.9), run_eagerly=False)
        fit(each, 25)
    tables = [each.head.table for each in (plain, stored)] + [plain.slots.tables[0]]
    exact, found, momentum = (array(keras.ops.cast(table, "float32")) for table in tables)
    steps = 2e-5 * np.abs(momentum)
    assert (steps < 2.0**-9 * np.abs(start)).mean() > 0.9  # half the distance of two numbers
    moved, expected = (x.ravel() - start.ravel() for x in (found, exact))
    assert np.polyfit(expected, moved, 1)[0] == pytest.approx(1, abs=0.1)
    assert np.corrcoef(expected, moved)[0, 1] > 0.9  # 0.5 and 0.7 if rounded to the nearest
    for each in (stored.head.table, *stored.slots.tables):
        assert keras.backend.standardize_dtype(each.dtype) == "bfloat16"


def test_a_saved_learner_goes_on_as_if_it_had_not_stopped(tmp_path):
    made = learner(ProxyAnchor(), 0.5)
    fit(made)
    made.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    loaded.head.seeds.state.assign(array(made.head.seeds.state))  # Keras saves no random states
    np.testing.assert_allclose(fit(loaded, seed=1), fit(made, seed=1), rtol=1e-6)
    np.testing.assert_allclose(
        array(loaded.head.table), array(made.head.table), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "loss, options, said",
    [
        ("contrastive", {"sample": 0.5}, "sample is for losses with plain proxies.*no proxies"),
        ("magface", {"sample": 0.5}, "sample is for losses with plain proxies.*LengthHead"),
        ("proxy_anchor", {"sample": 0.0}, r"sample must be in \(0, 1\]"),
        ("proxy_anchor", {"sample": 0.5, "correct_bias": True}, "correct_bias is for softmax"),
        ("arcface", {"correct_bias": True}, "correct_bias needs a sample below 1"),
        ("arcface", {"storage": "bfloat16"}, "storage needs a sample below 1"),
        ("contrastive", {"storage": "bfloat16"}, "storage needs a sample below 1"),
        ("arcface", {"sample": 0.5, "storage": "float16"}, "storage must be one of"),
    ],
)
def test_losses_that_can_not_do_with_a_sample_are_named(loss, options, said):
    with pytest.raises(ValueError, match=said):
        Learner(of_features(), LOSSES[loss](), CLASSES, **options)


def test_a_batch_that_a_sample_can_not_hold_is_refused():
    made = learner(ProxyAnchor(), 0.2)  # five classes, batches of six
    with pytest.raises(Exception, match="5 classes in a step, fewer than the images of a batch"):
        fit(made, 1)


def test_shares_of_classes_are_refused():
    made = learner(ProxyAnchor(), 0.5)
    with pytest.raises(ValueError, match="one class for each image"):
        made.fit(data(1)[0], np.full((BATCH, CLASSES), 0.5, "float32"), verbose=0)
