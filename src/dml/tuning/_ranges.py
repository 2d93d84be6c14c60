"""The values between which a study searches, for each option that matters.

Unless something else is said, a range reaches from the value of the loss's paper, which its class
documents, to the values that a search with 50 trials found on CUB-200, Cars196 and Online Products
("MLRC": Musgrave et al., A Metric Learning Reality Check, ECCV 2020), rounded outwards; where there
are none, it is the paper's value divided and multiplied by about 4. Factors and temperatures are
drawn on a log scale.
"""

from dataclasses import dataclass

from dml._options import check_positive
from dml.errors import OptionError

Value = str | float | int


@dataclass(frozen=True)
class Interval:
    """Numbers from which an option is drawn.

    Args:
        low: The smallest.
        high: The largest. Above `low`.
        log: Whether their logarithms are drawn evenly; they are positive then.
        whole: Whether they are integers.

    Raises:
        OptionError: `high` is not above `low`, or `low` is not positive with `log`.

    Example:
        >>> rate = dml.tuning.Interval(1e-5, 1e-3, log=True)
        >>> rate.including(0.01)
        Interval(low=1e-05, high=0.01, log=True, whole=False)
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self):
        if not self.low < self.high:
            raise OptionError("high", f"must be above low, {self.low:g}; got {self.high:g}")
        if self.log:
            check_positive(low=self.low)

    def allows(self, value: Value) -> bool:
        """Returns whether a value is a number for which the interval could be widened.

        Args:
            value: A number or a name.
        """
        number = isinstance(value, int if self.whole else (int, float))
        return number and not isinstance(value, bool) and not (self.log and value <= 0)

    def including(self, value: float) -> "Interval":
        """Returns the interval, widened to a value.

        Args:
            value: A number that `allows` accepts.
        """
        return Interval(min(self.low, value), max(self.high, value), self.log, self.whole)


@dataclass(frozen=True)
class Choice:
    """Values, one of which an option takes.

    Args:
        values: Names or numbers, each once; at least one.

    Raises:
        OptionError: There is no value, or one occurs twice.

    Example:
        >>> dml.tuning.Choice(("arcface", "proxy_anchor")).including("triplet")
        Choice(values=('triplet', 'arcface', 'proxy_anchor'))
    """

    values: tuple[Value, ...]

    def __post_init__(self):
        if not self.values or len(set(self.values)) < len(self.values):
            raise OptionError("values", f"must be different values, at least one; got {self}")

    def allows(self, value: Value) -> bool:
        """Returns True: any value can be one of them.

        Args:
            value: A number or a name.
        """
        return True

    def including(self, value: Value) -> "Choice":
        """Returns the values and another one, which comes first if it is new.

        Args:
            value: A number or a name.
        """
        return self if value in self.values else Choice((value, *self.values))


Domain = Interval | Choice

_LOG = {"log": True}
_DEGREES = Interval(10, 45)  # ArcFace: 28.6 in the paper, 18 to 23 in MLRC
# Factors of cosines in margin softmax: 64 in the papers, for faces; 50 to 220 in MLRC, and 16 to 24
# for few classes (Roth et al., ICML 2020, and docs/results.md).
_SCALE = Interval(8, 220, **_LOG)
_TEMPERATURE = Interval(0.02, 0.5, **_LOG)  # 0.05 to 0.2 in the papers; 0.063 to 0.109 in MLRC
_SIGMOID = Interval(0.005, 0.1, **_LOG)  # 0.01 in the papers, 0.05 in docs/results.md

LOSS_RANGES: dict[str, dict[str, Domain]] = {
    "adaface": {"margin": Interval(0.1, 0.7), "scale": _SCALE},
    "adapted_triplet": {
        "margin": Interval(0.02, 0.5, **_LOG),
        "weight": Interval(0.01, 2, **_LOG),  # 0.3 to 2 in implementations
    },
    "angular": {"angle": Interval(30, 55)},  # 45 in the paper, 36 in docs/results.md
    "arcface": {"margin": _DEGREES, "scale": _SCALE},
    "barlow_twins": {"redundancy_weight": Interval(0.001, 0.02, **_LOG)},
    "center": {},
    "circle": {"margin": Interval(0.1, 0.5), "scale": Interval(16, 256, **_LOG)},
    "contrastive": {
        "positive_margin": Interval(0, 0.25),
        "negative_margin": Interval(0.3, 1.4),  # 0.38 to 0.54 in MLRC; sqrt(2): unrelated vectors
    },
    "cosface": {"margin": Interval(0.1, 0.65), "scale": _SCALE},
    "curricularface": {"margin": _DEGREES, "scale": _SCALE},
    "dynamic_soft_margin": {"momentum": Interval(0.002, 0.05, **_LOG)},
    "elasticface": {"margin": Interval(0.1, 0.8), "scale": _SCALE},
    "fast_ap": {"bins": Interval(8, 90, whole=True, **_LOG)},  # 10 in the paper, to 86 in MLRC
    "generalized_lifted": {"margin": Interval(0.25, 1.4)},
    "histogram": {"bins": Interval(20, 200, whole=True, **_LOG)},  # steps of 0.01 to 0.1: alike
    "hyperbolic": {
        "curvature": Interval(0.02, 0.5, **_LOG),
        "temperature": _TEMPERATURE,
    },
    "instance": {"scale": _SCALE},
    "intra_pair_variance": {
        "positive_slack": Interval(0.001, 0.1, **_LOG),
        "negative_slack": Interval(0.001, 0.1, **_LOG),
    },
    "large_margin_softmax": {
        "multiple": Interval(1, 4, whole=True),
        "scale": Interval(8, 64, **_LOG),
    },
    "lifted_structure": {"margin": Interval(0.25, 1.4)},
    "magface": {"scale": _SCALE},
    "manifold": {"alpha": Interval(0.5, 0.95), "margin": Interval(1e-4, 2e-3, **_LOG)},
    "margin": {"margin": Interval(0.05, 0.5), "boundary": Interval(0.8, 1.4)},
    "multi_similarity": {
        "positive_scale": Interval(0.5, 14, **_LOG),  # from 0.01 in MLRC, which is none at all
        "negative_scale": Interval(20, 80, **_LOG),
        "base": Interval(0.3, 0.8),
    },
    "multiple_negatives_ranking": {"scale": Interval(5, 80, **_LOG)},
    "n_pairs": {"scale": Interval(4, 64, **_LOG)},
    "normalized_softmax": {"temperature": _TEMPERATURE},
    "nt_xent": {"temperature": _TEMPERATURE},
    "p2s_grad": {},
    "pairwise_sigmoid": {"scale": Interval(4, 40, **_LOG), "bias": Interval(-20, 0)},
    "pnp": {"temperature": _SIGMOID, "power": Interval(1, 8, **_LOG)},
    "proxy_anchor": {"margin": Interval(0, 0.4), "scale": Interval(8, 128, **_LOG)},
    "proxy_nca": {"scale": Interval(3, 20, **_LOG)},  # 8 to 14 in MLRC
    "proxy_nca_pp": {"temperature": Interval(0.03, 0.4, **_LOG)},
    "ranked_list": {
        "boundary": Interval(0.8, 1.4),
        "margin": Interval(0.1, 0.6),
        "temperature": Interval(2, 40, **_LOG),
    },
    "recall_surrogate": {
        "rank_temperature": _SIGMOID,
        "recall_temperature": Interval(0.25, 4, **_LOG),
    },
    "roadmap": {"temperature": _SIGMOID, "calibration": Interval(0.1, 0.9)},
    "smooth_ap": {"temperature": _SIGMOID},
    "snr_contrastive": {
        "positive_margin": Interval(0, 0.25),
        "negative_margin": Interval(0.3, 2),
    },
    "soft_nearest_neighbour": {"temperature": _TEMPERATURE},
    "soft_triple": {
        "scale": Interval(10, 100, **_LOG),  # 20 in the paper, 18 to 100 in MLRC
        "temperature": Interval(0.015, 0.2, **_LOG),  # 0.017 to 0.053 in MLRC
        "margin": Interval(0, 0.1),
        "proxies_per_class": Interval(2, 10, whole=True),  # 10 in the paper, 2 on Online Products
    },
    "sphereface": {"multiple": Interval(1, 4, whole=True), "scale": Interval(8, 64, **_LOG)},
    "sub_center_arcface": {"margin": _DEGREES, "scale": _SCALE},
    "sup_con": {"temperature": _TEMPERATURE},
    "threshold_consistent_margin": {
        "positive_similarity": Interval(0.7, 0.98),
        "negative_similarity": Interval(0.2, 0.7),
    },
    "triplet": {"margin": Interval(0.02, 0.5, **_LOG)},  # 0.045 to 0.12 in MLRC
    "tuplet_margin": {"slack": Interval(0, 15), "scale": Interval(16, 128, **_LOG)},
    "vicreg": {
        "invariance_weight": Interval(6, 100, **_LOG),
        "covariance_weight": Interval(0.25, 4, **_LOG),
    },
}

# The losses that a study chooses from. Differences between losses are small once each is tuned
# (MLRC; Roth et al., ICML 2020), so these are few, of different kinds, and among the best in
# docs/results.md.
CLASS_LOSSES = ("proxy_anchor", "normalized_softmax", "sub_center_arcface", "soft_triple")
PAIR_LOSSES = ("multi_similarity", "tuplet_margin", "triplet")  # several images of a class needed

AUGMENTATION_RANGES: dict[str, dict[str, Domain]] = {
    "dml-tf": {"resize": Interval(224, 320, whole=True), "cutout": Interval(0, 1)},
    "glyphs": {
        "turn": Interval(0, 30),
        "zoom": Interval(0, 0.3),
        "slant": Interval(0, 0.3),
        "shift": Interval(0, 0.15),
    },
    "none": {},
    "paper": {"min_area": Interval(0.08, 0.8)},  # 0.08 in the code of Proxy Anchor
    "strong": {
        "min_area": Interval(0.08, 0.8),
        "hue": Interval(0, 0.5),
        "saturation": Interval(0, 0.6),
        "erase": Interval(0, 0.5),
    },
}
CROPPING = ("paper", "strong")  # augmentations that can take each other's place

RATE_FACTOR = 10  # rates are drawn between the recipe's divided and multiplied by this
# From none to that of transformers (DeiT, Touvron et al., 2021: 0.05); 1e-4 in Proxy Anchor's code.
WEIGHT_DECAYS = Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2))
LAYER_DECAYS = Choice((1.0, 0.9, 0.75, 0.6))  # 0.65 to 0.75 in the codes of BEiT and MAE; 1: none
