"""The phases of a study: cheap trials of the head stage, then trials of the whole recipe."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dml.errors import OptionError
from dml.recipe import Recipe, with_options
from dml.runs._stage_plan import StagePlan
from dml.tuning._ranges import Value
from dml.tuning._space import AXES, Draw, SearchSpace, varied
from dml.tuning._trials import Trial, best_of

HEAD_SHARE = 0.5  # of a study's trials and time


@dataclass(frozen=True)
class Phase:
    """Trials that are drawn from the same space and compared with each other.

    Args:
        stage: `training.stage` of the trials.
        space: What they search.
        share: Share of all trials, and of the time, at which it ends.
        first: Returns the parameters of the first trials, those of the recipe itself before others,
            from the trials of the earlier phases.
    """

    stage: str
    space: SearchSpace
    share: float
    first: Callable[[Sequence[Trial]], list[dict[str, Value]]]

    def drawn(self, draw: Draw) -> dict[str, Value]:
        """Returns {"section.option": value} of a trial; `draw` is as for `SearchSpace.drawn`."""
        return {"training.stage": self.stage, **self.space.drawn(draw)}


def phases_of(recipe: Recipe, space: SearchSpace, head_space: SearchSpace | None) -> list[Phase]:
    """Returns the phases of a study.

    Args:
        recipe: Around which it searches.
        space: What trials of the recipe search.
        head_space: What trials of its head stage search before; None for no such trials.
    """

    def first(earlier):
        found = [space.own(recipe)]
        if (best := best_of(earlier)) is not None and not best.own:
            with contextlib.suppress(OptionError):  # of a part that this phase does not search
                options = {**best.options, "training.stage": stage}
                found.append(space.own(varied(recipe, options)))
        return found

    stage = recipe.training.stage
    phases = [Phase(stage, space, 1.0, first)]
    if head_space is not None:
        phases.insert(
            0, Phase("head", head_space, HEAD_SHARE, lambda earlier: [head_space.own(recipe)])
        )
    return phases


def spaces_of(
    recipe: Recipe, axes: Sequence[str] = AXES, losses: Sequence[str] = ()
) -> tuple[SearchSpace, SearchSpace | None]:
    """Returns what trials of a recipe search, and what those of its head stage search.

    The latter is None for a recipe that has no head stage, or is one itself.

    Args:
        recipe: The recipe.
        axes: As for `SearchSpace.of`.
        losses: As for `SearchSpace.of`.

    Raises:
        OptionError: As for `SearchSpace.of`.
    """
    space = SearchSpace.of(recipe, axes, losses)
    adapting = with_options(recipe, {"training.stage": "adapt"})
    if not StagePlan.of(recipe).whole or not StagePlan.of(adapting).head:
        return space, None
    head = with_options(recipe, {"training.stage": "head"})
    try:
        return space, SearchSpace.of(head, axes, losses)
    except OptionError:  # these axes leave it nothing to search
        return space, None
