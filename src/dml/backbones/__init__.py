"""Networks from images to feature maps; each knows the input range that its weights expect."""

from dml.backbones._blocks import blocks_of
from dml.backbones._lora import merge_lora
from dml.backbones._scaling import ChannelScaling, InputScaling
from dml.backbones.applications import Application, WidthApplication
from dml.backbones.base import BACKBONES, Backbone
from dml.backbones.conv4 import Conv4
from dml.backbones.hub import Hub
from dml.backbones.own import Own

__all__ = [
    "BACKBONES",
    "Application",
    "Backbone",
    "ChannelScaling",
    "Conv4",
    "Hub",
    "InputScaling",
    "Own",
    "WidthApplication",
    "blocks_of",
    "merge_lora",
]
