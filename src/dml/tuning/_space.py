"""What a study searches: the options of a recipe that vary, and between which values."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dml._options import check_known
from dml.errors import OptionError
from dml.recipe import FAMILIES, Recipe, with_options
from dml.runs._stage_plan import StagePlan
from dml.tuning._ranges import (
    AUGMENTATION_RANGES,
    CLASS_LOSSES,
    CROPPING,
    LAYER_DECAYS,
    LOSS_RANGES,
    PAIR_LOSSES,
    RATE_FACTOR,
    WEIGHT_DECAYS,
    Choice,
    Domain,
    Interval,
    Value,
)

AXES = ("rate", "decay", "loss", "margin", "augmentation")
Draw = Callable[[str, Domain], Value]


@dataclass(frozen=True)
class SearchSpace:
    """The options that trials draw, and their domains.

    Args:
        options: {"section.option": domain} of the options that every trial draws.
        parts: {section: {name: {option: domain}}}: a trial draws one of the names, such as a loss,
            and then the options of that part.

    Example:
        >>> space = dml.tuning.SearchSpace.of(dml.load_recipe("glyphs"), axes=["margin"])
        >>> space.parts["loss"]["proxy_anchor"]["margin"]
        Interval(low=0, high=0.4, log=False, whole=False)
        >>> rates = dml.tuning.Interval(1e-4, 1e-2, log=True)
        >>> own = dml.tuning.SearchSpace({"optimizer.learning_rate": rates}, space.parts)
    """

    options: Mapping[str, Domain] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Mapping[str, Domain]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, recipe: Recipe, axes: Sequence[str] = AXES, losses: Sequence[str] = ()
    ) -> "SearchSpace":
        """Returns the space around a recipe, which contains the recipe itself.

        Args:
            recipe: Rates are drawn between its own, divided and multiplied by 10.
            axes: What is searched. `rate`: learning rates. `decay`: the weight decay, of `adamw`,
                and how rates fall towards the input of a pretrained backbone.
                `loss`: which loss. `margin`: a loss's margin, scale, temperature and so on.
                `augmentation`: how strong it is; not in the head stage, whose views are cached.
            losses: The losses that are tried besides the recipe's own; by default a few, those
                of pairs only with a sampler that puts several images of a class into a batch.

        Raises:
            OptionError: An axis or a loss is unknown, a loss does not fit the recipe, or nothing
                is left to search.
        """
        for axis in axes:
            check_known(AXES, axes=axis)
        options: dict[str, Domain] = {}
        plan = StagePlan.of(recipe)
        if "rate" in axes:
            rates = ["learning_rate"]
            if recipe.loss.needs_head() or "loss" in axes:
                rates.append("head_learning_rate")
            sections = ["optimizer"] if plan.whole else []
            if plan.head:
                sections.insert(0, "head_stage")
            for section in sections:
                for rate in rates:
                    own = getattr(getattr(recipe, section), rate)
                    domain = Interval(own / RATE_FACTOR, own * RATE_FACTOR, log=True)
                    options[f"{section}.{rate}"] = domain
        if "decay" in axes and recipe.optimizer.name == "adamw":
            options["optimizer.weight_decay"] = WEIGHT_DECAYS
        if "decay" in axes and plan.whole and recipe.backbone.is_pretrained:
            options["optimizer.layer_decay"] = LAYER_DECAYS
        names = {
            "loss": _losses(recipe, losses) if "loss" in axes else [recipe.names["loss"]],
            "augmentation": (
                _augmentations(recipe) if "augmentation" in axes and plan.whole else []
            ),
        }
        ranges = {
            "loss": LOSS_RANGES if "margin" in axes else {},
            "augmentation": AUGMENTATION_RANGES,
        }
        parts = {
            section: {name: ranges[section].get(name, {}) for name in found}
            for section, found in names.items()
        }
        space = cls(options, parts)._around(recipe)
        if not space.options and not space.parts:
            raise OptionError("axes", f"leave nothing to search in this recipe; got {list(axes)}")
        return space

    def _around(self, recipe: Recipe) -> "SearchSpace":
        """Returns the space without domains that can't hold the recipe's values, the others wide
        enough for them, and without parts that leave nothing to draw."""
        options = _holding(
            self.options, {name: _value(recipe, *name.split(".")) for name in self.options}
        )
        parts = {}
        for section, named in self.parts.items():
            own = recipe.names[section]
            known = {
                name: _holding(domains, {o: _value(recipe, section, o) for o in domains})
                if name == own
                else dict(domains)
                for name, domains in named.items()
            }
            if len(known) > 1 or any(known.values()):
                parts[section] = known
        return SearchSpace(options, parts)

    def drawn(self, draw: Draw) -> dict[str, Value]:
        """Returns {"section.option": value} of a trial.

        Args:
            draw: Called with the name of a parameter and its domain; returns a value.
        """
        values = {name: draw(name, domain) for name, domain in self.options.items()}
        for section, named in self.parts.items():
            name = next(iter(named))
            if len(named) > 1:
                values[f"{section}.name"] = draw(f"{section}.name", Choice(tuple(named)))
                name = str(values[f"{section}.name"])
            for option, domain in named[name].items():
                values[f"{section}.{option}"] = draw(f"{section}.{name}.{option}", domain)
        return values

    def own(self, recipe: Recipe) -> dict[str, Value]:
        """Returns {parameter: value} with which `drawn` returns a recipe's own options.

        Args:
            recipe: The recipe.

        Raises:
            OptionError: The space does not hold them.
        """
        for section, named in self.parts.items():
            if (name := recipe.names[section]) not in named:
                raise OptionError(f"{section}.name", f"is {name}, which is not in the space")
        found: dict[str, Value] = {}

        def draw(name, domain):
            section, *_, option = name.split(".")
            found[name] = _value(recipe, section, option)
            return found[name]

        self.drawn(draw)
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns the space, ready for JSON."""
        return {
            "options": _to_json(self.options),
            "parts": {
                section: {name: _to_json(domains) for name, domains in named.items()}
                for section, named in self.parts.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SearchSpace":
        """Returns the space that `to_json` returned."""
        parts = {
            section: {name: _from_json(domains) for name, domains in named.items()}
            for section, named in value["parts"].items()
        }
        return cls(_from_json(value["options"]), parts)


def varied(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """Returns a recipe with the values that a trial drew.

    Raises:
        OptionError: They do not fit each other.
    """
    kept = {}
    if values.get("augmentation.name") in CROPPING and recipe.names["augmentation"] in CROPPING:
        augmentation: Any = recipe.augmentation
        kept = {f"augmentation.{o}": getattr(augmentation, o) for o in ("flip", "aspect")}
    return with_options(recipe, {**kept, **values})


def _losses(recipe: Recipe, others: Sequence[str]) -> list[str]:
    """Returns the names of the losses that trials choose from; the recipe's own first."""
    own = recipe.names["loss"]
    for other in others:
        with_options(recipe, {"loss.name": other})  # raises an error if it does not fit
    if not others and recipe.training.views == 1:
        pairs = getattr(recipe.sampler, "images_per_class", 1) > 1
        others = [loss for loss in CLASS_LOSSES + PAIR_LOSSES * pairs if _fits(recipe, loss)]
    return list(dict.fromkeys([own, *others]))


def _fits(recipe: Recipe, loss: str) -> bool:
    """Returns whether a loss can take the place of a recipe's own."""
    try:
        with_options(recipe, {"loss.name": loss})
    except OptionError:
        return False
    return True


def _augmentations(recipe: Recipe) -> list[str]:
    """Returns the names of the augmentations that trials choose from; the recipe's own first."""
    own = recipe.names["augmentation"]
    return list(dict.fromkeys([own, *(CROPPING if own in CROPPING else ())]))


def _value(recipe: Recipe, section: str, option: str) -> Value:
    """Returns the value of an option, or the name of a family's part.

    Raises:
        OptionError: The recipe has no such option.
    """
    if option == "name" and section in FAMILIES:
        return recipe.names[section]
    try:
        return getattr(getattr(recipe, section), option)
    except AttributeError:
        raise OptionError(f"{section}.{option}", "is unknown in this recipe") from None


def _holding(domains: Mapping[str, Domain], own: Mapping[str, Value]) -> dict[str, Domain]:
    """Returns the domains, each widened to a value, without those that can't hold it."""
    return {
        name: domain.including(own[name])  # type: ignore[arg-type]
        for name, domain in domains.items()
        if domain.allows(own[name])
    }


def _to_json(domains: Mapping[str, Domain]) -> dict[str, Any]:
    return {
        name: list(domain.values) if isinstance(domain, Choice) else dataclasses.asdict(domain)
        for name, domain in domains.items()
    }


def _from_json(value: Mapping[str, Any]) -> dict[str, Domain]:
    return {
        name: Choice(tuple(found)) if isinstance(found, list) else Interval(**found)
        for name, found in value.items()
    }
