"""Heads: layers that hold what a loss learns or remembers."""

from dml.heads.proxies import ProxyHead

__all__ = ["ProxyHead"]
