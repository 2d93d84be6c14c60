"""Retrieval metrics: worked by hand, against loops, and invariances."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dml.evaluation import _neighbours, class_interval, retrieval
from dml.evaluation._neighbours import nearest as search
from tests.evaluation import reference


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def planted(queries=60, classes=6, dim=4, spread=0.6, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, queries)
    return rng.normal(size=(classes, dim))[labels] + spread * rng.normal(
        size=(queries, dim)
    ), labels


def agrees(found, ranks):
    assert found.recall == pytest.approx({k: reference.recall(ranks, k) for k in found.recall})
    assert found.r_precision == pytest.approx(reference.r_precision(ranks))
    assert found.map_at_r == pytest.approx(reference.map_at_r(ranks))
    assert found.first_positive.tolist() == [r[0] if r else 0 for r in ranks]
    assert found.excluded == sum(not r for r in ranks)


def test_by_hand():
    # Class a at 0, 10 and 50 degrees, class b at 12 and 40.
    found = retrieval(on_circle(0, 10, 50, 12, 40), ["a", "a", "a", "b", "b"], ks=(1, 2, 3))
    # First positives: 0 -> 10, rank 1. 10 -> 0 behind 12, rank 2. 50 -> 10 behind 40 and 12,
    # rank 3. 12 -> 40 behind 10 and 0, rank 3. 40 -> 12 behind 50, rank 2.
    assert found.first_positive.tolist() == [1, 2, 3, 3, 2]
    assert found.recall == {1: 1 / 5, 2: 3 / 5, 3: 1}
    # R is 2, 2, 2, 1, 1: of the first R are positives 1, 1, 0, 0, 0.
    assert found.r_precision == pytest.approx((1 / 2 + 1 / 2) / 5)
    assert found.map_at_r == pytest.approx((1 / 2 * 1 + 1 / 2 * 1 / 2) / 5)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_loops(seed):
    x, labels = planted(seed=seed)
    agrees(retrieval(x, labels), reference.ranks_of_positives(x, labels))


@settings(max_examples=60)
@given(st.data())
def test_agrees_with_loops_on_ties_duplicates_and_single_samples(data):
    rows = data.draw(st.integers(2, 14))
    coordinate = st.integers(-1, 1)
    points = st.tuples(coordinate, coordinate, coordinate).filter(any)
    x = np.array(data.draw(st.lists(points, min_size=rows, max_size=rows)))
    labels = data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    ranks = reference.ranks_of_positives(x, labels)
    if not any(ranks):
        return
    agrees(retrieval(x, labels, ks=(1, 2, 20)), ranks)


@settings(max_examples=40)
@given(st.data())
def test_agrees_with_loops_on_a_gallery(data):
    coordinate = st.integers(-1, 1)
    points = st.lists(st.tuples(coordinate, coordinate).filter(any), min_size=1, max_size=9)
    x, gallery = np.array(data.draw(points)), np.array(data.draw(points))
    label = st.integers(0, 2)
    labels = data.draw(st.lists(label, min_size=len(x), max_size=len(x)))
    others = data.draw(st.lists(label, min_size=len(gallery), max_size=len(gallery)))
    ranks = reference.ranks_of_positives(x, labels, gallery, others)
    if not any(ranks):
        return
    agrees(retrieval(x, labels, gallery=gallery, gallery_labels=others), ranks)


def test_collapsed_embeddings_score_nothing():
    labels = np.repeat(np.arange(10), 5)
    found = retrieval(np.ones((50, 8)), labels)
    assert found.recall[8] == found.r_precision == found.map_at_r == 0
    assert (found.first_positive == 46).all()  # behind all 45 negatives


def test_collapsed_embeddings_with_noise_of_rounding_score_nothing_either():
    rng = np.random.default_rng(0)
    x = np.ones((200, 32)) + 1e-8 * rng.normal(size=(200, 32))
    assert retrieval(x, np.repeat(np.arange(10), 20)).recall[8] == 0


@pytest.mark.parametrize("rows", [60, 5000])
def test_order_of_rows_has_no_effect(rows):
    x, labels = planted(rows, classes=rows // 8, dim=8)
    x[::7] = x[0]  # many duplicates, of all classes
    order = np.random.default_rng(1).permutation(rows)
    a, b = retrieval(x, labels), retrieval(x[order], labels[order])
    assert (a.recall, a.excluded) == (b.recall, b.excluded)
    assert (a.r_precision, a.map_at_r) == pytest.approx((b.r_precision, b.map_at_r))
    assert (a.first_positive[order] == b.first_positive).all()


def test_rotation_and_length_have_no_effect():
    x, labels = planted()
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))
    lengths = np.random.default_rng(4).uniform(0.01, 100, (len(x), 1))
    assert retrieval(x @ turn * lengths, labels).recall == retrieval(x, labels).recall


def test_rows_of_zeros_find_nothing():
    found = retrieval([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.1]], [0, 0, 1, 1], ks=(1, 2))
    assert found.first_positive.tolist() == [3, 3, 1, 1]


def test_a_query_is_removed_by_index_and_its_duplicates_are_not():
    x = on_circle(0, 0, 90, 90)
    assert retrieval(x, [0, 0, 1, 1]).recall[1] == 1
    assert retrieval(x, [0, 1, 0, 1], ks=(1,)).recall[1] == 0


def test_neighbours_leave_the_query_out():
    found = retrieval(on_circle(0, 10, 50, 12), [0, 0, 1, 1])
    assert found.neighbours[0, :4].tolist() == [1, 3, 2, -1]


def test_large_and_mixed_labels_stay_distinct():
    big = 2**60
    x = on_circle(0, 1, 2, 3)
    assert retrieval(x, np.array([big, big + 1, big, big + 1])).recall[1] == 0
    assert retrieval(x, [("a", 1), ("a", 1), ("b", 1), "c"]).excluded == 2


def test_intervals_hold_the_value_and_shrink_with_more_classes():
    few = retrieval(*planted(200, classes=5)).metrics()["R@1"]
    many = retrieval(*planted(4000, classes=100)).metrics()["R@1"]
    for figure in (few, many):
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert many["high"] - many["low"] < few["high"] - few["low"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"embeddings": np.array([[1.0, 0], [np.nan, 1], [1, 1]])}, "row 1 is not finite"),
        ({"embeddings": np.ones(3)}, r"table of numbers \(N, D\)"),
        ({"embeddings": np.ones((0, 2))}, "at least one row"),
        ({"labels": [0, 1]}, "3 labels, one for each row"),
        ({"labels": [0, 1, 2]}, "no query has a positive"),
        ({"ks": (0, 1)}, "ks must be positive"),
        ({"ks": (1, 2.5)}, "ks must be positive integers"),
        ({"labels": [[0], [0], [1]]}, r"a label must be one value, .*; got \[0\]"),
        ({"exclude": [["a"], ["a"], ["b"]]}, r"a label must be one value, .*; got \['a'\]"),
        ({"memory_mib": 20.5}, "memory_mib must be an integer"),
        ({"gallery": np.ones((2, 5)), "gallery_labels": [0, 1]}, "5 dimensions, the queries 2"),
        ({"gallery": np.ones((2, 2)), "gallery_labels": [0]}, "gallery_labels must be 2 labels"),
    ],
)
def test_says_what_is_wrong(change, message):
    options = {"embeddings": on_circle(0, 1, 2), "labels": [0, 0, 1], **change}
    with pytest.raises(ValueError, match=message):
        retrieval(**options)


def test_reciprocal_ranks_and_classes_by_hand():
    # The first b is nearer to an a than to the other b; c is alone.
    angles = np.radians([0, 2, 5, 9, 90])
    x, labels = np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a", "a", "b", "b", "c"]
    found = retrieval(x, labels, ks=(1,))
    ranks = [1, 1, 2, 1]
    assert found.mrr == pytest.approx(np.mean([1 / r for r in ranks])) and found.excluded == 1
    classes = found.by_class()
    assert set(classes) == {"a", "b"}
    assert classes["a"]["R@1"] == 1.0 and classes["b"]["R@1"] == 0.5
    assert classes["b"]["MRR"] == pytest.approx((1 / 2 + 1) / 2)


EVERY = ("precision", "map", "ndcg", "full_map")


def agrees_in_all(found, ranks, ks):
    agrees(found, ranks)
    means = {name: values.mean() for name, values in found.per_query.items()}
    for k in ks:
        assert means[f"P@{k}"] == pytest.approx(reference.precision_at(ranks, k))
        assert means[f"MAP@{k}"] == pytest.approx(reference.map_at(ranks, k))
        assert means[f"NDCG@{k}"] == pytest.approx(reference.ndcg_at(ranks, k))
    assert means["MAP"] == pytest.approx(reference.full_map(ranks))
    curve = found.cmc(30)
    assert curve.tolist() == pytest.approx([reference.recall(ranks, k) for k in range(1, 31)])


@pytest.mark.parametrize("listed", [1024, 1])
@settings(max_examples=60)
@given(data=st.data())
def test_all_metrics_agree_with_loops(listed, data):
    rows = data.draw(st.integers(2, 14))
    coordinate = st.integers(-1, 1)
    points = st.lists(st.tuples(coordinate, coordinate, coordinate).filter(any), min_size=rows)
    x = np.array(data.draw(points))[: rows * 2]
    gallery = x[rows:] if len(x) > rows and data.draw(st.booleans()) else None
    x = x[:rows] if gallery is not None else x
    several = data.draw(st.booleans())
    label = st.frozensets(st.integers(0, 3), max_size=2) if several else st.integers(0, 3)
    key = st.sampled_from([None, "a", "b"])

    def drawn(of, count):
        return data.draw(st.lists(of, min_size=count, max_size=count))

    labels, keys = drawn(label, len(x)), drawn(key, len(x))
    others = {}
    if gallery is not None:
        others = {
            "gallery": gallery,
            "gallery_labels": drawn(label, len(gallery)),
            "gallery_exclude": drawn(key, len(gallery)),
        }
    ranks = reference.ranks_of_positives(
        x, labels, others.get("gallery"), others.get("gallery_labels"), keys,
        others.get("gallery_exclude"),
    )  # fmt: skip
    if not any(ranks):
        return
    ks = (1, 3, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_neighbours, "LONGEST", listed)
        found = retrieval(x, labels, ks=ks, exclude=keys, extra_metrics=EVERY, **others)
    agrees_in_all(found, ranks, ks)


@pytest.mark.parametrize("extra_metrics", [EVERY, EVERY[:3]])
def test_all_metrics_agree_with_loops_where_lists_are_short(monkeypatch, extra_metrics):
    monkeypatch.setattr(_neighbours, "LONGEST", 12)
    x, labels = planted(250, classes=10, spread=1.5)
    keys = list(zip(labels.tolist(), (np.arange(250) % 3).tolist(), strict=True))
    ranks = reference.ranks_of_positives(x, labels, keys=keys)
    found = retrieval(
        x, labels, ks=(1, 5, 40), exclude=keys, extra_metrics=extra_metrics, memory_mib=16
    )
    agrees(found, ranks)
    means = {name: values.mean() for name, values in found.per_query.items()}
    assert means["NDCG@40"] == pytest.approx(reference.ndcg_at(ranks, 40))
    assert means["P@5"] == pytest.approx(reference.precision_at(ranks, 5))


def test_persons_are_not_found_by_the_same_camera():
    # The nearest of each is the same person by the same camera, which says nothing.
    x = on_circle(0, 1, 20, 40)
    persons, cameras = ["p", "p", "p", "q"], [1, 1, 2, 2]
    keys = list(zip(persons, cameras, strict=True))
    found = retrieval(x, persons, ks=(1,), exclude=keys)
    assert found.neighbours[0, :3].tolist() == [2, 3, -1]
    assert found.first_positive.tolist() == [1, 1, 1, 0] and found.excluded == 1


def test_ks_may_be_numpys(tmp_path):
    x, labels = planted(40)
    found = retrieval(x, labels, ks=np.array([2, 1]), unfinished=tmp_path / "unfinished")
    assert json.loads(json.dumps(found.recall)) == {
        str(k): share for k, share in retrieval(x, labels, ks=(1, 2)).recall.items()
    }


def test_an_interrupted_search_continues_where_it_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(_neighbours, "UNIT", 20)
    x, labels = planted(90)
    whole, folder = retrieval(x, labels), tmp_path / "unfinished"
    done = []

    def stopped(count):
        done.append(count)
        if sum(done) > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrieval(x, labels, advance=stopped, unfinished=folder)
    assert len(list(folder.glob("*.part"))) == 2
    searched = []
    monkeypatch.setattr(
        _neighbours, "nearest", lambda q, *rest: searched.append(len(q)) or search(q, *rest)
    )
    counted = []
    found = retrieval(x, labels, advance=counted.append, unfinished=folder)
    assert sum(searched) == 50 and sum(counted) == 90 and not folder.exists()
    assert found.recall == whole.recall and found.map_at_r == whole.map_at_r
    assert (found.neighbours == whole.neighbours).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"extra_metrics": ("recal",)},
            "extra_metrics must be one of precision, map, ndcg, full_map; got 'recal'",
        ),
        ({"memory_mib": 1}, "memory_mib must be at least 16; got 1"),
        ({"exclude": [1]}, "exclude must be 3 labels"),
        ({"gallery_exclude": [1, 2, 3]}, "exclude and gallery_exclude go together"),
        ({"gallery_labels": [0, 0, 1]}, "gallery_labels need a gallery"),
        ({"labels": [{1}, {1}, 1]}, "all sets"),
    ],
)
def test_says_what_is_wrong_with_the_options(change, message):
    options = {"embeddings": on_circle(0, 1, 2), "labels": [0, 0, 1], **change}
    with pytest.raises(ValueError, match=message):
        retrieval(**options)


def test_sets_of_labels_have_metrics_by_class():
    labels = [{"red", "car"}, {"car"}, {"red", "car"}, {"blue"}]
    found = retrieval(on_circle(0, 1, 2, 3), labels, ks=(1,))
    assert found.by_class()[frozenset({"car"})]["R@1"] == 1 and found.excluded == 1


def test_queries_with_the_same_frequent_label_are_no_independent_ones():
    words = ["red car", "red shoe", "shoe", "red old", "red", "old shoe"]
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    found = retrieval(vectors, [set(word.split()) for word in words])
    # Four are red, three are shoes and two are old.
    assert [found.groups.tolist().index(group) for group in found.groups] == [0, 0, 2, 0, 0, 2]
    values = found.per_query["MRR"][:, None]
    assert found.metrics()["MRR"]["low"] == class_interval(values, list("rrsrrs"))[0, 0]
    assert len(set(found.classes)) == 6
    single = retrieval(vectors, list("ababab"))
    np.testing.assert_array_equal(single.groups, single.classes)
