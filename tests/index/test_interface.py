"""The contract of an index of any kind, in a folder or in Milvus."""

import itertools
import json
import shutil

import numpy as np
import pytest

from dml._storage.columns import typed
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import ArrayError, OptionError
from dml.index import build_index, open_index
from dml.index._filters import matching
from dml.index._kinds import KINDS
from dml.index._open import is_milvus
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items

COUNT = 1500
OTHERS = ("milvus flat", "milvus hnsw", "server auto")
MILVUS = ["milvus auto", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Returns the address of a server that speaks Milvus's protocol, on this machine."""
    server = pytest.importorskip("milvus_lite.adapter.grpc.server", reason="needs dml[milvus]")
    folder = str(tmp_path_factory.mktemp("server"))
    running, database, port = server.start_server_in_thread(data_dir=folder, host="127.0.0.1")
    yield f"127.0.0.1:{port}"
    running.stop(grace=1)
    database.close()


@pytest.fixture(scope="module", params=[*KINDS, *MILVUS])
def built(request, bundle, tmp_path_factory):
    where, _, kind = request.param.rpartition(" ")
    if where:
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    location = tmp_path_factory.mktemp("index") / (f"{kind}.db" if where else kind)
    if where == "server":
        location = f"milvus://{request.getfixturevalue('server')}/shop"
    vectors = clusters(COUNT, DIMENSION)
    return build_index(location, OnnxEncoder(bundle), items(COUNT), vectors, kind, 0.9).location


@pytest.fixture
def index(built, tmp_path):
    if is_milvus(built):  # a file that is open can't be copied: each test leaves it as it was
        return open_index(built)
    shutil.copytree(built, tmp_path / "index")
    return open_index(tmp_path / "index")


@pytest.fixture
def changed(index, bundle):
    """An index that a test may change."""
    yield index
    if is_milvus(index.location):
        index.remove(index.ids("price >= 0"))
        index.add(items(COUNT), clusters(COUNT, DIMENSION))


def ids(found):
    return [[item["id"] for _, item in near] for near in found]


def test_finds_each_item_by_its_vector(index):
    queries = clusters(COUNT, DIMENSION)[:100]
    found = index.search(queries, 10)
    assert len(found) == 100 and {len(near) for near in found} == {10}
    first = [near[0] == f"i{n}" for n, near in enumerate(ids(found))]
    assert np.mean(first) > 0.95
    for query, near in zip(queries, found, strict=True):
        similarities = [similarity for similarity, _ in near]
        assert similarities == sorted(similarities, reverse=True)
        expected = [query @ index.vector(item["id"]) for _, item in near[:3]]
        np.testing.assert_allclose(similarities[:3], expected, atol=1e-5)


def test_finds_what_exact_search_finds(index):
    queries = clusters(100, DIMENSION, seed=3)
    exact = np.argsort(-queries @ clusters(COUNT, DIMENSION).T, axis=1)[:, :10]
    pairs = zip(ids(index.search(queries, 10)), exact, strict=True)
    assert np.mean([len({f"i{n}" for n in true} & set(near)) / 10 for near, true in pairs]) > 0.85
    recall = index.info().recall
    assert recall.measured >= 0.9 == recall.target


def test_an_item_has_its_fields_and_types(index):
    item = index.item("i9")
    assert item == {
        "id": "i9", "path": "/nowhere/9.png", "label": "c2", "price": 9, "weight": None,
        "sold": True,
    }  # fmt: skip
    assert index.item("i11")["label"] is None
    assert list(index.fields) == list(item)
    np.testing.assert_allclose(index.vector("i9"), clusters(COUNT, DIMENSION)[9], atol=1e-6)


@pytest.mark.parametrize(
    "where",
    [
        'label in ["c1", "c2"] and price < 900',
        "price < 3",
        "not price < 1490",
        'label != "c1" and price < 40',
        'not (label == "c1" or weight > 7) and price < 40',
        'label not in ["c1", "c2"] and price < 40',
        'not label in ["c1"] and not weight >= 3 and price < 40',
        "sold == True and price < 10",
        "sold != False and price < 10",
        "price in [1, 2, 5000]",
        "price == 2.5 or price < 1",
        "weight == 2.5",
        'label == "3" or id == "i4"',
        'id == "quotes \\" and \\\\ slashes" or path == "/nowhere/7.png"',
        "price in [] or price not in [] and price < 5",
        "price < 0",
    ],
)
def test_a_filter_keeps_the_same_wherever_it_is(index, where):
    table = typed(items(COUNT))
    kept = table["id"][matching(where, table)].tolist()
    assert sorted(index.ids(where)) == sorted(kept)
    page, total = index.page(where, offset=2, limit=5)
    assert total == len(kept) and len(page) == min(5, max(total - 2, 0))
    assert {item["id"] for item in page} <= set(kept)
    for near in ids(index.search(clusters(5, DIMENSION, seed=3), 20, where)):
        assert len(near) == len(set(near)) == min(20, len(kept)) and set(near) <= set(kept)


def test_a_filter_that_is_none_is_refused(index):
    with pytest.raises(ValueError, match="no field 'colour'; they have id, path, label"):
        index.search(clusters(1, DIMENSION), 3, "colour == 'red'")
    with pytest.raises(ValueError, match="'label' holds text: it can't be compared with 3"):
        index.page("label < 3")
    with pytest.raises(ValueError, match="can't read the filter"):
        index.ids("label = 'c1'")


def test_added_items_are_found_and_replaced_ones_are_not(changed, bundle):
    fresh, replaced = clusters(20, DIMENSION, seed=5), clusters(COUNT, DIMENSION)[-10:]
    assert changed.add(items(20, first=COUNT - 10), fresh) == (10, 10)
    for index in (changed, open_index(changed.location)):
        assert len(index) == COUNT + 10
        found = index.search(fresh, 3)
        first = [near[0] == f"i{COUNT - 10 + n}" for n, near in enumerate(ids(found))]
        assert np.mean(first) > 0.9
        np.testing.assert_allclose(index.vector(f"i{COUNT - 10}"), fresh[0], atol=1e-6)
        # By the vectors that were replaced, each item is found once, with its new vector.
        for query, near in zip(replaced, index.search(replaced, 10), strict=True):
            names = [item["id"] for _, item in near]
            assert len(set(names)) == len(names)
            now = [query @ index.vector(name) for name in names]
            assert [similarity for similarity, _ in near] == pytest.approx(now, abs=1e-3)
        index.verify()


def test_removed_items_are_found_no_more(changed):
    changed.remove([f"i{n}" for n in range(100)])
    index = open_index(changed.location)
    assert len(index) == COUNT - 100 and index.ids("price < 101") == ["i100"]
    gone = {f"i{n}" for n in range(100)}
    assert not gone & set(itertools.chain(*ids(index.search(clusters(COUNT, DIMENSION)[:100], 10))))
    index.remove([f"i{n}" for n in range(100, 500)])
    assert len(index) == COUNT - 500
    near = ids(index.search(clusters(COUNT, DIMENSION)[600:650], 1))
    assert np.mean([one == [f"i{n}"] for n, one in enumerate(near, start=600)]) > 0.9


def test_labels_are_listed(index):
    assert index.labels(100) == [f"c{n}" for n in range(7)]
    assert index.labels(2) == ["c0", "c1"]


def test_a_sample_is_spread_over_labels(index):
    found, total = index.sample(count=10, seed=3)
    assert total == COUNT and len({item["id"] for item in found}) == 10
    # i % 7 makes 7 labels, and some items have none: each of the 8 comes before a second of any.
    assert len({item["label"] for item in found[:8]}) == 8
    assert found == [index.item(item["id"]) for item in found]
    assert index.sample(count=10, seed=3)[0] == found != index.sample(count=10, seed=4)[0]
    found, total = index.sample('label in ["c1", "c2"] and price < 40', count=100)
    kept = items(40)[items(40)["label"].isin(["c1", "c2"])]["id"]
    assert total == len(kept) and sorted(item["id"] for item in found) == sorted(kept)
    assert {item["label"] for item in found[:2]} == {"c1", "c2"}
    assert index.sample("price < 0") == ([], 0)


def test_what_is_not_there_is_named_and_nothing_is_lost(index):
    for work in (
        lambda: index.item("i-1"),
        lambda: index.vector("i-1"),
        lambda: index.remove(["i3", "i-1"]),
    ):
        with pytest.raises(KeyError, match="has no item 'i-1'"):
            work()
    assert len(index) == COUNT


def test_wrong_queries_are_refused(index):
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(clusters(1, DIMENSION), 0)
    with pytest.raises(ValueError, match=r"queries must be \(Q, 6\)"):
        index.search(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="finite"):
        index.search(np.full((1, DIMENSION), np.nan))
    with pytest.raises(ArrayError, match="queries must be of length 1; that of row 1 is 10: div"):
        index.search(clusters(2, DIMENSION) * [[1], [10]])
    with pytest.raises(OptionError, match=r"k must be an integer; got 2\.5"):
        index.search(clusters(1, DIMENSION), 2.5)
    assert len(index.search(clusters(1, DIMENSION), np.int64(3))[0]) == 3


def test_one_id_is_no_list_of_its_letters(index):
    with pytest.raises(OptionError, match=r"ids must be a list, such as \['i12'\]; got 'i12'"):
        index.remove("i12")
    with pytest.raises(KeyError, match="has no item 12"):
        index.remove([12])
    assert len(index) == COUNT


@pytest.mark.parametrize(
    "name, options",
    [
        ("sample", {"count": 0}),
        ("sample", {"seed": -1}),
        ("sample", {"count": 1.5}),
        ("page", {"offset": -1}),
        ("page", {"limit": 2.5}),
    ],
)
def test_wrong_options_are_refused(index, name, options):
    (option,) = options
    with pytest.raises(OptionError, match=f"{option} must be (at least|an integer)"):
        getattr(index, name)(**options)


def test_another_encoder_is_refused(index, bundle, tmp_path):
    assert index.encoder(bundle).sha256 == index.encoder_sha256
    with pytest.raises(ValueError, match="built with another encoder"):
        index.encoder(write_bundle(tmp_path / "other", seed=1))


BIG = 2**53 + 1  # no float


@pytest.fixture(params=["shop", "shop.db"])
def location(request, tmp_path):
    if is_milvus(request.param):
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    return tmp_path / request.param


def fields(**columns):
    """Returns items i0, i1, ... with these columns."""
    count = len(next(iter(columns.values())))
    return items(count)[["id", "path", "label"]].assign(**columns)


def test_integers_stay_integers_when_items_without_them_come(location, bundle):
    table = fields(sku=[BIG, 7, -3], ok=[True, False, True], weight=[0.5, 1.5, 2.0])
    index = build_index(location, OnnxEncoder(bundle), table, clusters(3, DIMENSION))
    index.add(items(2, first=5)[["id", "path", "label"]], clusters(2, DIMENSION, seed=1))
    index.add(fields(sku=[None, 9.0]).assign(id=["x", "y"]), clusters(2, DIMENSION, seed=2))
    index = open_index(location)
    found = [index.item(id)["sku"] for id in ("i0", "i1", "i2", "i5", "x", "y")]
    assert found == [BIG, 7, -3, None, None, 9]
    assert [type(value) for value in found[:3]] == [int] * 3
    assert index.item("i1")["ok"] is False and index.item("i5")["ok"] is None
    assert index.ids(f"sku == {BIG}") == ["i0"] and index.ids(f"sku == {BIG - 1}") == []
    assert sorted(index.ids("not sku > 0")) == ["i2", "i5", "i6", "x"]
    assert json.loads(json.dumps(index.page()[0])) == index.page()[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "column, message",
    [
        ({"tags": [["a"], ["b"], None]}, "column 'tags' holds list"),
        ({"tags": [{"a": 1}, None, None]}, "column 'tags' holds dict"),
        ({"data": [b"a", b"b", None]}, "column 'data' holds bytes"),
        ({"price": [1, "a", None]}, "column 'price' holds int and str"),
        ({"weight": [1.0, float("inf"), 2.0]}, "column 'weight' holds an infinite value"),
        ({"big": [1, 2**63, 2]}, "column 'big' holds integers of more than 64 bits"),
        ({"similarity": [1, 2, 3]}, "column 'similarity' has a name that results use"),
        ({"same": [1, 2, 3]}, "column 'same' has a name that results use"),
        ({"vector": [1, 2, 3]}, "column 'vector' has a name that results use"),
        ({"id": ["a", None, "b"]}, "each item must have an id"),
        ({"id": ["a", "a", "b"]}, "ids must be unique"),
    ],
)
def test_columns_that_can_not_be_kept_are_named(location, bundle, column, message):
    table, vectors = fields(**column), clusters(3, DIMENSION)
    with pytest.raises(ValueError, match=message):
        build_index(location, OnnxEncoder(bundle), table, vectors)
    index = build_index(location, OnnxEncoder(bundle), items(3), vectors)
    for work in (lambda: index.add(table, vectors), lambda: index.prepare_items(table)):
        with pytest.raises(ValueError, match=message):
            work()
    assert len(index) == 3 and len(index.search(vectors, 3)[0]) == 3


def test_a_column_named_removed_is_one_like_others(location, bundle):
    vectors = clusters(3, DIMENSION)
    build_index(location, OnnxEncoder(bundle), fields(removed=[1, 2, 3]), vectors)
    index = open_index(location)
    index.remove(["i0"])
    assert [index.item(id)["removed"] for id in ("i1", "i2")] == [2, 3] and len(index) == 2
    assert index.ids("removed < 3") == ["i1"]


@pytest.mark.parametrize(
    "column, message",
    [
        (
            {"price": ["cheap", None, "dear"]},
            "'price' of .* holds whole numbers; got text, .*p'",
        ),
        ({"price": [1.5, 2.0, 3.0]}, "'price' of .* holds whole numbers; got numbers, such as 1.5"),
        ({"weight": [True, False, None]}, "'weight' of .* holds numbers; got true or false"),
        ({"weight": [2**53 + 1, 2, 3]}, "'weight' of .* holds numbers; got whole numbers"),
        ({"sold": ["yes", "no", None]}, "'sold' of .* holds true or false; got text"),
        ({"label": [1.5, 2.5, 3.5]}, None),
        ({"weight": [2, 4, None]}, None),
        ({"price": [2.0, float("nan"), 4.0]}, None),
        ({"price": [None, None, None]}, None),
    ],
)
def test_values_of_another_type_are_refused_and_the_column_named(location, bundle, column, message):
    vectors = clusters(3, DIMENSION)
    index = build_index(location, OnnxEncoder(bundle), items(3), vectors)
    if message is None:
        assert index.add(fields(**column), vectors) == (0, 3)
    else:
        for work in (lambda: index.prepare_items(fields(**column)),
                     lambda: index.add(fields(**column), vectors)):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                work()
    assert len(open_index(location)) == 3


def test_a_replaced_item_keeps_what_is_not_given(location, bundle):
    vectors = clusters(3, DIMENSION)
    index = build_index(location, OnnxEncoder(bundle), items(20), clusters(20, DIMENSION))
    fresh = fields(label=[None, "new", None]).assign(id=["i4", "i5", "x"], path="/new")
    assert index.add(fresh, vectors) == (1, 2)
    index = open_index(location)
    assert index.item("i4") == {**items(20).iloc[4].to_dict(), "path": "/new"}
    assert index.item("i5")["label"] == "new" and index.item("i5")["price"] == 5
    assert index.item("x")["label"] is index.item("x")["price"] is None
    np.testing.assert_allclose(index.vector("i5"), vectors[1], atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 5)), np.zeros((2, 6)), np.full((3, 6), np.nan), 10 * np.eye(3, 6)]
)
def test_vectors_that_do_not_fit_are_refused(location, bundle, wrong):
    with pytest.raises(ValueError, match="vectors must be"):
        build_index(location, OnnxEncoder(bundle), items(3), wrong)
    index = build_index(location, OnnxEncoder(bundle), items(3), clusters(3, DIMENSION))
    with pytest.raises(ValueError, match="vectors must be"):
        index.add(items(3), wrong)


def test_what_is_there_is_never_built_over(index, bundle):
    with pytest.raises(FileExistsError, match="already exists"):
        build_index(index.location, OnnxEncoder(bundle), items(5), clusters(5, DIMENSION))
    assert len(index) == COUNT


def test_ids_are_unique(changed, bundle):
    with pytest.raises(ValueError, match="ids must be unique"):
        changed.add(items(2).assign(id="same"), clusters(2, DIMENSION))


def test_is_open_at_its_latest(changed):
    other = open_index(changed.location)
    changed.remove(["i3"])
    assert len(other.reload_if_changed() or other) == COUNT - 1


@pytest.mark.parametrize("name", ["shop", "shop.db"])
def test_everything_can_be_removed_and_come_back(name, bundle, tmp_path):
    if is_milvus(name):
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    location = tmp_path / name
    index = build_index(location, OnnxEncoder(bundle), items(9), clusters(9, DIMENSION))
    index.remove([f"i{n}" for n in range(9)])
    assert len(index) == 0 and index.search(clusters(2, DIMENSION), 3) == [[], []]
    assert index.labels(5) == [] and index.page() == ([], 0)
    index.add(items(5), clusters(5, DIMENSION))
    assert [len(near) for near in index.search(clusters(2, DIMENSION), 3)] == [3, 3]


@pytest.mark.parametrize("name", ["shop", "shop.db"])
def test_a_missing_index_is_reported(name, bundle, tmp_path):
    if is_milvus(name):
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    with pytest.raises(FileNotFoundError, match=f"{name}: not an index"):
        open_index(tmp_path / name)
    with pytest.raises(ValueError, match=r"kind .*must be one of auto"):
        build_index(tmp_path / name, OnnxEncoder(bundle), items(5), clusters(5, DIMENSION), "annoy")
    with pytest.raises(ValueError, match="recall must be in"):
        vectors = clusters(5, DIMENSION)
        build_index(tmp_path / name, OnnxEncoder(bundle), items(5), vectors, recall=2)
    with pytest.raises(FileNotFoundError):
        open_index(tmp_path / name)


def test_says_which_items_have_labels(index):
    assert index.labelled(["i9", "i11", "i12", "i-1", 'a "quoted" one']) == {"i9", "i12"}
    assert index.labelled([]) == set()


def test_an_id_that_can_not_be_is_named(index):
    with pytest.raises(KeyError, match="has no item 'a \"quoted\" one'"):
        index.remove(['a "quoted" one'])
