"""Regularizers: penalties on the proxies or the embeddings that are added to a loss."""

from dml.regularizers.anti_collapse import AntiCollapse
from dml.regularizers.base import REGULARIZERS, Regularizer
from dml.regularizers.center_invariant import CenterInvariant
from dml.regularizers.hier import Hier
from dml.regularizers.koleo import KoLeo
from dml.regularizers.lp import Lp
from dml.regularizers.orthogonality import Orthogonality
from dml.regularizers.regular_face import RegularFace
from dml.regularizers.sparse_centers import SparseCenters
from dml.regularizers.zero_mean import ZeroMean

__all__ = [
    "REGULARIZERS",
    "AntiCollapse",
    "CenterInvariant",
    "Hier",
    "KoLeo",
    "Lp",
    "Orthogonality",
    "RegularFace",
    "Regularizer",
    "SparseCenters",
    "ZeroMean",
]
