"""Miners, which select the pairs of a batch that a loss uses, as dense masks or weights."""

from dml.miners.angular import AngularMiner
from dml.miners.base import MINERS, Miner
from dml.miners.batch_easy_hard import BatchEasyHardMiner
from dml.miners.batch_hard import BatchHardMiner
from dml.miners.distance_weighted import DistanceWeightedMiner
from dml.miners.easy_positive import EasyPositiveMiner
from dml.miners.multi_similarity import MultiSimilarityMiner
from dml.miners.pair_margin import PairMarginMiner
from dml.miners.semi_hard import SemiHardMiner
from dml.miners.triplet_margin import TripletMarginMiner
from dml.miners.uniform_histogram import UniformHistogramMiner

__all__ = [
    "MINERS",
    "AngularMiner",
    "BatchEasyHardMiner",
    "BatchHardMiner",
    "DistanceWeightedMiner",
    "EasyPositiveMiner",
    "Miner",
    "MultiSimilarityMiner",
    "PairMarginMiner",
    "SemiHardMiner",
    "TripletMarginMiner",
    "UniformHistogramMiner",
]
