"""The learner: a Keras model of encoder and head that trains with a metric learning loss."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from dml._devices import (
    apart,
    by_image,
    check_inside,
    check_no_replicas,
    check_shared,
    compiles_with_xla,
    equal_batches,
    for_all_images,
    predicted,
    whole_values,
)
from dml._options import check_integer, check_interval
from dml._processes import from_first, process_count
from dml.backbones import blocks_of
from dml.backbones._freezing import freeze
from dml.encoding._stages import is_head, without_length
from dml.errors import ArrayError, OptionError
from dml.heads import Head, ProxyHead
from dml.losses import MetricLoss
from dml.losses._weights import check_no_weights
from dml.ops import (
    Targets,
    as_weights,
    is_relation,
    mean_over,
    pair_masks,
    ratio,
    relation_of_memberships,
    unit_length,
)
from dml.regularizers import REGULARIZERS, Regularizer
from dml.training._average import WeightAverage
from dml.training._chunks import embed_in_chunks
from dml.training._data import (
    KnownLabels,
    check_shape,
    checked_images,
    checked_targets,
    is_data_set,
    peek,
    some_images,
)
from dml.training._sampled import SlotTables, sampled_head, slot_tables


@keras.saving.register_keras_serializable("dml")
class Learner(keras.Model):
    """Trains an encoder with a metric learning loss, with the usual `compile` and `fit`.

    If the loss compares embeddings with proxies, the learner creates their layer, `head`, so that
    Keras trains and saves them. `save` and `ModelCheckpoint` write the whole learner, including the
    optimizer's state; `learner.encoder` alone computes embeddings.

    Args:
        encoder: A Keras model from images to unit vectors (B, D): `dml.build_encoder`'s, or any
            other whose output is normalised. Or `dml.encoding.head_of` such an encoder, which takes
            pooled features (B, C): those of a `dml.FeatureCache`.
        loss: A part of `dml.losses`.
        classes: Classes among the training labels, which are 0 .. classes - 1. Required only by
            losses with proxies.
        augmentation: Keras layers applied to the batch in training, on the device.
        regularizer: A part of `dml.regularizers` for the proxies or the embeddings.
        chunks: Number of parts in which a training batch passes through the encoder, one after
            another. The loss still sees the whole batch: the gradient at its embeddings is taken
            first, and each part's activations are computed again for its share. So a batch takes
            the memory of one part, and about a third more time. Must divide the batch; batch
            normalisation sees each part alone.
        train_blocks: How many of the last blocks of the encoder's backbone train, in addition to
            embedding and head; 0 trains these two alone, None all. BatchNormalization in frozen
            blocks uses and keeps its statistics.
        sample: Share, in (0, 1], of the classes that a training step compares with and whose
            proxies it updates: those of the batch and others drawn at random. It must hold as many
            classes as a batch has images. For very many classes (An et al., CVPR 2022). Below 1,
            only for losses whose head is a plain `dml.heads.ProxyHead`.
        correct_bias: Whether a softmax over the sample is corrected for the classes that it leaves
            out: the cosines of those that were drawn are raised, so that its denominator is right
            on average. For `normalized_softmax`, `arcface`, `cosface` and `sphereface`.
        storage: Format of the proxies of all classes, and of the optimizer's state for them,
            where a step takes a sample: `float32`, or `bfloat16`, which takes half the memory. It
            is rounded at random, so that small steps add up; a step computes in float32.
        average_decay: Decay, in [0, 1), of an exponential average of the encoder's weights, its
            statistics included, which is kept beside them; 0 keeps none.

    Raises:
        OptionError: `classes` is missing; or the loss needs all of them in each step; or it holds
            variables, which Keras never trains; or `augmentation` holds something else than layers,
            or features are to be augmented; or `chunks`, `train_blocks` or `average_decay` is out
            of its range.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")
        >>> labels = [0, 0, 1, 1, 2, 2, 3, 3]
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=16, resize_side=16))
        >>> learner = dml.Learner(encoder, dml.losses.ProxyAnchor(), classes=4)
        >>> learner.compile()
        >>> history = learner.fit(images, labels, epochs=1, verbose=0)
        >>> learner.embed(images[:2]).shape
        (2, 512)
    """

    def __init__(
        self,
        encoder: keras.Model,
        loss: MetricLoss,
        classes: int | None = None,
        augmentation: Iterable[keras.layers.Layer] = (),
        regularizer: Regularizer | None = None,
        chunks: int = 1,
        train_blocks: int | None = None,
        sample: float = 1.0,
        correct_bias: bool = False,
        storage: str = "float32",
        average_decay: float = 0.0,
        name: str | None = None,
    ):
        super().__init__(name=name or "learner")
        augmentation = list(augmentation)
        check_integer(1, chunks=chunks)
        check_interval("[0, 1)", average_decay=average_decay)
        _check_loss(loss, encoder, augmentation)
        self.encoder = encoder
        self.metric_loss = loss
        self.classes = classes
        self.training_encoder = _lengths_of(encoder) if loss.reads_length else None
        self.regularizer = regularizer
        self.chunks = chunks
        self.train_blocks = train_blocks
        if train_blocks is not None:
            self._freeze_blocks(train_blocks)
        self.average_decay = average_decay
        self.average = WeightAverage(encoder, average_decay) if average_decay else None
        self.augmentation = augmentation
        self.sample = sample
        self.correct_bias = correct_bias
        self.storage = storage
        head = loss.head(classes, encoder.output_shape[-1])
        if sample != 1 or correct_bias or storage != "float32":
            head = sampled_head(head, loss, sample, correct_bias, storage)
        _check_head(head, loss, regularizer)
        self.head: Any = head
        if head is not None:
            head.build((None, encoder.output_shape[-1]))
        self.regularizer_head: Any = None
        if regularizer is not None and regularizer.acts_on == "head":
            self.regularizer_head = regularizer.head(encoder.output_shape[-1])
            self.regularizer_head.build((None, encoder.output_shape[-1]))
        names = ["positive_similarity", "negative_similarity", "effective_rank"]
        if loss.has_active_share():
            names.append("active_share")
        self.telemetry = {n: keras.metrics.Mean(name=n) for n in names}
        # The lowest and the highest label of an epoch, where they must be classes of the head.
        self.label_range: Any = None
        if self._head_classes:
            self.label_range = self.add_weight(
                name="label_range", shape=(2,), initializer="zeros", dtype="int32", trainable=False
            )
        self.slots: SlotTables | None = None
        self.built = True

    @property
    def _head_classes(self) -> int:
        """Labels in training must be in [0, this); 0 for any, as of a memory."""
        return 0 if self.head is None else self.head.classes

    def call(self, images, training: bool = False):
        """Returns the embeddings (B, D) of images; in training, of their augmented versions."""
        network, images = self.encoder, by_image(images)
        if training:
            images = self._views_of(images)
            network = self.training_encoder or network
        if network is self.encoder:
            network = self._embedding_network(images)
        if training and self.chunks > 1:
            return embed_in_chunks(network, images, self.chunks)
        return network(images, training=training)

    def _views_of(self, images):
        """Returns the augmented images, one batch for each view that the loss needs."""
        views = []
        for _ in range(self.metric_loss.views):
            view = images
            for layer in self.augmentation:
                view = layer(view, training=True)
            views.append(view)
        return views[0] if len(views) == 1 else ops.concatenate(views)

    def _embedding_network(self, images):
        """Returns the model for these images: crops of the input size need no preprocessing."""
        try:
            network = self.encoder.get_layer("network")
        except ValueError:
            return self.encoder
        return network if tuple(images.shape[1:3]) == network.input_shape[1:3] else self.encoder

    def compile(self, optimizer: keras.optimizers.Optimizer | str | None = None, **options: Any):
        """Configures training, as `keras.Model.compile` does.

        Args:
            optimizer: A Keras optimizer or its name; by default `dml.OptimizerOptions()`, which
                gives the proxies a hundred times the encoder's rate.
            **options: As for `keras.Model.compile`, except `loss`, which the learner has, and
                `loss_weights`. `jit_compile` selects XLA: by default where there is an accelerator,
                as on CPU it is slower. PyTorch's compiler is refused, as it computes wrong
                gradients of some losses.

        Raises:
            OptionError: A loss or its weights are given; `jit_compile` is True on PyTorch; or, with
                the default optimizer, the head would train and nothing of the encoder.
            DmlError: The batch would be divided among devices that each see only the pairs of their
                own part; or the encoder was made before the block of `dml.on_devices`.
        """
        check_no_replicas()
        check_inside(self.variables)
        if options.get("loss") is not None:
            raise OptionError("loss", "is the Learner's own: leave it out of compile()")
        if options.get("loss_weights") is not None:
            raise OptionError(
                "loss_weights",
                "have no effect, as a Learner has one loss: use dml.losses.MultipleLosses for "
                "several",
            )
        if optimizer is None and not self.trainable_variables:
            optimizer = "sgd"  # of nothing: for `evaluate`
        elif optimizer is None:
            from dml.training.optimizers import OptimizerOptions, build_optimizer

            optimizer = build_optimizer(self, OptimizerOptions(), steps_per_epoch=1, epochs=1)
        if options.setdefault("jit_compile", "auto") == "auto":
            options["jit_compile"] = not options.get("run_eagerly") and compiles_with_xla()
        if options["jit_compile"] and keras.backend.backend() == "torch":
            raise OptionError(
                "jit_compile",
                "can't be True on PyTorch, whose compiler computes wrong gradients of some losses: "
                "leave it out, or train with KERAS_BACKEND=jax, which compiles every step",
            )
        super().compile(optimizer=optimizer, **options)
        self.slots = slot_tables(self.head, self.optimizer, self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
        """Trains, as `keras.Model.fit` does.

        Arrays are checked before the training, and so is the first batch of a data set, unless it
        is a `tf.data.Dataset` of uint8 images.

        Args:
            x: Images (N, H, W, 3), uint8 or other numbers in 0..255, in any array-like; or
                features (N, C), if the encoder takes them; or any data set that Keras takes.
            y: Labels, integers (N,) or (N, 1) in any array-like; or {"labels": labels, "samples":
                integers (N,)}, which also identifies each image: pairs of one image are then
                neither positive nor negative, in a batch and with a memory. Or {"related": floats
                (N, N), "samples": arange(N)}, how far each image belongs to each in place of
                labels, for pair losses. For proxy losses, memberships of classes, floats
                (N, classes) in [0, 1].
            **options: As for `keras.Model.fit`, without weights of samples or classes.

        Raises:
            ArrayError: Images are empty, scaled to 0..1, normalised, not finite or of another
                shape; labels are missing, not integers, one-hot, or of a class without a proxy (for
                later batches of a data set, raised at the end of the epoch); a dictionary of
                targets has other keys; or sample or class weights are given.
        """
        x, y = self._checked(x, y, training=True)
        self._begin_training()
        if (validation := options.get("validation_data")) is not None:
            pair = isinstance(validation, (list, tuple))
            x_y, weights = (validation[:2], validation[2:]) if pair else ((validation,), ())
            checked = self._checked(*x_y)
            options["validation_data"] = (*checked, *weights) if pair else checked[0]
        if self.label_range is not None and is_data_set(x):
            watch = KnownLabels()
            callbacks = options.get("callbacks") or []
            if isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks.append(watch)
            else:  # before callbacks that would save the weights
                options["callbacks"] = [watch, *keras.tree.flatten(callbacks)]
        from dml.training.loader import TrainingBatches

        if isinstance(x, TrainingBatches) and keras.backend.backend() == "tensorflow":
            x = x.tensorflow_dataset()
            options["shuffle"] = False  # the sampler shuffles, and Keras would warn that it can't
        with _divided(x):
            return super().fit(x, y, **options)

    def evaluate(self, x: Any = None, y: Any = None, **options: Any):
        """Returns loss and telemetry, as `keras.Model.evaluate` does.

        Args:
            x: As for `fit`.
            y: As for `fit`; labels may be of other classes than the learner's.
            **options: As for `keras.Model.evaluate`.

        Raises:
            ArrayError: As for `fit`.
        """
        if "_use_cached_eval_dataset" not in options:  # called by `fit`, which has checked them
            x, y = self._checked(x, y)
        with _divided(x):
            return super().evaluate(x, y, **options)

    def predict(self, x: Any, **options: Any) -> np.ndarray:
        """Returns embeddings, as `keras.Model.predict` does, of images as for `fit`."""
        with _divided(x):
            x = peek(x, self.encoder)[0] if is_data_set(x) else some_images(x, self.encoder)
            return super().predict(x, **options)

    def predict_step(self, *state_and_batch):
        """Returns the embeddings of a batch, all of them on each device, as Keras does."""
        found = super().predict_step(*state_and_batch)
        if keras.backend.backend() != "jax":
            return found
        embeddings, state = found
        return for_all_images(embeddings), state

    def train_on_batch(self, x: Any, y: Any = None, **options: Any):
        """Trains with one batch, as `keras.Model.train_on_batch` does; checked as by `fit`."""
        x, y = self._checked(x, y, training=True, batch=True)
        self._begin_training()
        return super().train_on_batch(x, y, **options)

    def test_on_batch(self, x: Any, y: Any = None, **options: Any):
        """Returns loss and telemetry of one batch, as `keras.Model.test_on_batch` does."""
        return super().test_on_batch(*self._checked(x, y, batch=True), **options)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Returns the embeddings of one batch, as `keras.Model.predict_on_batch` does."""
        return super().predict_on_batch(some_images(x, self.encoder))

    def save(self, filepath: Any, *more: Any, **options: Any) -> None:
        """Writes the learner, as `keras.Model.save` does; of several processes, the first does."""
        if self.compiled and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)  # `load_learner` expects its variables
        self._written(lambda: super(Learner, self).save(filepath, *more, **options))

    def save_weights(self, filepath: Any, *more: Any, **options: Any) -> None:
        """Writes the variables, as `keras.Model.save_weights` does; the first process does."""
        self._written(lambda: super(Learner, self).save_weights(filepath, *more, **options))

    def _written(self, write: Callable[[], None]) -> None:
        """Calls a function in the first process, which there has all values of the variables."""

        def alone():
            with apart():  # Keras makes an optimizer to see which attributes it has
                write()

        optimizer = getattr(self, "optimizer", None)
        with whole_values([*self.variables, *(optimizer.variables if optimizer else ())]):
            from_first(alone)

    def make_train_function(self, force: bool = False) -> Any:
        # TensorFlow traces a step twice if the optimizer adds its variables in it.
        self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def _checked(self, x, y=None, training=False, batch=False):
        """Returns images and targets, or a data set and None, after checking them.

        Args:
            x: As for `fit`.
            y: As for `fit`.
            training: Whether labels must be of the learner's classes.
            batch: Whether these are one batch, whose labels may be a relation (B, B).
        """
        loss = self.metric_loss
        known = {
            "classes": self._head_classes if training else 0,
            "memberships": self._head_classes if loss.takes_memberships() else 0,
            "why_classes": "" if loss.takes_relation() else loss.why_classes(),
        }
        if not is_data_set(x):
            return some_images(x, self.encoder), checked_targets(y, **known, batch=batch)
        from dml.training.loader import TrainingBatches

        if isinstance(x, TrainingBatches):  # whose values and labels are valid
            check_shape(x.input_shape, self.encoder)
            return x, y
        x, targets = peek(x, self.encoder)
        if targets is not None:
            checked_targets(targets, **known, batch=True)
        return x, y

    def get_config(self):
        part = self.regularizer
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "loss": keras.saving.serialize_keras_object(self.metric_loss),
            "classes": self.classes,
            "augmentation": [keras.saving.serialize_keras_object(x) for x in self.augmentation],
            "regularizer": part and REGULARIZERS.config_of(part),
            "chunks": self.chunks,
            "train_blocks": self.train_blocks,
            "sample": self.sample,
            "correct_bias": self.correct_bias,
            "storage": self.storage,
            "average_decay": self.average_decay,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def made(config):
            return keras.saving.deserialize_keras_object(config, custom_objects)

        part = config["regularizer"]
        return cls(
            **{
                **config,
                "encoder": made(config["encoder"]),
                "loss": made(config["loss"]),
                "augmentation": [made(layer) for layer in config["augmentation"]],
                "regularizer": part and REGULARIZERS.part_of(part),
            }
        )

    def compile_from_config(self, config):
        options = keras.saving.deserialize_keras_object(config)
        # Chosen for this machine and backend: a file may be loaded elsewhere than it was saved.
        self.compile(**{**options, "jit_compile": "auto"})
        self.optimizer.build(self.trainable_variables)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        check_no_weights(sample_weight)
        loss_fn = self.metric_loss
        targets = Targets.of(y, memberships=loss_fn.takes_memberships())
        takes_matrix = loss_fn.takes_memberships() and targets.related is None
        if is_relation(targets.labels) and not (takes_matrix or loss_fn.takes_relation()):
            raise ArrayError(loss_fn.why_classes())
        if training and self.label_range is not None:
            self._watch_labels(targets.labels)
        if training and self.head is not None:
            targets = replace(targets, labels=self.head.step_labels(targets.labels))
        targets = targets.of_views(loss_fn.views, loss_fn.takes_memberships())
        embeddings = ops.cast(y_pred, "float32")
        if loss_fn.views > 1 and not training:  # there is one: its views are the same
            embeddings = ops.concatenate([embeddings] * loss_fn.views)
        compared = embeddings
        if self.head is not None:
            known = {}
            if self.head.reads_samples:
                known = {"samples": targets.samples, "related": targets.related}
            compared = self.head(embeddings, targets.labels, training=training, **known)
        if loss_fn.reads_length:
            embeddings = unit_length(embeddings)
        loss = loss_fn.value(targets, compared)
        penalty = loss_fn.penalty(self.head)
        loss = loss if penalty is None else loss + penalty
        if (part := self.regularizer) is not None:
            loss = loss + part(
                self._regularized(part.acts_on, embeddings, targets.labels, training)
            )
        for extra in self.losses:  # weight regularisers of the user's own layers
            loss = loss + extra
        self._update_telemetry(targets, embeddings, compared)
        return loss

    def _watch_labels(self, labels):
        """Widens the range of the labels that this epoch has seen."""
        if not is_relation(labels):
            seen = ops.stack([ops.min(labels), ops.max(labels)])
            low_high = ops.convert_to_tensor(self.label_range)
            low, high = ops.minimum(low_high, seen)[0], ops.maximum(low_high, seen)[1]
            self.label_range.assign(ops.stack([low, high]))

    def _regularized(self, acts_on, embeddings, labels, training):
        """Returns the input of the regularizer."""
        if self.regularizer_head is not None:
            return self.regularizer_head(embeddings, self._related(labels), training=training)
        if acts_on == "embeddings":
            return embeddings
        if acts_on == "proxies":
            return self.head.unit_proxies()
        return ops.convert_to_tensor(self.head.proxies)

    def _related(self, labels):
        """Returns labels that compare images: of memberships the relation, others as they are."""
        if is_relation(labels) and self.metric_loss.takes_memberships():
            return relation_of_memberships(labels)
        return labels

    def _update_telemetry(self, targets, embeddings, compared):
        """Records metrics that distinguish learning from collapse, such as the effective rank."""
        embeddings = ops.stop_gradient(embeddings)
        similarities = embeddings @ ops.transpose(embeddings)  # (B, B)
        names = ("positive_similarity", "negative_similarity")
        related = replace(targets, labels=self._related(targets.labels)).to_compare()
        for name, pairs in zip(names, pair_masks(related), strict=True):
            mean = mean_over(similarities, pairs)
            self.telemetry[name].update_state(mean, sample_weight=ops.sum(as_weights(pairs)))
        # Participation ratio of the batch's spectrum: 1 if all vectors are parallel, at most min(B,
        # D); 0 if all are 0.
        trace = ops.sum(ops.square(embeddings))
        rank = ratio(ops.square(trace), ops.sum(ops.square(similarities)))
        self.telemetry["effective_rank"].update_state(rank)
        if "active_share" in self.telemetry:
            constant = keras.tree.map_structure(ops.stop_gradient, compared)
            labels = self.metric_loss.labels_of(targets)
            active = self.metric_loss.active_share(labels, constant)
            self.telemetry["active_share"].update_state(active)

    @property
    def metrics(self):
        return [*super().metrics, *self.telemetry.values()]

    def parts(self) -> dict[str, list[keras.Variable]]:
        """Returns the trainable variables by part: `backbone`, `embedding` and `head`."""
        embedding = [v for v in _embedding_weights(self.encoder) if v.trainable]
        known = {id(v) for v in embedding}
        parts = {
            "backbone": [v for v in self.encoder.trainable_variables if id(v) not in known],
            "embedding": embedding,
            "head": [
                variable
                for head in (self.head, self.regularizer_head)
                if head is not None
                for variable in head.trainable_variables
            ],
        }
        return {name: variables for name, variables in parts.items() if variables}

    def blocks(self) -> list[list[keras.Variable]]:
        """Returns the weights of the backbone, trainable or not, by block, from the input on.

        Such as a residual block, or a block of a transformer. The weights of the embedding layer
        are in none.
        """
        known = {id(v) for v in _embedding_weights(self.encoder)}
        blocks = ([v for v in b if id(v) not in known] for b in blocks_of(self.encoder))
        return [block for block in blocks if block]

    def _freeze_blocks(self, count):
        """Freezes all blocks of the backbone but the last `count`."""
        blocks = self.blocks()
        if not 0 <= count <= len(blocks):
            raise OptionError(
                "train_blocks",
                f"must be in [0, {len(blocks)}], the number of the backbone's blocks; got {count}",
            )
        freeze(self.encoder, [v for block in blocks[: len(blocks) - count] for v in block])

    def _begin_training(self):
        check_no_replicas()
        if self.average is not None:
            self.average.start()

    def train_step(self, *state_and_batch):
        """Takes a step as Keras does; the head prepares it, and head and average follow it."""
        *state, batch = state_and_batch
        state = state[0] if state else None  # of JAX, which passes all values
        state = self._after(lambda: self._prepare(batch), state)
        if state is None:
            logs = super().train_step(batch)
            self._follow()
            return logs
        logs, state = super().train_step(state, batch)
        return logs, self._after(self._follow, state)

    def _prepare(self, batch):
        """Lets the head prepare a step, and gives the optimizer what it knows of the sample."""
        if self.head is not None:
            self.head.prepare_step(keras.utils.unpack_x_y_sample_weight(batch)[1])
            if self.slots is not None:
                self.slots.draw(self.optimizer, self.head)

    def _follow(self):
        """Updates what follows the weights after a step."""
        if self.head is not None:
            self.head.finish_step()
            if self.slots is not None:
                self.slots.put_back(self.optimizer, self.head)
        if self.average is not None:
            self.average.update()

    def _after(self, change: Callable[[], None], state):
        """Changes variables; returns the state of a training step after it.

        Args:
            change: Assigns to variables.
            state: On JAX, the values of the trainable variables, of the others, of the optimizer's
                and of the metrics; None on other backends.
        """
        if state is None:
            change()
            return None
        *values, metrics = state
        variables = self.trainable_variables, self.non_trainable_variables, self.optimizer.variables
        pairs = [
            pair
            for some, theirs in zip(variables, values, strict=True)
            for pair in zip(some, theirs, strict=True)
        ]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            change()
        return *([scope.get_current_value(v) for v in some] for some in variables), metrics

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Gives the encoder the average of its weights, if one is kept, inside a `with` block."""
        with contextlib.nullcontext() if self.average is None else self.average.adopted():
            yield

    @contextlib.contextmanager
    def between_steps(self) -> Iterator[None]:
        """Lets a callback use the weights between two steps of `fit`, inside a `with` block."""
        if keras.backend.backend() == "jax":
            self.jax_state_sync()
        yield
        if keras.backend.backend() == "torch":
            self.train()  # which a prediction ends

    def adopt_average(self) -> None:
        """Gives the encoder the average of its weights, if one is kept, after a training."""
        if self.average is not None:
            self.average.adopt()

    def embed(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Returns the float32 unit vectors (N, D) of images (N, H, W, 3) of any size.

        Args:
            images: uint8, or other numbers in 0..255, in any array-like. N may be 0.
            batch_size: Images embedded at once.

        Raises:
            ArrayError: Images are scaled to 0..1, normalised, not finite or of another shape.
        """
        if not len(images):
            return np.zeros((0, self.encoder.output_shape[-1]), "float32")
        images = checked_images(images, self.encoder)
        if process_count() > 1:
            starts = range(0, len(images), batch_size)
            parts = [predicted(self.encoder, images[i : i + batch_size]) for i in starts]
            return np.concatenate(parts)
        with equal_batches(None):
            return self.encoder.predict(images, batch_size=batch_size, verbose=0)


def _check_loss(loss: MetricLoss, encoder: keras.Model, augmentation: list) -> None:
    """Raises OptionError for a loss or an augmentation that can't train the encoder."""
    if any(isinstance(value, (keras.Variable, keras.Layer)) for value in vars(loss).values()):
        raise OptionError(
            "loss",
            f"{type(loss).__name__} holds variables, which Keras would not train: move "
            "learned parameters into a layer of dml.heads",
        )
    if is_head(encoder) and (loss.views > 1 or augmentation):
        raise OptionError(
            "encoder",
            "takes features, whose views are computed before the training: images can't be "
            "augmented in it, as SelfSupervised or an augmentation wants. Train on images",
        )
    if wrong := [one for one in augmentation if not isinstance(one, keras.layers.Layer)]:
        raise OptionError(
            "augmentation",
            f"must be Keras layers; got {type(wrong[0]).__name__}. Those of dml.augmentations "
            "are for dml.training_batches, or give their layers: `Strong().layers()`",
        )


def _check_head(head: Any, loss: MetricLoss, regularizer: Regularizer | None) -> None:
    """Raises OptionError for a head that the learner or the regularizer can't use."""
    Head.check(head)
    needs_proxies = regularizer is not None and "proxies" in regularizer.acts_on
    if needs_proxies and not isinstance(head, ProxyHead):
        why = f"{type(loss).__name__} has none: take a loss that has"
        if any(isinstance(one, ProxyHead) for one in getattr(head, "heads", ())):
            why = (
                f"{type(loss).__name__} has several sets of them, or none for some of its losses: "
                "leave it out, or train one loss alone"
            )
        raise OptionError("regularizer", f"{type(regularizer).__name__} acts on proxies, and {why}")


@contextlib.contextmanager
def _divided(x: Any) -> Iterator[None]:
    """Lets devices share the batches of `training_batches`, in a `with` block; no others."""
    size = None
    if is_data_set(x):
        from dml.training.loader import TrainingBatches

        if isinstance(x, TrainingBatches):
            check_shared(x.epoch_rows(0).shape[1])
            size = x.input_shape[0]
    with equal_batches(size):
        yield


def _embedding_weights(encoder):
    """Returns the weights of the embedding layer; an empty list without one.

    Backbones, too, may contain a layer of that name.
    """
    for model in (encoder, *(x for x in encoder.layers if x.name == "network")):
        for layer in getattr(model, "layers", ()):
            if layer.name == "embedding":
                return layer.weights
    return []


def _lengths_of(encoder):
    """Returns the encoder's model for crops or features, without the scaling to unit length."""
    try:
        return without_length(encoder)
    except OptionError as error:
        raise OptionError(
            "encoder",
            f"{error.text}: this loss reads the length of embeddings before they are normalised",
        ) from None
