"""What `import dml` offers; each is imported when it is first used."""

from . import augmentations as augmentations
from . import backbones as backbones
from . import datasets as datasets
from . import encoding as encoding
from . import errors as errors
from . import evaluation as evaluation
from . import heads as heads
from . import images as images
from . import index as index
from . import losses as losses
from . import miners as miners
from . import ops as ops
from . import recipe as recipe
from . import reductions as reductions
from . import regularizers as regularizers
from . import report as report
from . import reporting as reporting
from . import runs as runs
from . import samplers as samplers
from . import serve as serve
from . import training as training
from ._console.reporter import ConsoleReporter as ConsoleReporter
from .encoding import EmbeddingOptions as EmbeddingOptions
from .encoding import OnnxEncoder as OnnxEncoder
from .encoding import build_encoder as build_encoder
from .encoding import embed_images as embed_images
from .encoding import load_encoder as load_encoder
from .recipe import load_recipe as load_recipe
from .runs import Evaluation as Evaluation
from .runs import Run as Run
from .runs import Trainer as Trainer
from .training import Learner as Learner
from .training import OptimizerOptions as OptimizerOptions
from .training import build_optimizer as build_optimizer
from .training import training_batches as training_batches

__version__: str
