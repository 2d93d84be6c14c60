"""Positions of another grid equal those that PyTorch interpolates."""

import numpy as np
import pytest

from dml.backbones._tower import interpolated_positions


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("old, new", [(7, 4), (4, 7), (6, 6), (37, 16)])
def test_positions_equal_pytorchs(old, new, antialias):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=(2 + old * old, 3)).astype("float32")
    grid = torch.tensor(values[2:].reshape(1, old, old, 3)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(
        grid, size=(new, new), mode="bicubic", align_corners=False, antialias=antialias
    )
    found = interpolated_positions(values, new, first=2, antialias=antialias)
    np.testing.assert_array_equal(found[:2], values[:2])
    patches = expected[0].permute(1, 2, 0).reshape(new * new, 3).numpy()
    np.testing.assert_allclose(found[2:], patches, atol=1e-5)
