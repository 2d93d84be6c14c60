"""The contract of every loss in the registry; a new loss is tested automatically.

`VARIANTS` adds the options that change a formula, so that each of them meets the same contract.
"""

import dataclasses
import inspect
from pathlib import Path

import keras
import numpy as np
import pytest

from dml.heads import LengthHead, ProxyHead, ProxyLengthHead, WalkHead
from dml.losses import LOSSES, DynamicSoftMargin
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences
from tests.losses import reference, reference_pairs, reference_proxies, reference_ranks

CLASSES, DIM = 7, 5
BATCHES = {  # labels; the awkward ones are where losses return nan
    "balanced": [0, 0, 1, 1, 2, 2, 3, 3],
    "unbalanced": [0, 0, 0, 0, 0, 1, 2, 2],
    "no_positive_pair": [0, 1, 2, 3, 4, 5, 6, 0],
    "one_class": [3] * 8,
    "one_image": [2],
}
VARIANTS = {
    "proxy_nca": [
        {"positive_in_denominator": True, "label_smoothing": 0.1},
        {"form": "cosine", "scale": 18.0, "label_smoothing": 0.1},
    ],
    "soft_triple": [{"proxies_per_class": 1}, {"proxies_per_class": 2, "temperature": 1.0}],
    "multi_similarity": [{"negative_scale": 50.0, "base": 1.0}, {"epsilon": float("inf")}],
    "triplet": [
        {"mining": "all"},
        {"mining": "hard"},
        {"mining": "hard", "soft_margin": True, "distance": "euclidean"},
        {"mining": "all", "distance": "euclidean", "margin": 0.5},
    ],
    "adapted_triplet": [
        {"mining": "hard"},
        {"kernel": "gaussian", "weight": 0.3},
        {"mining": "all", "distance": "euclidean", "margin": 0.5},
    ],
}
VARIANTS |= {
    "contrastive": [
        {"power": 1, "distance": "cosine"},
        {"power": 1, "distance": "dot", "positive_margin": -1.0, "negative_margin": -0.2},
        {"distance": "poincare"},
        {"distance": "squared"},
    ],
    "generalized_lifted": [{"distance": "squared", "margin": 0.3}],
    "hyperbolic": [{"curvature": 0.0, "temperature": 0.1}, {"curvature": 1.0}],
    "pnp": [{"variant": v, "temperature": 0.1} for v in ("O", "Iu", "Ib", "Ds", "Dq")],
    "recall_surrogate": [{"ks": (1, 3), "rank_temperature": 0.1}],
    "smooth_ap": [{"temperature": 0.2}],
    "elasticface": [{"form": "cos"}],
    "dynamic_soft_margin": [{"bins": 16}],
    "manifold": [{"margin": 0.5}],
    "margin": [{"boundary_weight": 0.1, "margin": 0.5}],
    "sub_center_arcface": [{"proxies_per_class": 1}],
    "sphereface": [{"multiple": 2}, {"multiple": 3}],
    "vicreg": [{"target_deviation": 1.0}],
}
# Where the reference, which divides by lengths and takes inverse cosines, has no value.
UNDEFINED = {
    ("hyperbolic", "zero"),
    ("contrastive-distance=poincare", "zero"),
    ("hyperbolic-curvature=1.0", "zero"),
    ("snr_contrastive", "zero"),
    ("tuplet_margin", "duplicates"),
}
CASES = [(name, {}) for name in sorted(LOSSES)]
CASES += [(name, options) for name, variants in VARIANTS.items() for options in variants]


def case_id(case):
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def batch(loss, kind="balanced", seed=0):
    """Returns labels (B,) and the float64 array that the loss reads: unit vectors or cosines."""
    rng = np.random.default_rng(seed)
    labels = np.array(BATCHES[kind])
    embeddings = unit(rng.normal(size=(len(labels), DIM)))
    # Columns that a head adds: boundaries, lengths, margins.
    beside = rng.uniform(0.2, 1.0, size=(len(labels), 1))
    if loss.proxy_head is LengthHead:
        beside = 40 * beside
    if isinstance(loss, DynamicSoftMargin):
        distribution = np.sort(rng.uniform(size=loss.bins))
        return labels, np.append(embeddings, np.tile(distribution, (len(labels), 1)), axis=1)
    if not loss.proxies_per_class:
        if hasattr(loss, "boundary") and hasattr(loss, "per_class"):
            return labels, np.concatenate([embeddings, beside + 0.6], axis=1)
        return labels, embeddings
    proxies = unit(rng.normal(size=(CLASSES, loss.proxies_per_class, DIM)))
    cosines = np.einsum("bd,ckd->bck", embeddings, proxies)
    if loss.proxies_per_class > 1:
        return labels, cosines
    if loss.proxy_head is ProxyLengthHead:
        lengths = np.broadcast_to(np.linspace(0.5, 2, CLASSES), cosines[:, :, 0].shape)
        return labels, np.stack([cosines[:, :, 0], lengths], axis=2)
    plain = loss.proxy_head in (ProxyHead, WalkHead)
    return labels, cosines[:, :, 0] if plain else np.append(cosines[:, :, 0], beside, axis=1)


REFERENCES = {
    name: function
    for module in (reference, reference_pairs, reference_proxies, reference_ranks)
    for name, function in vars(module).items()
}


def expected(loss, name, labels, x, constants_at=None):
    options = dataclasses.asdict(loss)
    if "constants_at" in inspect.signature(REFERENCES[name]).parameters:
        options["constants_at"] = constants_at
    return REFERENCES[name](labels, x, **options)


def number(x):
    return float(keras.ops.convert_to_numpy(x).squeeze())


@pytest.fixture(params=CASES, ids=case_id)
def case(request):
    return request.param


@pytest.fixture
def name(case):
    return case[0]


@pytest.fixture
def loss(case):
    return LOSSES[case[0]](**case[1])


@pytest.mark.parametrize("kind", BATCHES)
def test_agrees_with_float64_reference_and_has_a_gradient(name, loss, kind):
    seed = ["tensorflow", "jax", "torch"].index(keras.backend.backend())
    labels, x = batch(loss, kind, seed)
    value, grad = value_and_grad(lambda x: loss(labels, x), x)
    assert value == pytest.approx(expected(loss, name, labels, x), rel=1e-5, abs=2e-6)
    assert np.isfinite(grad).all()


def test_gradient_agrees_with_finite_differences_of_the_reference(name, loss):
    labels, x = batch(loss, "unbalanced", seed=3)
    _, grad = value_and_grad(lambda x: loss(labels, x), x)
    # The widest are dynamic_soft_margin's: beyond the embedding are constants, of gradient 0.
    columns = range(min(x.shape[-1], 64))
    difference = finite_differences(
        lambda at: expected(loss, name, labels, at, x), x, 1e-6, columns
    )
    np.testing.assert_allclose(grad, difference, rtol=1e-3, atol=2e-5)


def test_compiled_it_is_the_same(loss):
    labels, x = batch(loss, "unbalanced")
    value, grad = value_and_grad(lambda x: loss(labels, x), x)
    compiled, compiled_grad = value_and_grad(
        lambda x: loss(labels, x), x, compiled=True, any_batch=True
    )
    assert compiled == pytest.approx(value, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(compiled_grad, grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 5e-2), ("float16", 1e-2)])
def test_finite_in_half_precision(loss, dtype, tolerance):
    labels, x = batch(loss)
    # A hinge at its kink may fall on either side: values of the rounded input are comparable.
    x = keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(x, dtype), "float32"))
    exact = number(loss(labels, x))
    value, grad = value_and_grad(lambda x: loss(labels, x), x, dtype)
    assert np.isfinite(grad).all()
    assert value == pytest.approx(exact, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("extreme", ["identical", "opposite", "zero", "duplicates"])
def test_agrees_with_the_reference_at_degenerate_input(case, name, loss, extreme):
    labels, x = batch(loss)
    if loss.proxies_per_class:
        value = {"identical": 1.0, "opposite": -1.0, "zero": 0.0}.get(extreme)
        x = np.repeat(x[:4], 2, axis=0) if value is None else np.full_like(x, value)
    else:
        signs = np.where(np.arange(len(x)) % 2, -1.0, 1.0)[:, None]
        x = {
            "identical": np.repeat(x[:1], len(x), axis=0),
            "opposite": signs * x[:1],
            "zero": np.zeros_like(x),
            "duplicates": np.repeat(x[:4], 2, axis=0),
        }[extreme]
    for dtype in ("float16", "bfloat16", "float32"):
        value, grad = value_and_grad(lambda x: loss(labels, x), x, dtype)
        assert np.isfinite(value) and np.isfinite(grad).all()
    if (case_id(case), extreme) not in UNDEFINED:
        # Sines are held above 1e-3, where their gradient is finite: so much of a margin's turn.
        turned = 1e-3 * loss.scale if hasattr(loss, "scale") and extreme == "identical" else 1e-5
        assert value == pytest.approx(expected(loss, name, labels, x), rel=1e-4, abs=turned)


# The next four are about the formulas, which the tests above show to be the same on all backends.
@pytest.mark.slow
def test_order_of_the_batch_does_not_matter(loss):
    labels, x = batch(loss)
    order = np.random.default_rng(1).permutation(len(labels))
    value, grad = value_and_grad(lambda x: loss(labels, x), x)
    shuffled, shuffled_grad = value_and_grad(lambda x: loss(labels[order], x), x[order])
    assert shuffled == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(shuffled_grad, grad[order], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_names_of_classes_do_not_matter(loss):
    labels, x = batch(loss)
    rename = np.random.default_rng(2).permutation(CLASSES)
    columns = np.append(np.argsort(rename), np.arange(CLASSES, x.shape[1]))
    columns = columns if loss.proxies_per_class else slice(None)
    renamed = number(loss(rename[labels], x[:, columns]))
    assert renamed == pytest.approx(number(loss(labels, x)), rel=1e-5)


@pytest.mark.slow
def test_a_small_step_downhill_lowers_it(loss):
    labels, x = batch(loss)
    value, grad = value_and_grad(lambda x: loss(labels, x), x)
    assert np.abs(grad).max() > 0
    assert number(loss(labels, x - 1e-4 * grad / np.abs(grad).max())) < value


@pytest.mark.slow
def test_saves_and_loads(loss):
    labels, x = batch(loss)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert dataclasses.asdict(copy) == dataclasses.asdict(loss)
    assert number(copy(labels, x)) == number(loss(labels, x))


def test_labels_far_apart_stay_distinct_in_half_precision(loss):
    if loss.proxies_per_class:
        pytest.skip("labels of a proxy loss are columns")
    _, x = batch(loss)
    apart = np.array([256, 256, 257, 257, 258, 258, 259, 259])
    assert number(loss(apart, x.astype("float16"))) == number(
        loss(apart - 256, x.astype("float16"))
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_has_a_docstring_that_names_every_option(name):
    doc = LOSSES[name].__doc__
    for field in dataclasses.fields(LOSSES[name]):
        assert f"{field.name}:" in doc, f"{name}: document option {field.name!r}"


def test_active_share_is_a_share(loss):
    if not loss.has_active_share():
        pytest.skip("this loss leaves no pair out")
    for kind in BATCHES:
        labels, x = batch(loss, kind)
        share = float(
            keras.ops.convert_to_numpy(loss.active_share(labels, keras.ops.cast(x, "float32")))
        )
        assert 0 <= share <= 1


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_stands_in_the_table_of_properties(name):
    table = (Path(__file__).parents[2] / "docs" / "loss-properties.md").read_text(encoding="utf-8")
    assert f"| {name} |" in table, "run benchmarks/loss_properties.py > docs/loss-properties.md"
