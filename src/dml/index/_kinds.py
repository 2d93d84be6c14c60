"""Kinds of FAISS indexes, and the search parameters that reach a target recall."""

import abc
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from dml.errors import DataError, OptionError
from dml.evaluation._neighbours import share_found

RECALL_AT = 10
SAMPLES = 256  # rows that are searched for before they are added, to measure recall
LARGEST_FLAT = 200_000  # rows that can be compared one by one within tens of milliseconds
LARGEST_HNSW = 5_000_000  # rows whose graph and vectors fit into memory
BLAS_NUMBERS = 2000  # numbers in the queries per thread, above which one matrix product is faster
LEAST_TRAINED = 1024  # rows that IVF-PQ can learn its codes from
MOST_GROWN = 2  # times the rows that codes were learned from, above which they are learned again
LARGEST_PARAMETER = 2**20


@dataclass(frozen=True)
class SearchParameters:
    """Search parameters of kinds without any: `flat`, and Milvus's `auto`."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 1 <= value <= LARGEST_PARAMETER:
                raise OptionError(
                    field.name, f"must be an integer in [1, {LARGEST_PARAMETER:,}]; got {value!r}"
                )

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())

    def to_json(self) -> dict[str, int]:
        """Returns the parameters as a dictionary for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, int]) -> Self:
        """Returns the parameters that `to_json` returned.

        Raises:
            ValueError: They are those of another kind, or out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            raise ValueError(f"search parameters must be {sorted(names)}; got {sorted(values)}")
        return cls(**values)


@dataclass(frozen=True)
class HnswSearch(SearchParameters):
    """Search parameters of `hnsw`.

    Args:
        ef_search: Candidates kept during the walk through the graph. In [1, 2^20].

    Raises:
        OptionError: It is out of its range.
    """

    ef_search: int


@dataclass(frozen=True)
class RefinedSearch(SearchParameters):
    """Search parameters of `int8` and `binary`.

    Args:
        refine_factor: Candidates per requested neighbour that are compared exactly. In [1, 2^20].

    Raises:
        OptionError: It is out of its range.
    """

    refine_factor: int


@dataclass(frozen=True)
class IvfPqSearch(SearchParameters):
    """Search parameters of `ivf_pq`.

    Args:
        nprobe: Cells that are visited. In [1, 2^20].
        refine_factor: Candidates per requested neighbour that are compared exactly. In [1, 2^20].

    Raises:
        OptionError: One is out of its range.
    """

    nprobe: int
    refine_factor: int


@dataclass(frozen=True)
class Recall:
    """The recall at 10 of some search parameters, measured with held-out rows.

    Args:
        target: The target recall, in (0, 1].
        measured: The recall that was reached, where a row as near as the 10th counts like it; 1
            where every search is exact.
        queries: Held-out rows that were searched for; 0 where nothing was measured.
        seconds_per_query: None if nothing was measured.
        rows: Rows of the index when its codes were learned; 0 without codes.
    """

    target: float
    measured: float = 1.0
    queries: int = 0
    seconds_per_query: float | None = None
    rows: int = 0


@functools.cache
def faiss_module() -> Any:
    """Imports and returns `faiss`, whose bindings are generated and have no types.

    FAISS 1.15 takes a matrix product from 128,000 numbers of queries on, which is best on many
    processors. On few, queries that are compared one by one take up to eight times as long. The
    limit is one for the process, and servers search in several threads at once, so it is lowered
    here, once: what others set later stays.
    """
    import faiss

    limit = min(
        faiss.cvar.distance_compute_blas_threshold, BLAS_NUMBERS * faiss.omp_get_max_threads()
    )
    faiss.cvar.distance_compute_blas_threshold = limit
    return faiss


class CodedKind(abc.ABC):
    """A kind of index that searches FAISS codes rather than every vector.

    Attributes:
        name: What `build_index` calls it.
        parameters: The class of its search parameters.
        grid: Search parameters to choose from, the fastest first.
        filters: Whether FAISS can leave rows out while it searches; otherwise they are left out of
            twice the candidates.
        exact_similarities: Whether FAISS compares whole vectors.
    """

    name: ClassVar[str]
    parameters: ClassVar[type[SearchParameters]]
    grid: ClassVar[tuple[SearchParameters, ...]]
    filters: ClassVar[bool] = True
    exact_similarities: ClassVar[bool] = False

    @abc.abstractmethod
    def create(self, count: int, dimension: int) -> Any:
        """Returns an empty, untrained FAISS index for this many vectors."""

    @property
    @abc.abstractmethod
    def faiss_class(self) -> type:
        """The class of the FAISS index."""

    def faiss_parameters(self, parameters, count, options):
        """Returns FAISS's own search parameters.

        Args:
            parameters: An instance of `self.parameters`.
            count: Number of candidates for each query.
            options: Arguments that every such class of FAISS takes.
        """
        return faiss_module().SearchParameters(**options) if options else None

    def candidates(self, parameters, k):
        """Returns how many candidates FAISS has to return for k neighbours."""
        return k * parameters.refine_factor

    def build(self, vectors: np.ndarray) -> Any:
        """Returns a FAISS index of unit vectors, float32 (N, D)."""
        count, dimension = vectors.shape
        codes = self.create(count, dimension)
        if not codes.is_trained:
            most = 256 * getattr(codes, "nlist", 256)
            rows = slice(None)
            if count > most:
                rows = np.sort(np.random.default_rng(0).choice(count, most, False))
            codes.train(np.ascontiguousarray(vectors[rows]))
        codes.add(vectors)
        return codes

    def read(self, path: Any, shape: tuple[int, int]) -> Any:
        """Returns the FAISS index in a file.

        Args:
            path: The file.
            shape: The shape of the vectors.

        Raises:
            DataError: The file is damaged, or has another kind or shape.
        """
        try:
            codes = faiss_module().read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            raise DataError(path, f"damaged: {str(error).splitlines()[-1]}") from None
        if type(codes) is not self.faiss_class or (codes.ntotal, codes.d) != tuple(shape):
            raise DataError(
                path, f"damaged: not the codes of {shape[0]:,} vectors of kind {self.name}"
            )
        return codes

    def search(
        self,
        codes: Any,
        vectors: np.ndarray,
        queries: np.ndarray,
        k: int,
        parameters: SearchParameters,
        keep: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns exact similarities and rows, (Q, k), of the nearest rows that the codes find.

        Rows are -1 if there are fewer.

        Args:
            codes: As `build` returns it.
            vectors: Float32 (N, D).
            queries: Float32 (Q, D).
            k: At most N.
            parameters: An instance of `self.parameters`.
            keep: Booleans (N,): rows that may be returned; None for all.
        """
        options = {}
        wanted = asked = min(self.candidates(parameters, k), codes.ntotal)
        if keep is not None and self.filters:
            bits = np.packbits(keep, bitorder="little")
            options["sel"] = faiss_module().IDSelectorBitmap(bits)
        elif keep is not None:
            asked = min(2 * wanted, codes.ntotal)
        params = self.faiss_parameters(parameters, asked, options)
        similarities, rows = codes.search(queries, asked, params=params)
        if self.exact_similarities:
            return similarities[:, :k], rows[:, :k]
        if keep is not None and not self.filters:
            rows = _kept_first(rows, keep, wanted)
        return rescore(vectors, queries, rows, k)


class Hnsw(CodedKind):
    """A graph whose nodes are linked with their neighbours."""

    name = "hnsw"
    parameters = HnswSearch
    grid = tuple(HnswSearch(n) for n in (16, 32, 64, 128, 256, 512, 1024))
    exact_similarities = True

    def create(self, count, dimension):
        faiss = faiss_module()
        codes = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        codes.hnsw.efConstruction = 80
        return codes

    @property
    def faiss_class(self):
        return faiss_module().IndexHNSWFlat

    def candidates(self, parameters, k):
        return k

    def faiss_parameters(self, parameters, count, options):
        return faiss_module().SearchParametersHNSW(
            efSearch=max(parameters.ef_search, count), **options
        )


class IvfPq(CodedKind):
    """Cells of product-quantized vectors."""

    name = "ivf_pq"
    parameters = IvfPqSearch
    grid = tuple(
        IvfPqSearch(*pair)
        for pair in ((4, 8), (8, 8), (16, 16), (32, 16), (64, 32), (128, 64), (512, 64))
    )

    def create(self, count, dimension):
        faiss = faiss_module()
        cells = max(1, min(int(4 * count**0.5), count // 39))
        parts = max(p for p in range(1, max(dimension // 8, 1) + 1) if dimension % p == 0)
        # np: without polysemous training, which takes most of a minute and is not used here.
        factory = f"IVF{cells},PQ{parts}x8np"
        codes = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        codes.cp.min_points_per_centroid = codes.pq.cp.min_points_per_centroid = 1  # no warnings
        return codes

    @property
    def faiss_class(self):
        return faiss_module().IndexIVFPQ

    def faiss_parameters(self, parameters, count, options):
        return faiss_module().SearchParametersIVF(nprobe=parameters.nprobe, **options)


class Int8(CodedKind):
    """Vectors of one byte for each number."""

    name = "int8"
    parameters = RefinedSearch
    grid = tuple(RefinedSearch(n) for n in (1, 2, 4))

    def create(self, count, dimension):
        faiss = faiss_module()
        return faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )

    @property
    def faiss_class(self):
        return faiss_module().IndexScalarQuantizer


class Binary(CodedKind):
    """Hashes of at least 256 bits."""

    name = "binary"
    parameters = RefinedSearch
    grid = tuple(RefinedSearch(n) for n in (2, 4, 8, 16, 32, 64, 128, 256))
    filters = False

    def create(self, count, dimension):
        bits = 8 * -(-max(dimension, 256) // 8)
        return faiss_module().IndexLSH(dimension, bits, True, True)

    @property
    def faiss_class(self):
        return faiss_module().IndexLSH


CODED_KINDS: dict[str, CodedKind] = {
    kind.name: kind for kind in (Hnsw(), IvfPq(), Int8(), Binary())
}
KINDS = ("flat", *CODED_KINDS)


def kind_for(count: int) -> str:
    """Returns the default kind for a number of rows."""
    if count <= LARGEST_FLAT:
        return "flat"
    return "hnsw" if count <= LARGEST_HNSW else "ivf_pq"


def check_kind(kind: str, count: int) -> None:
    """Raises OptionError if there are too few rows for a kind."""
    if kind == "ivf_pq" and count < LEAST_TRAINED:
        raise OptionError("kind", f"ivf_pq needs at least {LEAST_TRAINED:,} images; got {count:,}")


def read_parameters(kind: str, values: Mapping[str, int]) -> SearchParameters:
    """Returns the search parameters of a kind from JSON.

    Raises:
        ValueError: There is no such kind, or the parameters belong to another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    parameters = CODED_KINDS[kind].parameters if kind in CODED_KINDS else SearchParameters
    return parameters.from_json(values)


def compare(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the similarities and rows, (Q, k), of the nearest, by exhaustive comparison.

    Args:
        vectors: Float32 (N, D), contiguous.
        queries: Float32 (Q, D), contiguous.
        k: At most N.
    """
    faiss = faiss_module()
    return faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)


def rescore(
    vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the exact similarities and rows, (Q, k), of the nearest among candidates.

    Args:
        vectors: Float32 (N, D), contiguous.
        queries: Float32 (Q, D), contiguous.
        rows: Int64 (Q, L), or (1, L) for all queries; missing ones are -1 and come last.
        k: At most L.
    """
    rows = np.ascontiguousarray(rows)
    step = rows.shape[1] if len(rows) == len(queries) else 0
    similarities = np.empty((len(queries), k), "float32")
    nearest = np.empty((len(queries), k), "int64")
    arrays = (queries, vectors, rows, similarities, nearest)
    x, y, subset, best, places = map(faiss_module().swig_ptr, arrays)
    sizes = (queries.shape[1], len(queries), len(vectors), rows.shape[1], k)
    faiss_module().knn_inner_products_by_idx(x, y, subset, *sizes, best, places, step)
    return similarities, nearest


def _kept_first(rows, keep, wanted):
    """Returns the first of the rows that are kept, (Q, wanted); -1 for queries with fewer.

    Args:
        rows: Int64 (Q, L), the nearest first.
        keep: Booleans (N,).
        wanted: At most L.
    """
    kept = keep[rows]
    rows = np.take_along_axis(rows, np.argsort(~kept, axis=1, kind="stable"), 1)[:, :wanted]
    rows[kept.sum(axis=1) < wanted] = -1
    return rows


def held_out_count(count: int) -> int:
    """Returns how many of `count` rows are held out to measure recall."""
    return min(SAMPLES, count // 4)


def tune(
    grid: Sequence[SearchParameters],
    search: Callable[[np.ndarray, int, Any], Iterable],
    vectors: np.ndarray,
    queries: np.ndarray,
    target: float,
) -> tuple[SearchParameters, Recall]:
    """Returns the fastest search parameters that reach a recall, and the recall measured.

    If none of them reaches it, the slowest ones are returned. A row that is as near as the 10th
    counts like it (`share_found`).

    Args:
        grid: Search parameters, the fastest first.
        search: A function from queries (Q, D), k and search parameters to rows (Q, k) of
            `vectors`.
        vectors: Float32 (N, D): the vectors that are searched.
        queries: Float32 (Q, D), held-out rows.
        target: Target recall at 10, in (0, 1].
    """
    k, rows = min(RECALL_AT, len(vectors)), len(vectors) + len(queries)
    if not k or not len(queries):
        return grid[0], Recall(target, rows=rows)
    _, exact = compare(vectors, queries, k)
    tried = []
    for parameters in grid:
        started = time.perf_counter()
        found = search(queries, k, parameters)
        seconds = (time.perf_counter() - started) / len(queries)
        measured = share_found(queries, vectors, exact, found)
        recall = Recall(target, measured, len(queries), seconds, rows)
        tried.append((parameters, recall))
        if recall.measured >= target:
            break
    return tried[-1]
