"""Which images form each batch of an epoch."""

from dml.samplers.base import SAMPLERS, Coverage, Sampler, Samples, coverage, shard
from dml.samplers.fixed_triplets import FixedTriplets
from dml.samplers.hard_class import HardClass
from dml.samplers.hierarchical import Hierarchical
from dml.samplers.m_per_class import MPerClass
from dml.samplers.shuffle import Shuffle
from dml.samplers.weighted import Weighted

__all__ = [
    "SAMPLERS",
    "Coverage",
    "FixedTriplets",
    "HardClass",
    "Hierarchical",
    "MPerClass",
    "Sampler",
    "Samples",
    "Shuffle",
    "Weighted",
    "coverage",
    "shard",
]
