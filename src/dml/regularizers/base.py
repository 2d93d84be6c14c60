"""The regularizers by name."""

from dml.registry import Registry

REGULARIZERS = Registry("regularizer")
