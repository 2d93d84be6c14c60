"""Losses for deep metric learning, each with options and one pure function."""

from dml.losses._reduced import reduced
from dml.losses._wrapper import Wrapper
from dml.losses.adaface import AdaFace
from dml.losses.adapted_triplet import AdaptedTriplet
from dml.losses.angular import Angular
from dml.losses.arcface import ArcFace
from dml.losses.barlow_twins import BarlowTwins
from dml.losses.base import LOSSES, DistanceLoss, MetricLoss, PairLoss
from dml.losses.center import Center
from dml.losses.circle import Circle
from dml.losses.contrastive import Contrastive
from dml.losses.cosface import CosFace
from dml.losses.cross_batch_memory import CrossBatchMemory
from dml.losses.curricularface import CurricularFace
from dml.losses.dynamic_soft_margin import DynamicSoftMargin
from dml.losses.elasticface import ElasticFace
from dml.losses.fast_ap import FastAP
from dml.losses.generalized_lifted import GeneralizedLifted
from dml.losses.histogram import Histogram
from dml.losses.hyperbolic import Hyperbolic
from dml.losses.instance import Instance
from dml.losses.intra_pair_variance import IntraPairVariance
from dml.losses.large_margin_softmax import LargeMarginSoftmax
from dml.losses.lifted_structure import LiftedStructure
from dml.losses.magface import MagFace
from dml.losses.manifold import Manifold
from dml.losses.margin import Margin
from dml.losses.matryoshka import Matryoshka
from dml.losses.mined import Mined
from dml.losses.multi_similarity import MultiSimilarity
from dml.losses.multiple import MultipleLosses
from dml.losses.multiple_negatives_ranking import MultipleNegativesRanking
from dml.losses.n_pairs import NPairs
from dml.losses.normalized_softmax import NormalizedSoftmax
from dml.losses.nt_xent import NTXent
from dml.losses.p2s_grad import P2SGrad
from dml.losses.pairwise_sigmoid import PairwiseSigmoid
from dml.losses.pnp import PNP
from dml.losses.proxy_anchor import ProxyAnchor
from dml.losses.proxy_nca import ProxyNCA
from dml.losses.proxy_nca_pp import ProxyNCAPlusPlus
from dml.losses.ranked_list import RankedList
from dml.losses.recall_surrogate import RecallSurrogate
from dml.losses.roadmap import Roadmap
from dml.losses.self_supervised import SelfSupervised
from dml.losses.smooth_ap import SmoothAP
from dml.losses.snr_contrastive import SignalToNoiseContrastive
from dml.losses.soft_nearest_neighbour import SoftNearestNeighbour
from dml.losses.soft_triple import SoftTriple
from dml.losses.sphereface import SphereFace
from dml.losses.sub_center_arcface import SubCenterArcFace, outliers
from dml.losses.sup_con import SupCon
from dml.losses.threshold_consistent_margin import ThresholdConsistentMargin
from dml.losses.triplet import Triplet
from dml.losses.tuplet_margin import TupletMargin
from dml.losses.vicreg import VICReg

__all__ = [
    "LOSSES",
    "PNP",
    "AdaFace",
    "AdaptedTriplet",
    "Angular",
    "ArcFace",
    "BarlowTwins",
    "Center",
    "Circle",
    "Contrastive",
    "CosFace",
    "CrossBatchMemory",
    "CurricularFace",
    "DistanceLoss",
    "DynamicSoftMargin",
    "ElasticFace",
    "FastAP",
    "GeneralizedLifted",
    "Histogram",
    "Hyperbolic",
    "Instance",
    "IntraPairVariance",
    "LargeMarginSoftmax",
    "LiftedStructure",
    "MagFace",
    "Manifold",
    "Margin",
    "Matryoshka",
    "MetricLoss",
    "Mined",
    "MultiSimilarity",
    "MultipleLosses",
    "MultipleNegativesRanking",
    "NPairs",
    "NTXent",
    "NormalizedSoftmax",
    "P2SGrad",
    "PairLoss",
    "PairwiseSigmoid",
    "ProxyAnchor",
    "ProxyNCA",
    "ProxyNCAPlusPlus",
    "RankedList",
    "RecallSurrogate",
    "Roadmap",
    "SelfSupervised",
    "SignalToNoiseContrastive",
    "SmoothAP",
    "SoftNearestNeighbour",
    "SoftTriple",
    "SphereFace",
    "SubCenterArcFace",
    "SupCon",
    "ThresholdConsistentMargin",
    "Triplet",
    "TupletMargin",
    "VICReg",
    "Wrapper",
    "outliers",
    "reduced",
]
