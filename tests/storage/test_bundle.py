"""A bundle names all its files."""

from dml._storage.atomic import new_folder
from dml._storage.bundle import Bundle


def test_a_bundle_described_while_it_is_written_is_whole(tmp_path):
    with new_folder(tmp_path / "bundle") as temporary:
        bundle = Bundle(temporary)
        bundle.encoder.write_bytes(b"encoder")
        bundle.describe({})
    assert list(Bundle(tmp_path / "bundle").open()["files"]) == ["encoder.onnx"]
