"""`dml compare`: differences of runs on the same images."""

import numpy as np
import pandas as pd
import pytest

from dml.commands.compare import compare
from dml.folders import RunFolder
from dml.recipe import load_recipe

LABELS = np.repeat(np.arange(20), 6)


def run(path, noise, ids=None, seed=0, splits="test", evaluated=True):
    """Makes a run folder whose embeddings are class centres and noise."""
    folder = RunFolder(path).create()
    folder.recipe.write_text(load_recipe("glyphs").to_toml())
    folder.encoder.touch()
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, 8))
    vectors = centres[LABELS] + noise * rng.normal(size=(len(LABELS), 8))
    if evaluated:
        output = folder.evaluation("glyphs")
        output.mkdir(parents=True)
        np.save(output / "vectors.npy", vectors.astype("float32"))
        ids = np.arange(len(LABELS)) if ids is None else ids
        table = {"id": ids.astype(str), "class": LABELS.astype(str), "split": splits}
        pd.DataFrame(table).to_parquet(output / "items.parquet")
    return str(path)


def test_a_large_difference_is_real_and_none_is_not(tmp_path):
    good, bad = run(tmp_path / "good", 0.3), run(tmp_path / "bad", 3.0)
    same = run(tmp_path / "same", 0.3)
    lines = []
    found = compare([bad, good, same], repeats=500, report=lines.append)
    assert found[good]["R@1"]["real"] and found[good]["R@1"]["low"] > 0
    assert found[good] == found[same]
    nothing = compare([good, same], repeats=500, report=lines.append)[same]["MAP@R"]
    assert nothing["difference"] == 0 and not nothing["real"]
    assert any("could be chance" in line for line in lines)


def test_the_difference_is_that_of_the_figures(tmp_path):
    a, b = run(tmp_path / "a", 1.0), run(tmp_path / "b", 1.0, seed=1)
    forth = compare([a, b], repeats=200, report=lambda _: None)[b]["MAP@R"]
    back = compare([b, a], repeats=200, report=lambda _: None)[a]["MAP@R"]
    assert forth["difference"] == pytest.approx(-back["difference"])
    assert forth["value"] - back["value"] == pytest.approx(forth["difference"])
    assert forth["low"] <= forth["difference"] <= forth["high"]


def test_queries_search_their_gallery(tmp_path):
    splits = np.where(np.arange(len(LABELS)) % 2, "query", "gallery")
    a, b = (run(tmp_path / n, 0.3, splits=splits) for n in "ab")
    assert compare([a, b], repeats=100, report=lambda _: None)[b]["R@1"]["difference"] == 0


def test_refuses_what_can_not_be_compared(tmp_path):
    a = run(tmp_path / "a", 1.0)
    other = run(tmp_path / "other", 1.0, ids=np.arange(len(LABELS)) + 5)
    with pytest.raises(ValueError, match="different images"):
        compare([a, other])
    with pytest.raises(FileNotFoundError, match=r"dml evaluate .*raw --on glyphs"):
        compare([a, run(tmp_path / "raw", 1.0, evaluated=False)])
    with pytest.raises(ValueError, match="two runs"):
        compare([a])
