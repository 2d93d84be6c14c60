"""Heads: layers with the learned parameters or the memory of a loss."""

from dml.heads.base import Head
from dml.heads.boundaries import BoundaryHead
from dml.heads.differences import DifferenceHead
from dml.heads.hierarchy import HierarchyHead
from dml.heads.joint import JointHead
from dml.heads.memory import MemoryHead
from dml.heads.proxies import ProxyHead
from dml.heads.quality import (
    CurriculumHead,
    LengthHead,
    ProxyLengthHead,
    QualityHead,
    RandomMarginHead,
)
from dml.heads.sampled import SampledProxyHead
from dml.heads.walk import WalkHead

__all__ = [
    "BoundaryHead",
    "CurriculumHead",
    "DifferenceHead",
    "Head",
    "HierarchyHead",
    "JointHead",
    "LengthHead",
    "MemoryHead",
    "ProxyHead",
    "ProxyLengthHead",
    "QualityHead",
    "RandomMarginHead",
    "SampledProxyHead",
    "WalkHead",
]
