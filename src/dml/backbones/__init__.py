"""Networks from images to feature maps; each knows the input range that its weights expect."""

from dml.backbones import applications
from dml.backbones.base import BACKBONES, Backbone
from dml.backbones.conv4 import Conv4
from dml.backbones.own import Own

__all__ = ["BACKBONES", "Backbone", "Conv4", "Own", "applications"]
