"""Tests specific to the softmax losses of cosines to proxies."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from dml.errors import OptionError
from dml.heads import LengthHead, ProxyHead, ProxyLengthHead, WalkHead
from dml.losses import LOSSES, SubCenterArcFace, outliers
from dml.losses._margin_softmax import turned_away
from tests.backend import value_and_grad
from tests.losses import reference_proxies

PROXY_LOSSES = sorted(name for name, loss in LOSSES.items() if loss.proxies_per_class)


def as_read(loss, cosines):
    """Returns cosines (B, classes) as a loss reads them: with copies, lengths or margins beside."""
    centres = loss.proxies_per_class
    if centres > 1:
        return np.repeat(cosines[:, :, None], centres, axis=2)
    if loss.proxy_head is ProxyLengthHead:
        return np.stack([cosines, np.full_like(cosines, 1.5)], axis=2)
    if loss.proxy_head in (ProxyHead, WalkHead):
        return cosines
    beside = 20.0 if loss.proxy_head is LengthHead else 0.3
    return np.append(cosines, np.full_like(cosines[:, :1], beside), axis=1)


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


def test_cosface_by_hand():
    loss = LOSSES["cosface"](margin=0.1, scale=2.0)
    expected = np.log(1 + np.exp(2 * 0.2 - 2 * (0.5 - 0.1)))
    assert number(loss(np.array([0]), np.array([[0.5, 0.2]]))) == pytest.approx(expected, abs=1e-6)


def test_arcface_by_hand():
    # cos(60 degrees + 30 degrees) = 0
    loss = LOSSES["arcface"](margin=30.0, scale=2.0)
    expected = np.log(1 + np.exp(2 * 0.2))
    assert number(loss(np.array([0]), np.array([[0.5, 0.2]]))) == pytest.approx(expected, abs=1e-6)


def test_the_own_logit_of_arcface_falls_with_the_angle_all_the_way():
    angles = np.linspace(0.05, np.pi, 400)
    moved = ops.convert_to_numpy(turned_away(ops.cast(np.cos(angles), "float32"), 0.5))
    assert (np.diff(moved) < 0).all()


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 5, 6])
def test_the_own_logit_of_sphereface_falls_with_the_angle_all_the_way(multiple):
    cosines = ops.cast(np.cos(np.linspace(0, np.pi, 400)), "float32")
    moved = ops.convert_to_numpy(LOSSES["sphereface"](multiple=multiple).with_margin(cosines))
    assert (np.diff(moved) < 1e-5).all() and moved[0] == pytest.approx(1)
    assert moved[-1] == pytest.approx(1 - 2 * multiple, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["arcface", "sub_center_arcface", "sphereface", "cosface"])
def test_finite_where_an_image_is_its_proxy(name, dtype):
    # Code that takes the inverse cosine gives nan here for most seeds.
    loss = LOSSES[name]()
    options = dataclasses.asdict(loss)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(4, 8))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        cosines = x @ x.T
        cosines = np.repeat(cosines[:, :, None], 3, axis=2) if name[0:3] == "sub" else cosines
        value, grad = value_and_grad(lambda s: loss(np.arange(4), s), cosines, dtype)
        assert np.isfinite(grad).all()
        if dtype == "float32":  # within what sines held above 1e-3 add to a logit
            exact = getattr(reference_proxies, name)(
                np.arange(4), np.clip(cosines, -1, 1), **options
            )
            assert value == pytest.approx(exact, rel=1e-4, abs=1e-3 * loss.scale)


@pytest.mark.parametrize("name", PROXY_LOSSES)
def test_memberships_of_zeros_and_ones_do_as_labels_do(name):
    rng = np.random.default_rng(0)
    labels, cosines = np.array([0, 2, 1, 2]), rng.uniform(-1, 1, (4, 3)).astype("float32")
    loss = LOSSES[name]()
    cosines = as_read(loss, cosines)
    found = number(loss(np.eye(3, dtype="float32")[labels], cosines))
    assert found == pytest.approx(number(loss(labels, cosines)), rel=1e-5)


@pytest.mark.parametrize("name", sorted({*PROXY_LOSSES} - {"soft_triple"}))
def test_an_image_of_two_classes_is_drawn_to_both(name):
    cosines = np.array([[0.2, 0.2, 0.1]])
    cosines = as_read(LOSSES[name](), cosines)
    _, grad = value_and_grad(lambda s: LOSSES[name]()(np.array([[1.0, 1.0, 0.0]]), s), cosines)
    if grad.ndim == 3:
        grad = grad[:, :, 0] if name == "large_margin_softmax" else grad.sum(axis=2)
    assert (grad[0, :2] < 0).all() and (grad[0, 2] > 0 or name == "center")


def test_sub_centres_take_the_nearest():
    cosines = np.array([[[0.9, 0.1], [0.2, 0.3]]])
    loss = SubCenterArcFace(margin=0.0, scale=2.0, proxies_per_class=2)
    expected = np.log(1 + np.exp(2 * (0.3 - 0.9)))
    assert number(loss(np.array([0]), cosines)) == pytest.approx(expected, abs=1e-5)


def test_outliers_are_far_from_the_main_centre():
    cosines = np.zeros((4, 2, 2))
    cosines[:, 0] = [[0.9, 0.1], [0.8, 0.0], [0.1, 0.9], [0.9, 0.2]]
    labels = np.array([0, 0, 0, 0])
    found, main = outliers(cosines, labels)
    assert found.tolist() == [False, False, True, False] and main[0] == 0


BAD = {
    "arcface": {"margin": 91.0},
    "cosface": {"margin": -0.1},
    "normalized_softmax": {"temperature": 0.0},
    "large_margin_softmax": {"multiple": 2.5},
    "sphereface": {"multiple": 0},
    "sub_center_arcface": {"proxies_per_class": 0},
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_options_out_of_range(name):
    with pytest.raises(ValueError, match=next(iter(BAD[name]))):
        LOSSES[name](**BAD[name])


@pytest.mark.parametrize(
    "name, option",
    [
        ("sphereface", "multiple"),
        ("large_margin_softmax", "multiple"),
        ("sub_center_arcface", "proxies_per_class"),
        ("soft_triple", "proxies_per_class"),
        ("histogram", "bins"),
        ("fast_ap", "bins"),
        ("dynamic_soft_margin", "bins"),
    ],
)
def test_counts_are_integers(name, option):
    with pytest.raises(OptionError, match=f"{option} must be an integer; got 2.5"):
        LOSSES[name](**{option: 2.5})


@pytest.mark.parametrize("name", PROXY_LOSSES)
def test_memberships_of_an_image_of_no_class_are_finite(name):
    loss = LOSSES[name]()
    cosines = as_read(loss, np.array([[0.2, -0.3, 0.1], [0.4, 0.0, 0.9]]))
    none = np.array([[0.0, 0.0, 0.0], [0.5, 0.25, 0.0]])
    value, grad = value_and_grad(lambda s: loss(none, s), cosines)
    assert np.isfinite(value) and np.isfinite(grad).all()


# An image of no class still has cosines that should be 0.
REGRESSES = {"p2s_grad"}


@pytest.mark.parametrize("name", sorted(n for n in PROXY_LOSSES if LOSSES[n].averages_images))
def test_an_image_of_no_class_or_of_all(name):
    loss = LOSSES[name]()
    cosines = as_read(loss, np.array([[0.2, -0.3, 0.1], [0.4, 0.0, 0.9]]))
    value, grad = value_and_grad(lambda s: loss(np.array([[0.0] * 3, [1.0] * 3]), s), cosines)
    assert np.isfinite(value) and np.isfinite(grad).all()
    if name not in REGRESSES:
        assert (grad[0, :3] == 0).all()


@pytest.mark.parametrize("name", sorted(n for n in PROXY_LOSSES if LOSSES[n].averages_images))
def test_each_image_counts_alike_whatever_it_belongs_to(name):
    loss = LOSSES[name]()
    shares = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0.3, 0.5]])
    cosines = np.array([[0.2, 0.4, 0.0], [0.0, 0.9, 0.0], [0.1, -0.4, 0.3], [0.5, 0.2, -0.7]])
    x = as_read(loss, cosines)
    each = [number(loss(shares[[i]], x[[i]])) for i in range(4)]
    assert number(loss(shares, x)) == pytest.approx(np.mean(each), rel=1e-5)


def test_center_of_several_classes_by_hand():
    # Image 0 is 1 - 0.2 and 1 - 0.4 from its centres, 0.7 on average, and image 1 is 1 - 0.9.
    cosines = np.array([[0.2, 0.4, 0.0], [0.0, 0.9, 0.0]])
    found = number(LOSSES["center"]()(np.array([[1, 1, 0], [0, 1, 0]]), cosines))
    assert found == pytest.approx(0.4, abs=1e-6)
    # 3/8 and 5/8 of an image, and none of the other.
    found = number(LOSSES["center"]()(np.array([[0.3, 0.5, 0.0], [0.0, 0.0, 0.0]]), cosines))
    assert found == pytest.approx((0.8 * 3 + 0.6 * 5) / 8 / 2, abs=1e-6)


def test_manifold_of_two_own_classes_by_hand():
    loss = LOSSES["manifold"](margin=0.1)
    found = number(loss(np.array([[1.0, 1.0, 0.0]]), np.array([[0.3, 0.5, 0.2]])))
    expected = np.mean([np.log(1 + np.exp(0.2 - own + 0.1)) for own in (0.3, 0.5)])
    assert found == pytest.approx(expected, abs=1e-6)


def test_hard_classes_of_curricularface_are_beyond_all_own_ones():
    loss = LOSSES["curricularface"](margin=0.0, scale=1.0)
    found = number(loss(np.array([[1.0, 1.0, 0.0]]), np.array([[0.9, 0.1, 0.5, 0.25]])))
    logits = np.array([0.9, 0.1, 0.5 * (0.25 + 0.5)])
    expected = np.log(np.exp(logits).sum()) - logits[:2].mean()
    assert found == pytest.approx(expected, abs=1e-6)
