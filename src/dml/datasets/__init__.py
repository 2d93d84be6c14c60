"""Data sets: each a table of images, classes and splits."""

from dml.datasets._checking import Duplicates, ImageCheck, check_images
from dml.datasets._downloading import download
from dml.datasets._recorded import RecordedItems
from dml.datasets.base import DATASETS, Archive, DatasetPart
from dml.datasets.cars196 import Cars196
from dml.datasets.cars196_half import Cars196Half
from dml.datasets.cub200 import CUB200
from dml.datasets.folder import Folder
from dml.datasets.glyphs import Glyphs
from dml.datasets.inshop import InShop
from dml.datasets.items import Items
from dml.datasets.omniglot import Omniglot
from dml.datasets.parquet import Parquet
from dml.datasets.sop import StanfordOnlineProducts
from dml.datasets.table import Table
from dml.datasets.webdataset import WebDataset

__all__ = [
    "CUB200",
    "DATASETS",
    "Archive",
    "Cars196",
    "Cars196Half",
    "DatasetPart",
    "Duplicates",
    "Folder",
    "Glyphs",
    "ImageCheck",
    "InShop",
    "Items",
    "Omniglot",
    "Parquet",
    "RecordedItems",
    "StanfordOnlineProducts",
    "Table",
    "WebDataset",
    "check_images",
    "download",
]
