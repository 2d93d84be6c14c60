"""Embedding parts of a list on this machine."""

import numpy as np

from dml.encoding._engines import LocalEngine
from dml.encoding.embed import embed_images
from dml.encoding.onnx_encoder import OnnxEncoder
from tests.bundles import write_bundle, write_images


def test_parts_are_embedded_and_unreadable_images_named(tmp_path):
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    write_images(tmp_path / "photos", classes=1, each=5)
    paths = [str(tmp_path / "photos" / "class 0" / f"{n}.png") for n in range(5)]
    bad = str(tmp_path / "bad.png")
    counts = []
    parts = {3: [*paths[:2], bad], 7: paths[2:]}
    results = dict(LocalEngine(batch_size=2).embed(encoder, parts, counts.append))
    assert list(results) == [3, 7] and sum(counts) == 6
    assert results[3].unreadable == {2: f"{bad}: no such file"} and not results[7].unreadable
    vectors = np.concatenate([results[3].vectors[:2], results[7].vectors])
    np.testing.assert_allclose(vectors, embed_images(encoder, paths), atol=1e-6)
    assert not results[3].vectors[2].any()
