"""`dml embed` writes a file of vectors."""

import pandas as pd
import pytest

import dml.encoding._collection as collection
from dml.cli import main
from tests.bundles import write_bundle, write_images


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    return tmp_path


def test_says_what_it_has_written(here, capsys):
    (here / "photos" / "class 1" / "2.png").write_bytes(b"no image")
    assert main(["embed", "bundle", "photos", "--out", "out.parquet"]) == 0
    assert len(pd.read_parquet("out.parquet")) == 11
    printed = capsys.readouterr()
    first, second, third = printed.out.splitlines()
    assert printed.err == "" and first == "11 vectors of 6 numbers: out.parquet"
    assert second.endswith("listed in out.parquet.unreadable.csv:") and "2.png" in third


def test_an_interruption_says_how_to_continue(here, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(collection, "write_vectors", interrupted)
    assert main(["embed", "bundle", "photos", "--out", "out.parquet"]) == 130
    assert "the same command continues" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sources, out, words",
    [
        ("photos", "out.csv", "--out must end in .parquet; got out.csv"),
        ("nowhere", "out.parquet", "nowhere: no such file, folder or pattern"),
        ("photos", "photos.parquet", "photos.parquet: a folder; choose another --out"),
    ],
)
def test_bad_input_is_one_line(here, capsys, sources, out, words):
    (here / "photos.parquet").mkdir()
    assert main(["embed", "bundle", sources, "--out", out]) == 2
    assert capsys.readouterr().err == f"dml: {words}\n"
