from ._phases import spaces_of as spaces_of
from ._ranges import Choice as Choice
from ._ranges import Interval as Interval
from ._space import SearchSpace as SearchSpace
from ._trials import Trial as Trial
from .study import Gain as Gain
from .study import Study as Study
from .tuner import Tuner as Tuner
