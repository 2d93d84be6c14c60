"""The embedding starts as principal components: hand calculation and scikit-learn."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD

from dml.backbones import Conv4
from dml.encoding._pca import principal_components, set_principal_components
from dml.encoding._stages import feature_encoder
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import ArrayError, OptionError


def correlated(count=200, dim=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(2.0, 1.0, (count, dim)) @ rng.normal(size=(dim, dim))


def cosines(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def test_directions_by_hand():
    # Moments of (3, 0) and (0, 1): 9 / 2 along the first axis and 1 / 2 along the second.
    features = np.array([[3.0, 0.0], [0.0, -1.0]])
    np.testing.assert_allclose(principal_components(features, 2), np.eye(2))
    np.testing.assert_allclose(principal_components(features, 1), [[1.0], [0.0]])
    # Whitened, the columns are as 1 to 3, and their mean square length is 1.
    scales = np.array([1.0, 3.0]) * np.sqrt(2 / 10)
    np.testing.assert_allclose(principal_components(features, 2, True), np.diag(scales), rtol=1e-6)


def test_projections_are_those_of_scikit_learn():
    x = correlated()
    expected = TruncatedSVD(3, algorithm="arpack", random_state=0).fit_transform(x)
    found = x @ principal_components(x, 3)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-4)


def test_whitened_projections_have_equal_mean_squares():
    squares = np.square(correlated() @ principal_components(correlated(), 4, True)).mean(axis=0)
    np.testing.assert_allclose(squares, squares[0], rtol=1e-4)


@pytest.mark.parametrize("dim", [6, 9])
def test_all_components_keep_the_similarities(dim):
    x = correlated()
    columns = principal_components(x, dim)
    assert columns.shape == (6, dim) and not columns[:, 6:].any()
    np.testing.assert_allclose(cosines(x @ columns), cosines(x), atol=1e-5)


def test_few_images_leave_the_rest_of_the_space_as_it_is():
    features = np.array([[3.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    np.testing.assert_allclose(principal_components(features, 3), np.eye(3), atol=1e-7)
    x, others = correlated()[:2], correlated(seed=1)  # which lie in other directions, too
    np.testing.assert_allclose(
        cosines(others @ principal_components(x, 6)), cosines(others), atol=1e-5
    )
    # 20 images span 20 of 300 directions; 200 columns keep the similarities of others roughly.
    x, others = (np.random.default_rng(seed).normal(size=(20, 300)) for seed in (0, 1))
    columns = principal_components(x, 200)
    # Those of the images are of length 1; 180 others stand for 280 dimensions.
    squares = np.repeat([1, 280 / 180], [20, 180])
    np.testing.assert_allclose(columns.T @ columns, np.diag(squares), atol=1e-5)
    assert np.abs(cosines(others @ columns) - cosines(others)).max() < 0.15


def test_directions_without_variance_are_not_magnified():
    x = correlated()
    x[:, 3:] = x[:, :3]  # rank 3
    columns = principal_components(x, 6, whiten=True)
    assert not columns[:, 3:].any() and np.isfinite(columns).all()


def test_invalid_features_are_refused():
    for bad in (np.zeros((0, 3)), np.array([[1.0, np.nan]])):
        with pytest.raises(ArrayError, match="features must be finite and not empty"):
            principal_components(bad, 2)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_encoder_starts_with_the_similarities_of_its_features(layer_norm):
    options = EmbeddingOptions(dim=64, layer_norm=layer_norm)
    encoder = build_encoder(Conv4(input_size=32, resize_side=32), options)
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
    features = keras.ops.convert_to_numpy(feature_encoder(encoder)(images))
    set_principal_components(encoder, features)
    expected = features
    if layer_norm:
        spread = np.sqrt(features.var(axis=1, keepdims=True) + 1e-3)
        expected = (features - features.mean(axis=1, keepdims=True)) / spread
    vectors = keras.ops.convert_to_numpy(encoder(images))
    np.testing.assert_allclose(vectors @ vectors.T, cosines(expected), atol=1e-4)


def test_whitening_is_of_components():
    with pytest.raises(OptionError, match="pca_whiten is for the principal components"):
        EmbeddingOptions(init="random", pca_whiten=True)
