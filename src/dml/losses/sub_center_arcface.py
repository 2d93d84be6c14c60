"""Sub-centre ArcFace."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_integer
from dml.losses.arcface import ArcFace
from dml.losses.base import LOSSES


@LOSSES.register("sub_center_arcface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SubCenterArcFace(ArcFace):
    """ArcFace with several proxies per class, of which only the nearest to the image is used.

    Clean images gather at one proxy of their class and mislabelled or odd ones at the others:
    after training, images more than 75 degrees from their class's main proxy are suspects
    (`dml.losses.outliers`).

    Args:
        margin: As for `ArcFace`, in degrees.
        scale: As for `ArcFace`.
        proxies_per_class: K in the paper. At least 1; 3 in the paper.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes, K) from `dml.heads.ProxyHead`, or (B, classes) when K is 1.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.SubCenterArcFace()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Deng et al., ECCV 2020](https://doi.org/10.1007/978-3-030-58621-8_43)
    """

    proxies_per_class: int = 3

    def __post_init__(self):
        super().__post_init__()
        check_integer(1, proxies_per_class=self.proxies_per_class)

    def batch_loss(self, labels, cosines):
        if self.proxies_per_class > 1:
            cosines = ops.amax(cosines, axis=2)
        return super().batch_loss(labels, cosines)


def outliers(cosines, labels, angle=75.0):
    """Returns images that are far from their class's main proxy, the nearest to most of its images.

    Args:
        cosines: Floats (N, classes, K), NumPy: of all training images, without augmentation.
        labels: Integers (N,).
        angle: In degrees; 75 in the paper.

    Returns:
        Booleans (N,), the outliers; and integers (classes,), each class's main proxy.
    """
    import numpy as np

    own = np.take_along_axis(cosines, np.asarray(labels)[:, None, None], axis=1)[:, 0]  # (N, K)
    classes, proxies = cosines.shape[1:]
    votes = np.zeros((classes, proxies), int)
    np.add.at(votes, (labels, own.argmax(axis=1)), 1)
    main = votes.argmax(axis=1)
    nearness = np.take_along_axis(own, main[labels][:, None], axis=1)[:, 0]
    return nearness < np.cos(np.radians(angle)), main
