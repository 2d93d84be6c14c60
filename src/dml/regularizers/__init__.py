"""Regularizers: what is asked of the proxies besides the loss."""

from dml.regularizers.base import REGULARIZERS
from dml.regularizers.orthogonality import Orthogonality

__all__ = ["REGULARIZERS", "Orthogonality"]
