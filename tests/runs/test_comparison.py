"""Differences of runs on the same images, and runs that differ in their seed."""

import shutil

import numpy as np
import pandas as pd
import pytest

from dml._storage.records import write_json
from dml._storage.run_folder import RunFolder
from dml.datasets import Items, RecordedItems
from dml.errors import DataError, MissingDataError
from dml.evaluation import retrieval
from dml.recipe import load_recipe
from dml.runs import Evaluation
from dml.runs._comparison import differences, read_scored_runs, summarize_settings

LABELS = np.repeat(np.arange(20), 6)


def write_run(
    path, noise, ids=None, seed=0, splits="test", evaluated=True, flags=(), digest="0", **fields
):
    """Makes a run folder whose embeddings are class centres and noise."""
    folder = RunFolder(path).create()
    folder.recipe.write_text(load_recipe("glyphs", flags).to_toml())
    folder.begin(folder.recipe.read_text(), ())
    ids = (np.arange(len(LABELS)) if ids is None else ids).astype(str)
    items = Items.build(ids, LABELS.tolist(), "test", ids, "zero-shot")
    RecordedItems(items, np.full(len(ids), digest, object)).write(folder.items)
    folder.record(folder.items)
    folder.encoder.touch()
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, 8))
    vectors = centres[LABELS] + noise * rng.normal(size=(len(LABELS), 8))
    if evaluated:
        output = folder.evaluation("glyphs")
        output.mkdir(parents=True)
        np.save(output / "vectors.npy", vectors.astype("float32"))
        table = {"id": ids, "path": ids, "class": LABELS.astype(str), "split": splits}
        pd.DataFrame(table).to_parquet(output / "items.parquet")
        protocol = "zero-shot" if isinstance(splits, str) else "query-gallery"
        evaluation = Evaluation(output, "glyphs", protocol, 120, 0, 120, 20, {}, **fields)
        write_json(output / "metrics.json", evaluation.to_json())
        folder.record(*output.iterdir())
    return str(path)


def difference(*paths):
    return differences(*read_scored_runs(paths))


def test_a_large_difference_is_real_and_none_is_not(tmp_path):
    good, bad = write_run(tmp_path / "good", 0.3), write_run(tmp_path / "bad", 3.0)
    same = write_run(tmp_path / "same", 0.3)
    better = difference(bad, good)
    assert better["R@1"].is_real and better["R@1"].low > 0
    assert better == difference(bad, same)
    nothing = difference(good, same)["MAP@R"]
    assert nothing.difference == 0 and not nothing.is_real


def test_the_difference_is_that_of_the_metrics(tmp_path):
    a, b = write_run(tmp_path / "a", 1.0), write_run(tmp_path / "b", 1.0, seed=1)
    forth, back = difference(a, b)["MAP@R"], difference(b, a)["MAP@R"]
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.value - back.value == pytest.approx(forth.difference)
    assert forth.low <= forth.difference <= forth.high


def test_scores_are_those_of_the_vectors(tmp_path):
    path = write_run(tmp_path / "a", 1.0)
    (run,) = read_scored_runs([path])
    vectors = np.load(tmp_path / "a" / "evaluation" / "glyphs" / "vectors.npy")
    assert run.name == path and run.dataset == "glyphs"
    assert run.means["R@1"] == pytest.approx(retrieval(vectors, LABELS, (1,)).recall[1])


def test_queries_search_their_gallery(tmp_path):
    splits = np.where(np.arange(len(LABELS)) % 2, "query", "gallery")
    (run,) = read_scored_runs([write_run(tmp_path / "a", 0.3, splits=splits)])
    vectors = np.load(tmp_path / "a" / "evaluation" / "glyphs" / "vectors.npy")
    query = splits == "query"
    expected = retrieval(
        vectors[query],
        LABELS[query],
        (1,),
        gallery=vectors[~query],
        gallery_labels=LABELS[~query],
    )
    assert len(run.values) == 60 and run.means["MAP@R"] == pytest.approx(expected.map_at_r)


def test_runs_of_other_seeds_are_one_setting(tmp_path):
    seeds = [["--training.seed", str(seed)] for seed in range(3)]
    bad = [write_run(tmp_path / f"bad-{n}", 3.0, seed=n, flags=seeds[n]) for n in range(3)]
    good = write_run(tmp_path / "good", 0.3, flags=["--loss.name", "proxy_nca"])
    first, second = summarize_settings(read_scored_runs([*bad, good]))
    assert [run.name for run in first.runs] == bad and [run.name for run in second.runs] == [good]
    for metric in ("R@1", "MAP@R"):
        values = np.array([run.means[metric] for run in first.runs])
        summary = first.metrics[metric]
        assert summary.mean == pytest.approx(values.mean())
        assert summary.deviation == pytest.approx(values.std(ddof=1))
        assert summary.low < summary.mean < summary.high
        assert second.metrics[metric].deviation is None


def test_what_does_not_affect_the_training_is_no_other_setting(tmp_path):
    free = ["--dataset.root", "moved", "--training.threads", "3", "--evaluation.ks", "1"]
    changes = [[], free, ["--evaluation.exclude", "camera"]]
    runs = [
        write_run(tmp_path / str(n), 1.0, seed=n, flags=["--training.seed", str(n), *changed])
        for n, changed in enumerate(changes)
    ]
    found = summarize_settings(read_scored_runs(runs))
    assert [[run.name for run in setting.runs] for setting in found] == [runs[:2], runs[2:]]


def test_a_copy_is_not_another_seed(tmp_path):
    original = write_run(tmp_path / "original", 1.0)
    again = write_run(tmp_path / "again", 1.0, seed=1)  # the same seed, computed otherwise
    assert len(summarize_settings(read_scored_runs([original, again]))) == 1
    copied = str(tmp_path / "copied")
    shutil.copytree(original, copied)
    with pytest.raises(DataError, match=r"copied: a copy of .*original, not another seed"):
        summarize_settings(read_scored_runs([original, again, copied]))


def test_refuses_what_can_not_be_compared(tmp_path):
    a = write_run(tmp_path / "a", 1.0)
    other = write_run(tmp_path / "other", 1.0, ids=np.arange(len(LABELS)) + 5)
    with pytest.raises(DataError, match="different images"):
        read_scored_runs([a, other])
    namesake = write_run(tmp_path / "namesake", 1.0, digest="1")
    with pytest.raises(DataError, match="different images"):
        read_scored_runs([a, namesake])
    with pytest.raises(MissingDataError, match=r"`dml evaluate .*raw`"):
        read_scored_runs([a, write_run(tmp_path / "raw", 1.0, evaluated=False)])
