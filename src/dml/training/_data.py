"""Checks of a learner's inputs before training: images, labels, and data sets of both."""

import itertools
import types

import keras
import numpy as np

from dml._arrays import AS_INTEGERS, as_array, check_shares, label_array, whole_numbers
from dml.encoding._stages import is_head
from dml.errors import ArrayError
from dml.ops import check_targets

LARGEST = 2**31 - 1


def is_data_set(x):
    """Returns whether `x` is a data set that yields batches, rather than arrays."""
    return not hasattr(x, "shape") and not isinstance(x, (list, tuple, dict)) and x is not None


def yields_uint8(data):
    """Returns whether a data set is TensorFlow's and yields uint8 images, which need no check.

    Raises:
        ArrayError: The images are not (N, H, W, 3).
    """
    spec = getattr(data, "element_spec", None)
    images = spec[0] if isinstance(spec, tuple) else spec
    if type_name(getattr(images, "dtype", None)) != "uint8":
        return False
    if images.shape.rank is not None:
        check_image_shape(tuple(images.shape))
    return True


def first_batch(data):
    """Returns the first batch of a data set, and the data set with that batch still in it.

    Raises:
        ArrayError: There is no batch.
    """
    if isinstance(data, keras.utils.PyDataset):
        return data[0], data
    batches = iter(data)
    try:
        batch = next(batches)
    except StopIteration:
        raise ArrayError("the data set is empty: it yields no batch") from None
    if isinstance(data, types.GeneratorType):
        return batch, (each for each in itertools.chain([batch], batches))
    return batch, data


def peek(data, encoder):
    """Checks the images of a data set's first batch.

    Args:
        data: As `keras.Model.fit` takes it.
        encoder: A Keras model.

    Returns:
        The data set with that batch still in it, and the batch's targets; these are None if no
        batch was read because the images are known to be uint8.

    Raises:
        ArrayError: As for `checked_images`, or there is no batch.
    """
    if yields_uint8(data):
        return data, None
    batch, data = first_batch(data)
    images, targets, _ = keras.utils.unpack_x_y_sample_weight(batch)
    checked_images(images, encoder)
    return data, targets


def checked_images(images, encoder):
    """Returns images (N, H, W, 3) in 0..255; a list becomes one array, others are unchanged.

    The expected values are only known for encoders that take uint8, such as those of
    `dml.build_encoder`; the expected shape also for those that take features. Otherwise nothing is
    checked.

    Args:
        images: An array or tensor of any library, or a list of images of one size.
        encoder: A Keras model.

    Raises:
        ArrayError: They have another shape, or are scaled, normalised or not finite.
    """
    if isinstance(images, (list, tuple)):
        try:
            images = np.stack([as_array(image) for image in images])
        except ValueError:
            raise ArrayError(
                "images must be of one size to be one array: resize them, or embed files by "
                "dml.embed_images"
            ) from None
    if takes_pixels(encoder) and not hasattr(images, "shape"):
        raise ArrayError(f"images must be an array (N, H, W, 3); got {type(images).__name__}")
    check_shape(tuple(getattr(images, "shape", ())), encoder)
    if takes_pixels(encoder) and type_name(images.dtype) != "uint8" and len(images):
        check_pixels(as_array(images))
    return images


def some_images(images, encoder):
    """Returns images as `checked_images` does.

    Raises:
        ArrayError: As for `checked_images`; or there are none, which Keras would accept silently.
    """
    images = checked_images(images, encoder)
    if len(getattr(images, "shape", ())) in (2, 4) and images.shape[0] == 0:
        raise ArrayError(f"there are no images: got {tuple(images.shape)}")
    return images


def takes_pixels(encoder):
    """Returns whether an encoder takes uint8 images."""
    inputs = getattr(encoder, "inputs", None)
    return bool(inputs) and type_name(inputs[0].dtype) == "uint8"


def type_name(dtype):
    """Returns the name of a dtype of any library."""
    return str(getattr(dtype, "name", dtype)).split(".")[-1]


def check_shape(shape, encoder):
    """Raises ArrayError for inputs of another shape than an encoder takes, as far as it is known.

    Args:
        shape: The shape of the images, or of the features that a head takes.
        encoder: A Keras model.
    """
    if is_head(encoder):
        dimension = encoder.input_shape[-1]
        if len(shape) != 2 or shape[1] not in (dimension, None):
            raise ArrayError(
                f"features must be (N, {dimension}), as a dml.FeatureCache has them; got {shape}"
            )
    elif takes_pixels(encoder):
        check_image_shape(shape)


def check_image_shape(shape):
    """Raises ArrayError unless a shape is (N, H, W, 3)."""
    if len(shape) == 4 and shape[3] in (3, None):
        return
    remedy = ""
    if len(shape) == 3:
        remedy = ": pass one image as images[None]"
        if shape[2] != 3:
            remedy = ": for grey images, np.repeat(images[..., None], 3, axis=-1)"
    elif len(shape) == 4 and shape[3] == 1:
        remedy = ": for grey images, np.repeat(images, 3, axis=-1)"
    elif len(shape) == 4 and shape[1] == 3:
        remedy = ": for channels first, np.moveaxis(images, 1, -1)"
    elif len(shape) == 4 and shape[3] == 4:
        remedy = ": images[..., :3] removes the alpha channel"
    raise ArrayError(f"images must be (N, H, W, 3); got {shape}{remedy}")


def check_pixels(images):
    """Raises ArrayError unless images have values in 0..255 that are not scaled to [0, 1]."""
    if images.dtype.kind not in "biuf":
        raise ArrayError(f"images must be numbers in 0..255; got {images.dtype}")
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        finite = np.isfinite(images.astype("float32")).reshape(len(images), -1).all(axis=1)
        raise ArrayError(f"images: image {np.argmin(finite)} has a value that is not finite")
    if low < -0.5 or high > 255.5:
        raise ArrayError(
            f"images must be in 0..255, best uint8; got {low:.4g} to {high:.4g}. The encoder "
            "normalises them itself: pass them as they were read"
        )
    if 0 < high <= 1:
        raise ArrayError(
            f"images must be in 0..255, best uint8; the largest value is {high:.4g}, which is "
            "black: multiply them by 255"
        )


def class_labels(labels, classes=0):
    """Returns labels as int32 (N,).

    Args:
        labels: Integers (N,) or (N, 1) in any array-like.
        classes: They must be in [0, classes); 0 allows every int32.

    Raises:
        ArrayError: They are not such labels; the message names the row.
    """
    if labels is None:
        raise ArrayError("labels are missing: fit(images, labels)")
    labels = label_array(labels)
    if labels.ndim != 1:
        raise ArrayError(f"labels must be one class for each image, (N,); got {labels.shape}")
    labels = whole_numbers(labels)
    low, high = (0, classes - 1) if classes else (-LARGEST - 1, LARGEST)
    outside = (labels < low) | (labels > high)
    if outside.any():
        row = np.flatnonzero(outside)[0]
        wanted = f"[0, {classes}), the learner's classes" if classes else "32 bits"
        raise ArrayError(
            f"labels must be in {wanted}; got {labels[row]} in row {row}. {AS_INTEGERS}"
        )
    return labels.astype("int32")


def is_one_hot(matrix):
    """Returns whether each row of a matrix holds a single 1 and zeros otherwise."""
    return bool(((matrix == 1).sum(axis=1) == 1).all() and np.isin(matrix, (0, 1)).all())


def checked_matrix(matrix, memberships, batch, why_classes=""):
    """Returns matrix-shaped labels: memberships of classes, or a batch's relation.

    Args:
        matrix: Numbers (N, M).
        memberships: Number of classes, if the loss takes memberships; otherwise 0.
        batch: Whether it describes one batch, so that it may be a relation of its images.
        why_classes: Why the loss takes no relation; empty if it does.

    Raises:
        ArrayError: The loss can't use it; the message names what to pass instead.
    """
    if memberships:
        if matrix.shape[1] != memberships or not ((matrix >= 0) & (matrix <= 1)).all():
            raise ArrayError(
                f"memberships must be (N, {memberships}), one column for each of the learner's "
                f"classes, in [0, 1]; got {matrix.shape}, {matrix.min():g} to {matrix.max():g}"
            )
        return matrix
    if is_one_hot(matrix):
        raise ArrayError(
            f"labels must be one class for each image, (N,); got one-hot {matrix.shape}: pass "
            "np.argmax(labels, axis=1)"
        )
    if batch and matrix.shape[0] == matrix.shape[1]:
        if why_classes:
            raise ArrayError(why_classes)
        check_shares(matrix, "labels, a relation of the batch,")
        return matrix
    raise ArrayError(
        f"labels must be one class for each image, (N,); got {matrix.shape}. Pass a relation of "
        'the images as {"related": floats (N, N), "samples": np.arange(N)}'
    )


def checked_relation(related, samples, batch):
    """Returns {"related", "samples"} as arrays.

    Args:
        related: How far each image belongs to each of all training images, floats (N, N).
        samples: The column of each image, integers (N,).
        batch: Whether there are rows of one batch only, (B, N) and (B,).

    Raises:
        ArrayError: They are not such arrays; the message names the row.
    """
    related = as_array(related)
    if related.ndim != 2 or not (batch or related.shape[0] == related.shape[1]):
        raise ArrayError(
            "related must be how far each image belongs to each, (N, N); got "
            f"{related.shape}: a row and a column for each of the images"
        )
    check_shares(related, "related")
    return {"related": related, "samples": image_numbers(samples, *related.shape)}


def image_numbers(samples, count, columns=0):
    """Returns which image each row is, as int32 (N,).

    Args:
        samples: Integers (N,) or (N, 1) in any array-like.
        count: N, the number of rows.
        columns: They must be in [0, columns), the columns of a relation; 0 allows every int32.

    Raises:
        ArrayError: They are not such integers; the message names the row.
    """
    samples = label_array(samples, "samples")
    remedy = f"np.arange({columns or count}) numbers all images"
    if samples.shape != (count,):
        raise ArrayError(
            f"samples must be the number of each image, ({count},); got {samples.shape}. {remedy}"
        )
    samples = whole_numbers(samples, "samples", remedy)
    low, high = (0, columns - 1) if columns else (-LARGEST - 1, LARGEST)
    outside = (samples < low) | (samples > high)
    if outside.any():
        row = np.flatnonzero(outside)[0]
        wanted = f"[0, {columns}), the columns of related" if columns else "32 bits"
        raise ArrayError(f"samples must be in {wanted}; got {samples[row]} in row {row}. {remedy}")
    return samples.astype("int32")


def checked_targets(y, classes=0, memberships=0, batch=False, why_classes=""):
    """Returns targets with labels as int32 (N,), and everything else as arrays.

    Args:
        y: As `Learner.fit` takes it.
        classes: Labels must be in [0, classes); 0 allows every int32.
        memberships: Number of classes, if the loss takes memberships (N, classes); otherwise 0.
        batch: Whether it is one batch of a data set.
        why_classes: Why the loss takes no relation; empty if it does.

    Raises:
        ArrayError: The targets have another form.
    """
    check_targets(y)
    if isinstance(y, dict) and "related" in y:
        if why_classes:
            raise ArrayError(why_classes)
        return checked_relation(y["related"], y["samples"], batch)
    if isinstance(y, dict):
        labels = checked_targets(y["labels"], classes, memberships, batch, why_classes)
        return {"labels": labels, "samples": image_numbers(y["samples"], len(labels))}
    array = as_matrix(y)
    if array is not None:
        return checked_matrix(array, memberships, batch, why_classes)
    return class_labels(y, classes)


def as_matrix(y):
    """Returns labels in several numeric columns as an array; None for other labels."""
    nested = isinstance(y, (list, tuple)) and len(y) and isinstance(y[0], (list, np.ndarray))
    if not hasattr(y, "shape") and not nested:
        return None
    array = as_array(y)
    several = array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf"
    return array if several else None


class KnownLabels(keras.callbacks.Callback):
    """Stops a training in which a data set has yielded labels that are not classes of the learner.

    After the first epoch, because the labels of each step are on the device.

    Raises:
        ArrayError: Names the lowest and the highest.
    """

    def on_epoch_end(self, epoch, logs=None):
        low, high = keras.ops.convert_to_numpy(self.model.label_range.value).tolist()
        classes = self.model.head.classes
        if low < 0 or high >= classes:
            raise ArrayError(
                f"labels must be in [0, {classes}), the learner's classes; the data set had "
                f"{low} to {high} in epoch {epoch + 1}"
            )
