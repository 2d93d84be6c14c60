"""`dml demo` is `dml run glyphs --serve`, in a folder of its own."""

from dml.cli import main


def test_goes_the_whole_way(called):
    assert main(["demo"]) == 0
    assert called == [("of", "glyphs", "runs/demo", None, ()), "run", "serve"]


def test_can_stop_before_the_page(called):
    assert main(["demo", "--out", "here", "--no-page"]) == 0
    assert called == [("of", "glyphs", "here", None, ()), "run"]
