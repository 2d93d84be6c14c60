"""The page of search results: one file in which everything is text or an image."""

from dml.index import ImageNeighbour, ImageSearchResult
from dml.report import write_search_page
from tests.bundles import write_images

EVIL = "<script>alert('&')</script>"


def test_names_labels_ids_and_errors_are_text(tmp_path):
    photo = str(write_images(tmp_path / "photos", 1, 1) / "class 0" / "0.png")
    neighbours = [
        ImageNeighbour(0.91234, True, {"id": EVIL, "label": EVIL, "path": photo}),
        ImageNeighbour(0.5, False, {"id": "b", "label": None, "path": f"{EVIL}.png"}),
        ImageNeighbour(0.25, None, {"id": "c", "label": "", "path": photo}),
        ImageNeighbour(0.125, None, {"id": "d", "label": "", "path": None}),
    ]
    results = [ImageSearchResult(f"missing/{EVIL}", neighbours), ImageSearchResult(photo, [])]
    write_search_page(tmp_path / "found.html", EVIL, results)
    text = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "<script" not in text and text.count("&lt;script&gt;") >= 5
    assert text.count("data:image/jpeg") == 3 and "no such file" in text
    assert "the item has no image" in text
    assert '<b class="same">0.912 same</b>' in text and '<b class="other">0.500 different' in text
    assert "<b>0.250</b>" in text and "Nothing found." in text


def test_it_loads_nothing(tmp_path):
    write_search_page(tmp_path / "found.html", "shop", [])
    text = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "http" not in text.replace("http-equiv", "")
    assert "<link" not in text and "src=" not in text.replace("default-src", "")
