"""Search among the vectors of images."""

from dml.index.faiss_index import FaissIndex

__all__ = ["FaissIndex"]
