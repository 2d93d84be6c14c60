"""Losses of deep metric learning: options and one pure function each."""

from dml.losses.adapted_triplet import AdaptedTriplet
from dml.losses.base import LOSSES, MetricLoss
from dml.losses.multi_similarity import MultiSimilarity
from dml.losses.proxy_anchor import ProxyAnchor
from dml.losses.proxy_nca import ProxyNCA
from dml.losses.proxy_nca_pp import ProxyNCAPlusPlus
from dml.losses.soft_triple import SoftTriple
from dml.losses.triplet import Triplet

__all__ = [
    "LOSSES",
    "AdaptedTriplet",
    "MetricLoss",
    "MultiSimilarity",
    "ProxyAnchor",
    "ProxyNCA",
    "ProxyNCAPlusPlus",
    "SoftTriple",
    "Triplet",
]
