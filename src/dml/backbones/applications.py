"""The convolutional networks of `keras.applications`, with ImageNet weights."""

from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar

import keras

from dml._options import check_positive
from dml.backbones._scaling import InputScaling
from dml.backbones._weights import CUT_SHORT
from dml.backbones.base import BACKBONES, Backbone
from dml.errors import OptionError


@dataclass(frozen=True)
class Application(Backbone):
    """A network of `keras.applications` without its classifier."""

    constructor: ClassVar[str]
    scaling_mode: ClassVar[str]

    def scaling(self) -> keras.Layer:
        return InputScaling(self.scaling_mode, name="scaling")

    def architecture(self, weights: str | None) -> keras.Model:
        """Returns the network.

        Raises:
            OptionError: Keras has no such network, or no such weights of it.
        """
        try:
            return getattr(keras.applications, self.constructor)(
                include_top=False,
                weights=weights,
                input_shape=(self.input_size, self.input_size, 3),
                **self._own_arguments(),
            )
        except ValueError as error:
            reason = " ".join(str(error).split())
            if reason.startswith(CUT_SHORT):
                raise
            raise OptionError("backbone", f"is refused by Keras: {reason}") from error

    def _own_arguments(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class WidthApplication(Application):
    """A network of `keras.applications` whose width can be chosen.

    Args:
        alpha: Width of every layer relative to the published network. Keras has ImageNet weights
            for 0.25, 0.5, 0.75 and 1 (MobileNet) and 0.35 to 1.4 (MobileNetV2). Positive.
    """

    alpha: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(alpha=self.alpha)

    def _own_arguments(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


# name in a recipe: (constructor, scaling that its weights expect)
_NETWORKS = {
    "inception_v3": ("InceptionV3", "tf"),
    "inception_resnet_v2": ("InceptionResNetV2", "tf"),
    "xception": ("Xception", "tf"),
    "resnet50": ("ResNet50", "caffe"),
    "resnet101": ("ResNet101", "caffe"),
    "resnet152": ("ResNet152", "caffe"),
    "resnet50_v2": ("ResNet50V2", "tf"),
    "resnet101_v2": ("ResNet101V2", "tf"),
    "resnet152_v2": ("ResNet152V2", "tf"),
    "vgg16": ("VGG16", "caffe"),
    "vgg19": ("VGG19", "caffe"),
    "densenet121": ("DenseNet121", "torch"),
    "densenet169": ("DenseNet169", "torch"),
    "densenet201": ("DenseNet201", "torch"),
    "nasnet_mobile": ("NASNetMobile", "tf"),
    **{f"efficientnet_b{i}": (f"EfficientNetB{i}", "none") for i in range(8)},
    **{f"efficientnet_v2_b{i}": (f"EfficientNetV2B{i}", "none") for i in range(4)},
    "efficientnet_v2_s": ("EfficientNetV2S", "none"),
    "efficientnet_v2_m": ("EfficientNetV2M", "none"),
    "efficientnet_v2_l": ("EfficientNetV2L", "none"),
    "convnext_tiny": ("ConvNeXtTiny", "none"),
    "convnext_small": ("ConvNeXtSmall", "none"),
    "convnext_base": ("ConvNeXtBase", "none"),
    "convnext_large": ("ConvNeXtLarge", "none"),
}
_WIDTH_NETWORKS = {
    "mobilenet": ("MobileNet", "tf"),
    "mobilenet_v2": ("MobileNetV2", "tf"),
    "mobilenet_v3_small": ("MobileNetV3Small", "none"),
    "mobilenet_v3_large": ("MobileNetV3Large", "none"),
}


def _register_all():
    """Makes a backbone of each network and files it in the registry."""
    for base, networks in ((Application, _NETWORKS), (WidthApplication, _WIDTH_NETWORKS)):
        options = "".join(part.__doc__ or "" for part in (Backbone, base))  # python -OO keeps none
        for name, (constructor, mode) in networks.items():
            part = make_dataclass(
                constructor,
                [],
                bases=(base,),
                frozen=True,
                namespace={
                    "constructor": constructor,
                    "scaling_mode": mode,
                    "__doc__": f"`keras.applications.{constructor}` without its classifier.\n"
                    + options.partition("\n")[2],
                    "__module__": __name__,
                },
            )
            BACKBONES.register(name)(part)


_register_all()
