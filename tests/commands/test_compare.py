"""`dml compare`: differences of runs on the same images."""

import numpy as np
import pandas as pd
import pytest

from dml._storage.run_folder import RunFolder
from dml.commands.compare import compare, tabulate
from dml.datasets import Items, RecordedItems
from dml.recipe import load_recipe

LABELS = np.repeat(np.arange(20), 6)


def run(path, noise, ids=None, seed=0, splits="test", evaluated=True, flags=(), digest="0"):
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
        table = {"id": ids, "class": LABELS.astype(str), "split": splits}
        pd.DataFrame(table).to_parquet(output / "items.parquet")
        folder.record(output / "vectors.npy", output / "items.parquet")
    return str(path)


def test_a_large_difference_is_real_and_none_is_not(tmp_path):
    good, bad = run(tmp_path / "good", 0.3), run(tmp_path / "bad", 3.0)
    same = run(tmp_path / "same", 0.3)
    lines = []
    found = compare([bad, good, same], report=lines.append)
    assert found[good]["R@1"]["real"] and found[good]["R@1"]["low"] > 0
    assert found[good] == found[same]
    nothing = compare([good, same], report=lines.append)[same]["MAP@R"]
    assert nothing["difference"] == 0 and not nothing["real"]
    assert any("could be chance" in line for line in lines)


def test_the_difference_is_that_of_the_figures(tmp_path):
    a, b = run(tmp_path / "a", 1.0), run(tmp_path / "b", 1.0, seed=1)
    forth = compare([a, b], report=lambda _: None)[b]["MAP@R"]
    back = compare([b, a], report=lambda _: None)[a]["MAP@R"]
    assert forth["difference"] == pytest.approx(-back["difference"])
    assert forth["value"] - back["value"] == pytest.approx(forth["difference"])
    assert forth["low"] <= forth["difference"] <= forth["high"]


def test_queries_search_their_gallery(tmp_path):
    splits = np.where(np.arange(len(LABELS)) % 2, "query", "gallery")
    a, b = (run(tmp_path / n, 0.3, splits=splits) for n in "ab")
    assert compare([a, b], report=lambda _: None)[b]["R@1"]["difference"] == 0


def test_the_table_has_a_row_for_each_setting_and_the_best_is_first(tmp_path):
    seeds = [["--training.seed", str(seed)] for seed in range(3)]
    bad = [run(tmp_path / f"bad-{n}", 3.0, seed=n, flags=seeds[n]) for n in range(3)]
    flags = ["--loss.name", "proxy_nca", "--loss.scale", "5", "--auxiliary_loss.name", "center"]
    good = run(tmp_path / "good", 0.3, flags=flags)
    lines = []
    tabulate([*bad, good], report=lines.append)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-2:]]
    assert lines[0] == "glyphs: 120 queries of 20 classes"
    assert rows[0][:3] == ["good", "proxy_nca: scale 5.0 + center", "1"]
    assert rows[1][0] == "bad" and rows[1][2] == "3"
    alone = [compare([good, one], report=lines.append)[one] for one in bad]
    for place, figure in ((3, "R@1"), (5, "MAP@R")):
        values = 100 * np.array([one[figure]["value"] for one in alone])
        assert rows[1][place] == f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
        low, high = map(float, rows[1][place + 1].split(" - "))
        assert low < values.mean() < high


def test_refuses_what_can_not_be_compared(tmp_path):
    a = run(tmp_path / "a", 1.0)
    other = run(tmp_path / "other", 1.0, ids=np.arange(len(LABELS)) + 5)
    with pytest.raises(ValueError, match="different images"):
        compare([a, other])
    namesake = run(tmp_path / "namesake", 1.0, digest="1")
    with pytest.raises(ValueError, match="different images"):
        compare([a, namesake])
    with pytest.raises(FileNotFoundError, match=r"`dml evaluate .*raw`"):
        compare([a, run(tmp_path / "raw", 1.0, evaluated=False)])
    with pytest.raises(ValueError, match="two runs"):
        compare([a])
