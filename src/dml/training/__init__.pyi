from .learner import Learner as Learner
from .loader import training_batches as training_batches
from .optimizers import OptimizerOptions as OptimizerOptions
from .optimizers import build_optimizer as build_optimizer
