"""Images of a data set as cached features of MobileNet, on which an embedding is trained."""

import functools
import gc
from dataclasses import replace

from training_runs import DATA, NETWORKS

# How the images of a data set are shown to the network.
ASPECTS = {"cub50": "keep", "emoji": "keep", "cars196-half": "stretch"}


class Images:
    """The splits of a data set and their features, by the recipe `adapt` with MobileNet at 128 px.

    Args:
        data: A name of `ASPECTS`.
        out: The folder of the features, which are computed once.
        splits: Names of splits.

    Attributes:
        recipe: The recipe.
        head: A model from features to embeddings, which starts as their principal components.
        splits: {name: items}.
        caches: {name: `dml.FeatureCache`}.
    """

    def __init__(self, data, out, splits=("train", "test")):
        import dml
        from dml.encoding import head_of
        from dml.encoding._pca import set_principal_components

        aspect = ["--backbone.aspect", ASPECTS[data]]
        self.recipe = dml.load_recipe("adapt", [*NETWORKS["mobilenet"], *DATA[data], *aspect])
        items = self.recipe.dataset.items()
        encoder = dml.build_encoder(self.recipe.backbone, self.recipe.embedding)
        self.splits = {name: items.select(name) for name in splits}
        self.caches = {
            name: dml.FeatureCache(out / data / name, encoder, split.paths, views=0)
            for name, split in self.splits.items()
        }
        set_principal_components(encoder, self.features("train"))
        self.head = head_of(encoder)
        self.start = self.head.get_weights()

    def features(self, split):
        """Returns the features of a split, float32 (N, C)."""
        return self.caches[split].plain.astype("float32")

    def trained(self, loss, sampler, rate, seed, **options):
        """Returns the head after the training of a head stage.

        Args:
            loss: A part of `dml.losses`.
            sampler: A part of `dml.samplers`.
            rate: Of the embedding layer.
            seed: Of the training.
            options: Further ones of `dml.Learner`.
        """
        import keras

        import dml
        from dml.training import build_optimizer, feature_batches

        # Otherwise TensorFlow keeps what it has compiled of each learner.
        keras.backend.clear_session()
        gc.collect()
        keras.utils.set_random_seed(seed)
        self.head.set_weights(self.start)
        split, stage = self.splits["train"], self.recipe.head_stage
        learner = dml.Learner(self.head, loss, len(split.label_names), **options)
        batches = feature_batches(self.caches["train"], split, sampler, seed=seed)
        rates = {"learning_rate": rate, "head_learning_rate": stage.head_learning_rate}
        steps, epochs = batches.steps_per_epoch, stage.epochs
        rated = replace(self.recipe.optimizer, **rates)
        learner.compile(build_optimizer(learner, rated, steps, epochs))
        learner.fit(batches, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0)
        return functools.partial(self.head.predict, verbose=0, batch_size=1024)

    def retrieval(self, embed, split):
        """Returns the `dml.evaluation.Retrieval` of a split, whose images search each other.

        Args:
            embed: A function from features (N, C) to embeddings (N, D).
            split: Its name.
        """
        from dml.evaluation import retrieval

        return retrieval(embed(self.features(split)), self.splits[split].labels)
