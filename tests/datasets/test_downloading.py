"""Downloads survive bad connections, and downloaded files are checked."""

import functools
import hashlib
import http.server
import shutil
import tarfile
import threading
from pathlib import Path

import pytest

from dml.datasets import DATASETS, download
from dml.datasets._downloading import _unpack
from dml.datasets.base import Archive
from dml.errors import DataError, OptionError, StorageError
from tests.reporters import Lines
from tests.storage.durability import Journal


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
    reporter = Lines()
    assert download(dataset, reporter) == Path(dataset.root)
    return "\n".join(reporter)


def test_downloads_checks_and_unpacks(served):
    dataset, state, folder = served
    assert "unpacked small.tgz" in fetched(dataset)
    assert (folder / "Small" / "data.txt").read_text().startswith("an image")
    assert "exists already" in fetched(dataset)
    assert len(state["requests"]) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_continues_where_the_connection_ended(served, ranges):
    dataset, state, folder = served
    state.update(most=400, ranges=ranges)
    with pytest.raises(StorageError, match="run it again to continue"):
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
    with pytest.raises(DataError, match="the checksum is not sha256:000"):
        fetched(other)
    assert not list(folder.iterdir())


def test_an_archive_is_put_in_place_durably(served, monkeypatch):
    dataset, _, folder = served
    journal = Journal(monkeypatch)
    fetched(dataset)
    journal.require_durable(folder / "small.tgz")
    assert journal.is_flushed(folder.parent, journal.events)  # the folder is new


def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path):
    (tmp_path / "evil").write_text("x")
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "evil", "../written")
    with pytest.raises(DataError, match=r"a\.tar: can't be unpacked"):
        _unpack(tmp_path / "a.tar", tmp_path / "data")
    assert not (tmp_path / "written").exists()


def test_an_error_of_the_server_is_one_line(served):
    dataset, state, _ = served
    state["status"] = 503
    with pytest.raises(StorageError, match="the server answers 503"):
        fetched(dataset)


def test_data_sets_without_an_address_say_where_they_are_from():
    with pytest.raises(
        DataError, match=r"sop: no public address .*Products\.zip.*DML_DATA/Stanford_"
    ):
        fetched(DATASETS["sop"]())
    with pytest.raises(DataError, match=r"needs no files$"):
        fetched(DATASETS["glyphs"]())


def test_needs_a_place_to_put_it(monkeypatch):
    monkeypatch.delenv("DML_DATA", raising=False)
    with pytest.raises(OptionError, match=r"dataset\.root must name the folder"):
        fetched(DATASETS["cub200"]())
