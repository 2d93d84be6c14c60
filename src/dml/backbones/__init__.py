"""Networks from images to feature maps; each knows the input range that its weights expect."""

from dml.backbones import applications as applications
from dml.backbones.base import BACKBONES as BACKBONES
from dml.backbones.base import Backbone as Backbone
from dml.backbones.conv4 import Conv4 as Conv4
from dml.backbones.own import Own as Own
