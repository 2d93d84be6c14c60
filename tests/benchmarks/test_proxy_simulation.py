"""The simulation of proxies: gradients, Adam and angles."""

import numpy as np
import proxy_simulation
import pytest
from proxy_simulation import SETTINGS, Adam, Proxies, gradient, simulate, turned, unit

from tests.finite_differences import finite_differences

KINDS = [
    Proxies("paper", 1.0, 4.0),
    Proxies("clamped", 1.0, 4.0, clamped=True),
    Proxies("smoothed softmax", 1.0, 4.0, own_in_sum=True, smoothing=0.1),
    Proxies("orthogonality", 1.0, 4.0, orthogonality=0.5),
]


def loss_of(setting, proxies, images, labels):
    """Returns the loss of float64 proxies, image by image and pair by pair."""
    classes, total = len(proxies), 0.0
    for image, label in zip(images, labels, strict=True):
        logits = [setting.scale * image @ p / np.linalg.norm(p) for p in proxies]
        others = [logits[c] for c in range(classes) if c != label]
        attraction = (1 - setting.smoothing) * logits[label]
        attraction += setting.smoothing * sum(others) / (classes - 1)
        summed = logits if setting.own_in_sum else others
        loss = np.log(np.sum(np.exp(summed))) - attraction
        total += max(loss, 0.0) if setting.clamped else loss
    pairs = [(proxies[i] @ proxies[j]) ** 2 for i in range(classes) for j in range(i)]
    return total / len(labels) + setting.orthogonality * sum(pairs) / (2 * (classes - 1))


@pytest.mark.parametrize("setting", KINDS, ids=lambda setting: setting.text)
def test_the_gradient_is_that_of_the_loss(setting):
    generator = np.random.default_rng(0)
    proxies, images = generator.normal(size=(5, 3)), unit(generator.normal(size=(6, 3)))
    images[0] = unit(proxies[:1])[0]  # an image that the clamped loss leaves out
    labels = np.array([0, 1, 2, 3, 4, 0])
    expected = finite_differences(lambda p: loss_of(setting, p, images, labels), proxies)
    found = gradient(setting, proxies, images, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_long_proxy_hardly_turns():
    # Adam's first step changes each entry by the rate, whatever the gradient: (8, 0) with slopes of
    # both signs becomes (8 - 1e-4, 1e-4), which is turned by 1e-4 / 8 of a radian.
    proxy = np.array([[8.0, 0.0]])
    after = proxy - Adam(1e-4, 1e-7, (1, 2)).change(np.array([[0.3, -0.2]]))
    np.testing.assert_allclose(after, [[8 - 1e-4, 1e-4]], rtol=1e-5)
    assert turned(proxy, after)[0] == pytest.approx(np.degrees(1e-4 / 8), rel=1e-4)
    # One of length 1 at a rate of 1e-2 turns 800 times as far.
    short = np.array([[1.0, 0.0]])
    after = short - Adam(1e-2, 1e-7, (1, 2)).change(np.array([[0.3, -0.2]]))
    assert turned(short, after)[0] == pytest.approx(np.degrees(np.arctan(1e-2 / 0.99)), rel=1e-4)


def test_an_epsilon_of_1_makes_the_step_the_gradient():
    # 10 * 1e-3 / (1e-3 + 1), where an epsilon of 1e-7 gives 10.
    slope = np.array([[1e-3]])
    assert Adam(10.0, 1.0, (1, 1)).change(slope)[0, 0] == pytest.approx(0.01 / 1.001, rel=1e-5)
    assert Adam(10.0, 1e-7, (1, 1)).change(slope)[0, 0] == pytest.approx(10, rel=1e-3)


def test_proxies_start_at_their_length():
    generator = np.random.default_rng(0)
    lengths = {
        name: np.linalg.norm(
            proxy_simulation.initial(SETTINGS[name], generator, 11_318, 64), axis=1
        ).mean()
        for name in ("first", "orthogonal", "last", "proxy_nca")
    }
    # 8; sqrt(64 / 11318); sqrt(2 / 11318 * 64); 1. The mean of a length is a little below its root
    # mean square.
    expected = {"first": 8, "orthogonal": 0.0752, "last": 0.1063, "proxy_nca": 1}
    assert lengths == pytest.approx(expected, rel=0.01)


def test_a_fast_proxy_finds_its_class_and_a_slow_one_does_not():
    sizes = {"classes": 20, "dim": 16, "batch": 16, "steps": 200, "measured": (200,)}
    (found,) = simulate(Proxies("", 6e-2, 32.0, 1.0, own_in_sum=True), **sizes)
    (lost,) = simulate(Proxies("", 1e-4, 16.0, 8.0, clamped=True), **sizes)
    assert found.accuracy > 0.99 and found.cosine > 0.7
    assert lost.accuracy < 0.5 and abs(lost.cosine) < 0.2
