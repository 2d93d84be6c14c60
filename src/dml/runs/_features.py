"""The frozen network's features of the images of a training."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dml._storage.records import text_sha256
from dml._storage.run_folder import RunFolder
from dml.datasets import Items, RecordedItems
from dml.recipe import Recipe
from dml.reporting import Reporter
from dml.runs._measuring import embed
from dml.runs._stage_plan import StageName, StagePlan
from dml.runs._times import StageTimes

if TYPE_CHECKING:
    from dml.training import FeatureCache

MOST_COMPONENT_IMAGES = 20_000  # whose features determine the principal components


class FrozenFeatures:
    """Features that a network has before its weights change, each computed when first asked for.

    Those that a head stage reads are kept in files.

    Args:
        recipe: The recipe of the training.
        encoder: Its encoder, with the initial weights.
        items: All splits.
        run: The folder of the run, which has recorded the images.
        files: Where the files are.
        kind: Their prefix, one for each set of training images.
        times: Receives the time that the files take.
        reporter: Shows the progress.
    """

    def __init__(
        self,
        recipe: Recipe,
        encoder: Any,
        items: Items,
        run: RunFolder,
        files: Path,
        kind: str,
        times: StageTimes,
        reporter: Reporter,
    ):
        self._recipe = recipe
        self._has_files = StagePlan.of(recipe).head
        self._encoder = encoder
        self._training_items = items.select("train")
        self._validation_items = items.select("val")
        self._run = run
        self._files = files
        self._kind = kind
        self._times = times
        self._reporter = reporter

    @property
    def dimension(self) -> int:
        """The number of features of an image."""
        return self._network.output_shape[-1]

    @cached_property
    def training(self) -> "FeatureCache":
        """The features of the training images and their views, in files."""
        recipe = self._recipe
        # One for each kind of views: runs that share the folder may differ in their augmentation.
        views = [repr(recipe.augmentation), recipe.head_stage.views, recipe.training.seed]
        views = views if recipe.head_stage.views else []  # of the images as they are, one for all
        with self._times.of(StageName.FEATURES):
            return self._cache(
                f"{self._kind}-{text_sha256(views)[:8]}",
                self._training_items,
                augmentation=recipe.augmentation,
                views=recipe.head_stage.views,
                seed=recipe.training.seed,
            )

    @cached_property
    def validation(self) -> np.ndarray:
        """The features (N, C) of the validation images."""
        if not self._has_files:
            return self.of(self._validation_items, "frozen network")
        return self._cache("val", self._validation_items, views=0, dtype="float32").plain

    def for_components(self) -> np.ndarray:
        """Returns the features (N, C) of the training images, or of many, drawn at random."""
        rows = np.arange(len(self._training_items))
        if len(rows) > MOST_COMPONENT_IMAGES:
            rng = np.random.default_rng(self._recipe.training.seed)
            rows = np.sort(rng.permutation(len(rows))[:MOST_COMPONENT_IMAGES])
        if self._has_files:
            return self.training.plain[rows].astype("float32")
        return self.of(self._training_items.take(rows), "principal components")

    def of(self, items: Items, title: str) -> np.ndarray:
        """Returns the features (N, C) of any images.

        Args:
            items: The items of N images.
            title: The title of the progress.
        """
        evaluation, threads = self._recipe.evaluation, self._recipe.training.threads
        return embed(
            self._network, items.paths, evaluation.batch_size, threads, title, self._reporter
        )

    def _cache(self, name: str, items: Items, **options: Any) -> "FeatureCache":
        from dml.training import FeatureCache

        return FeatureCache(
            self._files / name,
            self._encoder,
            items.paths,
            batch_size=self._recipe.evaluation.batch_size,
            threads=self._recipe.training.threads,
            digests=[self._digests[name] for name in items.ids],
            reporter=self._reporter,
            **options,
        )

    @cached_property
    def _digests(self) -> dict[str, str]:
        """The SHA-256 of each image, which the run has recorded."""
        recorded = RecordedItems.read(self._run.checked(self._run.items))
        return dict(zip(recorded.items.ids, recorded.digests, strict=True))

    @cached_property
    def _network(self) -> Any:
        """The model from images to pooled features."""
        from dml.encoding._stages import feature_encoder

        return feature_encoder(self._encoder)
