from ._export import ExportReport as ExportReport
from ._metrics import MetricValue as MetricValue
from ._planning import Plan as Plan
from ._workflow import Workflow as Workflow
from .evaluation import Evaluation as Evaluation
from .run import Run as Run
from .trainer import Trainer as Trainer
