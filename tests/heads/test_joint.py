"""Several heads on one embedding."""

import keras
import numpy as np
from keras import ops

from dml.heads import JointHead, ProxyHead


def test_gives_each_head_its_entries_and_passes_embeddings_on():
    head = JointHead([ProxyHead(3, 2), None], dims=[2, 0])
    head.build((None, 4))
    x = np.array([[3.0, 4.0, 1.0, 1.0]], "float32")
    cosines, embeddings = head(ops.array(x), ops.array([0]))
    alone = head.heads[0](ops.cast([[0.6, 0.8]], "float32"))
    np.testing.assert_allclose(
        ops.convert_to_numpy(cosines), ops.convert_to_numpy(alone), atol=1e-6
    )
    assert ops.convert_to_numpy(embeddings).tolist() == x.tolist()


def test_a_config_stays_as_it_is():
    config = keras.saving.serialize_keras_object(JointHead([ProxyHead(3, 2), None], dims=[2, 0]))
    inner = config["config"]
    for _ in range(2):
        copy = JointHead.from_config(inner)
        assert copy.heads[0].classes == 3 and copy.dims == [2, 0]
