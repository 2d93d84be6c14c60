"""Deep manifold similarity."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_at_least, check_interval
from dml.errors import OptionError
from dml.heads import WalkHead
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import complement, log_sum_exp, memberships, row_shares


@LOSSES.register("manifold")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Manifold(MetricLoss):
    """Raises how often walks over a graph of images and proxies lead from a proxy to its images.

    With f the walk's similarity of an image to each proxy (`dml.heads.WalkHead`), y its class, the
    mean over the batch of

        log(1 + sum over other proxies k of exp(f_k - f_y + margin))

    The paper groups classes at random for an ensemble and finds its proxies by an inner
    optimization at each step; here each class has a proxy that the optimizer moves. It leaves open
    what negative cosines do to the graph: here they have no edges. The similarities are small and
    so is the gradient: use an optimizer that scales it, such as Adam.

    Args:
        alpha: Probability that a walk continues; in (0, 1). 0.8 in the paper.
        margin: At least 0; 0.0005 in the paper.
        context: Whether to use the paper's context loss, which compares the walks from all proxies
            to an image with those to a proxy, instead of the intrinsic one.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        x: Floats (B, classes) from `dml.heads.WalkHead`.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.Manifold()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Aziere and Todorovic, CVPR 2019](https://openaccess.thecvf.com/content_CVPR_2019/html/Aziere_Ensemble_Deep_Manifold_Similarity_Learning_Using_Hard_Proxies_CVPR_2019_paper.html)
    """

    alpha: float = 0.8
    margin: float = 5e-4
    context: bool = False
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    proxy_head: ClassVar[type] = WalkHead

    def __post_init__(self):
        super().__post_init__()
        check_interval("(0, 1)", alpha=self.alpha)
        check_at_least(0, margin=self.margin)

    def head(self, classes, embedding_dim):
        if not classes:
            raise OptionError("classes", "must be given: Manifold has proxies")
        return WalkHead(classes, embedding_dim, self.alpha, self.context)

    def batch_loss(self, labels, x):
        own = memberships(labels, x.shape[1])
        nearest_others = log_sum_exp(x, complement(own), axis=1)[:, None]
        costs = ops.softplus(nearest_others - x + self.margin)
        return ops.mean(ops.sum(row_shares(own) * costs, axis=1))
