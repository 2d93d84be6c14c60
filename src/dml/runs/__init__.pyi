from ._export import ExportReport as ExportReport
from ._metrics import MetricValue as MetricValue
from .evaluation import Evaluation as Evaluation
from .run import Run as Run
from .trainer import Trainer as Trainer
