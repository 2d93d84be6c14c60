"""The miners by name."""

from dml.registry import Registry

MINERS = Registry("miner")
