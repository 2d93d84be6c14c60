from ._parts_optimizer import PartsOptimizer as PartsOptimizer
from .learner import Learner as Learner
from .loader import ImageSamples as ImageSamples
from .loader import TrainingBatches as TrainingBatches
from .loader import training_batches as training_batches
from .optimizers import OptimizerOptions as OptimizerOptions
from .optimizers import build_optimizer as build_optimizer
