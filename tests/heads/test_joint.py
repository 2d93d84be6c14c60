"""Several heads on one embedding."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.heads import Head, JointHead, MemoryHead, ProxyHead, SampledProxyHead


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


class Noting(Head):
    """Notes in which steps it takes part."""

    classes = 3

    def __init__(self):
        super().__init__()
        self.noted = []

    def prepare_step(self, targets):
        self.noted.append(targets)

    def finish_step(self):
        self.noted.append("end")


def test_its_heads_take_part_in_each_step():
    head = JointHead([None, Noting(), MemoryHead(4, 2)], dims=[0, 0, 0])
    head.prepare_step([0, 1])
    head.finish_step()
    assert head.heads[1].noted == [[0, 1], "end"] and head.classes == 3


def test_all_heads_must_take_the_labels_of_the_batch():
    with pytest.raises(ValueError, match="labels as they are, and SampledProxyHead does not"):
        JointHead([SampledProxyHead(4, 2, sample=3)], dims=[0])
