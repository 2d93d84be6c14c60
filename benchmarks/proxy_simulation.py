"""Whether proxies find fixed classes: Proxy-NCA on proxies alone, in NumPy.

The embeddings are given, noisy points around one centre for each class, as of a perfect encoder:
what fails here is the proxies' own training. There are as many classes as in Stanford Online
Products.
"""

from dataclasses import dataclass

import numpy as np

CLASSES, DIM, BATCH, STEPS = 11_318, 64, 64, 2_000
MEASURED = (500, 1_000, 2_000)  # steps after which proxies are measured
NOISE = 0.5  # length of what is added to a centre of length 1: a cosine of 0.89
BETAS = 0.9, 0.999  # of Adam


@dataclass(frozen=True)
class Proxies:
    """A setting of the proxies.

    Args:
        text: What the table says.
        rate: Adam's.
        scale: Of the cosine.
        length: Expected length of a proxy before training; None for orthogonal columns.
        epsilon: Adam's.
        own_in_sum: Whether a softmax includes the proxy of the own class.
        clamped: Whether an image with a negative loss has no gradient.
        smoothing: Share of the target that is spread over the other proxies.
        orthogonality: Weight of the sum over pairs of (p_i . p_j)^2 / (2 (C - 1)).
    """

    text: str
    rate: float
    scale: float
    length: float | None = None
    epsilon: float = 1e-7
    own_in_sum: bool = False
    clamped: bool = False
    smoothing: float = 0.0
    orthogonality: float = 0.0


HE = (2 / CLASSES * DIM) ** 0.5  # entries of deviation sqrt(2 / C)
SETTINGS = {
    "first": Proxies("dml-tf, 7 January: N(0, 1), rate 1e-4", 1e-4, 16, DIM**0.5, clamped=True),
    "orthogonal": Proxies("dml-tf, 8 January: orthogonal, rate 1e-4", 1e-4, 16, clamped=True),
    "rate_10": Proxies("dml-tf, 11 January: orthogonal, rate 10", 10.0, 16),
    "cured": Proxies("dml-tf, 1 February: N(0, 1), rate 1e-2", 1e-2, 32, DIM**0.5),
    "last": Proxies(
        "dml-tf, last: He, rate 1e-2, orthogonality 0.1", 1e-2, 64, HE, orthogonality=0.1
    ),
    "last_without": Proxies("the same without orthogonality", 1e-2, 64, HE),
    "proxy_nca": Proxies(
        "code of Proxy-NCA: length 1, rate 10, epsilon 1", 10.0, 16, 1.0, 1.0, True, smoothing=0.1
    ),
    "dml": Proxies("dml: length 1, rate 6e-2", 6e-2, 32, 1.0, own_in_sum=True),
    "dml_long": Proxies("the same, N(0, 1) and rate 1e-4", 1e-4, 32, DIM**0.5, own_in_sum=True),
    "dml_scale_8": Proxies("dml, scale 8", 6e-2, 8, 1.0, own_in_sum=True),
    "dml_scale_16": Proxies("dml, scale 16", 6e-2, 16, 1.0, own_in_sum=True),
}


@dataclass(frozen=True)
class Measured:
    """Proxies after some steps.

    Args:
        steps: How many.
        accuracy: Share of images whose nearest proxy is their class's.
        cosine: Mean cosine of a proxy and its class's centre.
        degrees: Mean angle that proxies turned by in the last step.
        length: Mean length of a proxy.
    """

    steps: int
    accuracy: float
    cosine: float
    degrees: float
    length: float


def simulate(
    setting: Proxies,
    seed: int = 0,
    classes: int = CLASSES,
    dim: int = DIM,
    batch: int = BATCH,
    steps: int = STEPS,
    measured: tuple[int, ...] = MEASURED,
) -> list[Measured]:
    """Trains proxies on batches of fixed classes; returns what they are like on the way."""
    generator = np.random.default_rng(seed)
    centres = unit(normal(generator, classes, dim))
    proxies = initial(setting, generator, classes, dim)
    adam, results = Adam(setting.rate, setting.epsilon, proxies.shape), []
    for step in range(1, steps + 1):
        labels = generator.integers(classes, size=batch)
        before = proxies
        slope = gradient(setting, proxies, images_of(centres, labels, generator), labels)
        proxies = proxies - adam.change(slope)
        if step in measured:
            tested = generator.integers(classes, size=min(2_000, 10 * classes))
            cosines = images_of(centres, tested, generator) @ unit(proxies).T
            results.append(
                Measured(
                    steps=step,
                    accuracy=float((cosines.argmax(axis=1) == tested).mean()),
                    cosine=float((unit(proxies) * centres).sum(axis=1).mean()),
                    degrees=float(turned(before, proxies).mean()),
                    length=float(np.linalg.norm(proxies, axis=1).mean()),
                )
            )
    return results


def initial(setting, generator, classes, dim):
    """Returns proxies (C, D) before training."""
    entries = normal(generator, classes, dim)
    if setting.length is None:
        return np.linalg.qr(entries)[0].astype("float32")
    return entries * np.float32(setting.length / dim**0.5)


def images_of(centres, labels, generator):
    """Returns the unit vectors (B, D) of images of these classes."""
    noise = normal(generator, len(labels), centres.shape[1]) / centres.shape[1] ** 0.5
    return unit(centres[labels] + np.float32(NOISE) * noise)


def gradient(setting, proxies, images, labels):
    """Returns the gradient (C, D) of the loss of a batch by the proxies."""
    rows = np.arange(len(labels))
    lengths = np.linalg.norm(proxies, axis=1, keepdims=True)
    directions = proxies / lengths
    logits = np.float32(setting.scale) * (images @ directions.T)
    own = logits[rows, labels]
    if not setting.own_in_sum:
        logits[rows, labels] = -np.inf
    highest = logits.max(axis=1, keepdims=True)
    logits -= highest
    slopes = np.exp(logits, out=logits)  # of each image's loss, by its logits
    sums = slopes.sum(axis=1, keepdims=True)
    slopes /= sums
    share = slopes[rows, labels]
    if setting.smoothing:
        slopes -= np.float32(setting.smoothing / (len(proxies) - 1))
    slopes[rows, labels] = share - np.float32(1 - setting.smoothing)
    if setting.clamped:
        slopes[(highest + np.log(sums))[:, 0] <= own] = 0
    slope = np.float32(setting.scale / len(labels)) * (images.T @ slopes).T
    along = (slope * directions).sum(axis=1, keepdims=True)
    result = (slope - along * directions) / lengths
    if setting.orthogonality:
        factor = np.float32(setting.orthogonality / (len(proxies) - 1))
        result += factor * (proxies @ (proxies.T @ proxies) - lengths**2 * proxies)
    return result


class Adam:
    """Adam's changes (Kingma and Ba, 2015) of one array.

    Args:
        rate: The learning rate.
        epsilon: Added to the root of the second moment.
        shape: Of the array.
    """

    def __init__(self, rate: float, epsilon: float, shape: tuple[int, ...]):
        self.rate, self.epsilon = rate, epsilon
        self.steps = 0
        self.first, self.second = (np.zeros(shape, "float32") for _ in BETAS)

    def change(self, slope: np.ndarray) -> np.ndarray:
        """Returns what to subtract for this gradient."""
        self.steps += 1
        first, second = (np.float32(beta) for beta in BETAS)
        self.first *= first
        self.first += (1 - first) * slope
        self.second *= second
        self.second += (1 - second) * np.square(slope)
        root = np.sqrt(self.second)
        root += np.float32(self.epsilon) * np.sqrt(np.float32(1 - BETAS[1] ** self.steps))
        rate = self.rate * (1 - BETAS[1] ** self.steps) ** 0.5 / (1 - BETAS[0] ** self.steps)
        change = np.divide(self.first, root, out=root)
        change *= np.float32(rate)
        return change


def normal(generator, *shape):
    return generator.standard_normal(shape, "float32")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def turned(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Returns the degrees (C,) between vectors (C, D), exact for the smallest of angles."""
    chord = np.linalg.norm(unit(after.astype("float64")) - unit(before.astype("float64")), axis=1)
    return np.degrees(2 * np.arcsin(chord / 2))
