"""Search among the vectors of images, kept in a folder or in Milvus."""

from dml.index.faiss_index import FaissIndex
from dml.index.index import Index

__all__ = ["FaissIndex", "Index", "build_index", "is_milvus", "open_index"]


def is_milvus(location):
    """Returns whether a location is a Milvus collection: `milvus://host`, or a `.db`."""
    return str(location).startswith("milvus://") or str(location).endswith(".db")


def open_index(location):
    """Returns the `Index` at a location.

    Args:
        location: An index's folder; `milvus://HOST[:PORT][/COLLECTION]`; or a `.db` of milvus-lite.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is damaged.
        OSError: Milvus does not answer.
    """
    if is_milvus(location):
        from dml.index.milvus_index import MilvusIndex

        return MilvusIndex(location)
    return FaissIndex(location)


def build_index(location, encoder, items, vectors, kind="auto", recall=0.95):
    """Writes a new index and returns it: `FaissIndex.build`, or `MilvusIndex.build`.

    Args:
        location: As `open_index` takes it.
        encoder: As `FaissIndex.build` takes it, as are the rest.
    """
    if is_milvus(location):
        from dml.index.milvus_index import MilvusIndex

        return MilvusIndex.build(location, encoder, items, vectors, kind, recall)
    return FaissIndex.build(location, encoder, items, vectors, kind, recall)
