"""The queries of a report: which are shown, and marked as right or wrong."""

import re

import numpy as np
import pytest

from dml.report import render_report
from dml.report._queries import DRAWN, NEIGHBOURS, WORST, Queries
from tests.report.example import colour, example


def verdicts(query):
    return [shot.right for shot in query.shots]


def test_neighbours_of_the_query_s_class_are_right():
    data = example()
    drawn = Queries(data).drawn()
    assert len(drawn.rows) == len(data.labels) < DRAWN
    for query in drawn.rows:
        assert query.shots[0].right is None and len(query.shots) == 1 + NEIGHBOURS
        own = re.fullmatch(r"Query of class (bird \d)", query.shots[0].description)[1]
        assert own == query.name == f"bird {query.code}"
        for shot in query.shots[1:]:
            name = re.search(
                r"(bird \d), (right|wrong), similarity -?[01]\.\d\d$", shot.description
            )
            assert shot.right is (name[1] == own) is (name[2] == "right")
            assert shot.caption == name[1]
        assert query.right is query.shots[1].right


def test_counts_right_queries_and_names_their_classes():
    data = example()
    right = int((data.first_positive == 1).sum())
    assert 0 < right < 20
    drawn = Queries(data).drawn()
    assert drawn.right == right and len(drawn.rows) == 20
    assert [choice.name for choice in drawn.classes] == [f"bird {code}" for code in range(4)]
    text = render_report(data)
    assert f"All {20}<" in text and f"✓ Right {right}<" in text and f"✗ Wrong {20 - right}<" in text


def test_right_and_wrong_have_different_signs_and_not_only_colours():
    text = render_report(example())
    for sign, verdict in (("✓", "right"), ("✗", "wrong")):
        assert text.count(f">{sign}</span>") == text.count(f'class="shot {verdict}"') > 0


def test_worst_queries_end_with_the_answer():
    data = example(spread=2.0)
    queries = Queries(data).worst()
    worst = sorted(data.first_positive[data.first_positive > 1])[::-1][:WORST]
    assert [query.rank for query in queries] == worst and len(queries) == WORST
    for query in queries:
        answer = query.shots[-1]
        assert query.has_answer and answer.right is True
        assert answer.description.startswith(f"First of its class, at rank {query.rank}: ")
        assert answer.caption == f"rank {query.rank}"


def test_no_worst_queries_where_all_are_right():
    assert Queries(example(first_positive=np.ones(20, int))).worst() == []


def test_none_are_drawn_without_queries_or_neighbours():
    nobody = example(first_positive=np.zeros(20, int))
    assert Queries(nobody).drawn() is None and Queries(nobody).worst() == []
    assert Queries(example(neighbours=np.zeros((20, 0), int))).drawn() is None


def test_a_query_may_have_no_neighbours():
    data = example(spread=2.0)
    empty = np.full_like(data.neighbours, -1)
    queries = Queries(example(spread=2.0, neighbours=empty))
    assert queries.drawn().right == 0 and not any(row.right for row in queries.drawn().rows)
    assert all(len(row.shots) == 2 for row in queries.worst())  # the query and its answer
    none = Queries(example(spread=2.0, neighbours=empty[:, :0]))
    assert [row.rank for row in none.worst()] == [row.rank for row in queries.worst()]


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_an_unreadable_image_becomes_a_box(error):
    def thumbnail(row):
        if row == 3:
            raise error("truncated")
        return colour(row)

    text = render_report(example(thumbnail=thumbnail))
    assert '<span class="missing" role="img" aria-label="Query of class bird 0">' in text
    assert text.count("data:image/jpeg") > 100


def test_reads_each_image_once():
    read = []

    def thumbnail(row):
        read.append(row)
        return colour(row)

    queries = Queries(example(thumbnail=thumbnail))
    queries.drawn()
    queries.worst()
    assert len(read) == len(set(read))


def test_query_and_gallery_images_are_not_mixed_up():
    data = example(gallery=True)
    own, near = Queries(data).query(0, 1).shots
    found = int(data.neighbours[0, 0])
    queries = Queries(example(thumbnail=lambda row: 255 - colour(row)))
    assert own.uri == Queries(example()).uri(0) and near.uri == queries.uri(found)
    assert own.uri != near.uri


def test_label_issues_are_counted_and_shown():
    data = example(samples=20, spread=0.3)
    vectors, labels = data.vectors.copy(), data.labels.copy()
    vectors[1] = vectors[0]
    other = int(np.flatnonzero(labels != labels[5])[0])
    labels[5] = labels[other]
    issues = Queries(example(samples=20, spread=0.3, vectors=vectors, labels=labels)).label_issues()
    assert issues.mislabelled_count == 1 and issues.duplicate_count == 1
    (doubt,), (twins,) = issues.mislabelled, issues.duplicates
    assert doubt.title == f"bird {labels[5]}?" and twins.fact == "similarity 1.0000"
    assert [shot.caption for shot in doubt.shots] == [f"labelled bird {labels[5]}", "bird 0"]


def test_names_of_classes_are_text():
    names = ["<script>alert(1)</script>", '"><img src=x>', "a & b", "ok"]
    text = render_report(example(class_names=names, spread=2.0))
    assert "<script" not in text and '"><img src=x>' not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "a &amp; b" in text
    assert 'data-class="&#34;&gt;&lt;img src=x&gt;"' in text
