"""`dml data check` finds what is wrong, `dml data get` survives bad connections."""

import functools
import hashlib
import http.server
import shutil
import tarfile
import threading

import pytest

from dml.commands.data import check, get, run, unpack
from dml.datasets import DATASETS
from dml.datasets.base import Archive
from tests.datasets.layouts import folder


def checked(root, **options):
    lines = []
    dataset = DATASETS["folder"](root=str(root), test_fraction=0.4, **options)
    try:
        check(dataset, lines.append)
    except ValueError as error:
        lines.append(f"error: {error}")
    return "\n".join(lines)


def test_counts_sizes_and_names_of_a_sound_data_set(tmp_path):
    text = checked(folder(tmp_path))
    assert "folder (zero-shot): 10 images" in text
    assert "test            4 images of 2 classes" in text
    assert "unreadable images: 0" in text and "error" not in text
    assert "shorter side: 20 to 20 pixels" in text


def test_unreadable_images_are_named(tmp_path):
    file = folder(tmp_path) / "class 1" / "deep" / "2.png"
    file.write_bytes(file.read_bytes()[:100])
    text = checked(tmp_path)
    assert "unreadable images: 1" in text and "2.png" in text
    assert "error: 1 of 10 images can't be read" in text


def test_lone_images_are_named(tmp_path):
    (folder(tmp_path) / "class 3" / "deep" / "6.png").unlink()
    assert "classes with one image: 1\n  class 3" in checked(tmp_path)


def test_duplicates_across_splits_are_named_by_bytes_and_by_pixels(tmp_path):
    folder(tmp_path)
    dataset = DATASETS["folder"](root=str(tmp_path), test_fraction=0.4)
    items = dataset.items()
    trained, tested = items.select("train").paths[0], items.select("test").paths[0]
    shutil.copy(trained, tested)
    text = checked(tmp_path)
    assert "images with equal bytes: 2 in 1 groups, 1 of which lie in more than one" in text
    assert "images with equal decoded pixels: 2 in 1 groups, 1 of which lie in more" in text
    import cv2

    cv2.imwrite(tested, cv2.imread(trained), [cv2.IMWRITE_PNG_COMPRESSION, 1])  # other bytes
    text = checked(tmp_path)
    assert "images with equal bytes: 0" in text
    assert "images with equal decoded pixels: 2 in 1 groups, 1 of which" in text


def test_duplicates_within_a_split_are_counted_and_not_called_across(tmp_path):
    folder(tmp_path)
    trained = DATASETS["folder"](root=str(tmp_path), test_fraction=0.4).items().select("train")
    shutil.copy(trained.paths[0], trained.paths[1])
    text = checked(tmp_path, validation_fraction=0.0)
    assert "images with equal bytes: 2 in 1 groups, 0 of which lie in more than one" in text


def test_drawn_images_can_be_checked(capsys):
    lines = []
    run("check", "glyphs", ["--dataset.classes", "4", "--dataset.samples", "2"], lines.append)
    assert lines[0] == "glyphs (zero-shot): 8 images"
    assert capsys.readouterr().err == ""  # the bar is for terminals


def test_other_flags_are_refused():
    with pytest.raises(ValueError, match="--dataset options only"):
        run("check", "glyphs", ["--loss.name", "triplet"])
    with pytest.raises(ValueError, match="Did you mean 'glyphs'"):
        run("check", "glyphz", [])


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one body, from an offset if asked, and may end early."""

    def __init__(self, body, state, *arguments):
        self.body, self.state = body, state
        super().__init__(*arguments)

    def do_GET(self):
        start = 0
        wanted = self.headers.get("Range")
        self.state["requests"].append(wanted)
        if wanted and self.state["ranges"]:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(self.body):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(self.state["status"])
        rest = self.body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.state["most"]])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """Yields (data set on a loopback server, its state, its folder)."""
    inside = tmp_path / "made" / "data.txt"
    inside.parent.mkdir()
    inside.write_text("an image\n" * 50_000)
    with tarfile.open(tmp_path / "small.tgz", "w:gz") as archive:
        archive.add(inside, "Small/data.txt")
    body = (tmp_path / "small.tgz").read_bytes()
    state = {"requests": [], "ranges": True, "status": 200, "most": None}
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Server, body, state)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    archive = Archive(
        f"http://127.0.0.1:{server.server_port}/small.tgz",
        f"sha256:{hashlib.sha256(body).hexdigest()}",
    )
    kind = type("Small", (DATASETS["sop"],), {"archives": (archive,)})
    yield kind(root=str(tmp_path / "data")), state, tmp_path / "data"
    server.shutdown()
    server.server_close()


def fetched(dataset):
    lines = []
    get(dataset, lines.append)
    return "\n".join(lines)


def test_downloads_checks_and_unpacks(served):
    dataset, state, folder = served
    assert "unpacked small.tgz" in fetched(dataset)
    assert (folder / "Small" / "data.txt").read_text().startswith("an image")
    assert "is here already" in fetched(dataset)
    assert len(state["requests"]) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_the_connection_ended(served, ranges):
    dataset, state, folder = served
    state.update(most=400, ranges=ranges)
    with pytest.raises(OSError, match="run it again to go on"):
        fetched(dataset)
    assert (folder / "small.tgz.part").stat().st_size == 400
    assert not (folder / "small.tgz").exists()
    state["most"] = None
    fetched(dataset)
    assert state["requests"][-1] == "bytes=400-"
    assert (folder / "Small" / "data.txt").exists()


def test_a_whole_part_is_not_fetched_again(served, tmp_path):
    dataset, state, folder = served
    folder.mkdir()
    shutil.copy(tmp_path / "small.tgz", folder / "small.tgz.part")
    fetched(dataset)
    assert state["requests"] == [f"bytes={(folder / 'small.tgz').stat().st_size}-"]


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(served):
    dataset, _, folder = served
    kind = type(dataset)
    wrong = Archive(kind.archives[0].url, "sha256:" + "0" * 64)
    other = type("Other", (kind,), {"archives": (wrong,)})(root=str(folder))
    with pytest.raises(ValueError, match="the checksum is not sha256:000"):
        fetched(other)
    assert not list(folder.iterdir())


def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path):
    (tmp_path / "evil").write_text("x")
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "evil", "../written")
    with pytest.raises(ValueError, match=r"a\.tar: can't be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "data")
    assert not (tmp_path / "written").exists()


def test_an_error_of_the_server_is_one_line(served):
    dataset, state, _ = served
    state["status"] = 503
    with pytest.raises(OSError, match="the server answers 503"):
        fetched(dataset)


def test_data_sets_without_an_address_say_where_they_are_from():
    with pytest.raises(ValueError, match=r"no public address .*Products\.zip.*DML_DATA/Stanford_"):
        fetched(DATASETS["sop"]())
    with pytest.raises(ValueError, match=r"needs no files$"):
        fetched(DATASETS["glyphs"]())


def test_needs_a_place_to_put_it(monkeypatch):
    monkeypatch.delenv("DML_DATA", raising=False)
    with pytest.raises(ValueError, match="where to"):
        fetched(DATASETS["cub200"]())
