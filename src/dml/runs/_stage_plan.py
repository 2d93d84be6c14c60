"""Which stages a training has, and what they are called."""

from dataclasses import dataclass
from enum import StrEnum

from dml.recipe import Recipe


class StageName(StrEnum):
    """What plans, `times.json` and pages call the stages of the work, in their order."""

    PLANNING = "planning"
    READING = "reading"
    FROZEN = "frozen"
    FEATURES = "features"
    HEAD = "head stage"
    EMBEDDING = "embedding"
    TRAINING = "training"  # of the whole encoder, from random weights
    FINE_TUNING = "fine-tuning"
    SECOND = "second stage"
    CHOICE = "choice"
    REFIT = "refit"
    EVALUATION = "evaluation"
    EXPORT = "export"
    INDEX = "index"


@dataclass(frozen=True)
class StagePlan:
    """Which stages a training has.

    Args:
        head: Whether it begins with a head stage. `adapt` leaves that out where there is nothing to
            learn from or to train: with a random backbone, without an embedding layer, and without
            labels.
        whole: Whether the whole encoder is trained, after a head stage or from the start.
        second: Whether a second fine-tuning may follow, which validation decides. With random
            weights the first one has a training's full rates already.
        chooses: Whether validation chooses among the encoders on the way to the trained weights.
        adapts: Whether the encoders before the fine-tuning are among these.
        components: Whether the embedding layer starts as the principal components of the features.
        whole_name: What the stage that trains the whole encoder is called.
    """

    head: bool
    whole: bool
    second: bool
    chooses: bool
    adapts: bool
    components: bool
    whole_name: StageName

    @classmethod
    def of(cls, recipe: Recipe) -> "StagePlan":
        """Returns the stages of a recipe's training."""
        training, embedding = recipe.training, recipe.embedding
        pretrained, adapts = recipe.backbone.is_pretrained, training.stage == "adapt"
        able = pretrained and embedding.dim > 0 and training.views == 1
        whole = training.stage != "head"
        starts = embedding.init == "pca" or (embedding.init == "auto" and pretrained)
        return cls(
            head=not whole or (adapts and able),
            whole=whole,
            second=adapts and pretrained and recipe.second_stage.epochs > 0,
            chooses=adapts or (whole and training.interpolate == "validation"),
            adapts=adapts,
            components=embedding.dim > 0 and starts,
            whole_name=StageName.FINE_TUNING if pretrained else StageName.TRAINING,
        )
