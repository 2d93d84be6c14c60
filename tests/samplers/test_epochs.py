"""The batches and the random order of an epoch."""

import pytest

from dml.errors import OptionError
from dml.samplers._epochs import epoch_generator, full_batches


def test_a_batch_that_is_not_full_is_left_out():
    assert full_batches(7, 3) == 2 and full_batches(3, 3) == 1
    with pytest.raises(
        OptionError, match=r"sampler\.batch_size is 3, above the 2 training images"
    ) as error:
        full_batches(2, 3)
    assert error.value.option == "sampler.batch_size"


def test_each_epoch_has_an_order_of_its_own_that_the_seed_decides():
    def order(seed, epoch):
        return epoch_generator(seed, epoch).permutation(50).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*key)) for key in [(0, 0), (0, 1), (1, 0)]}) == 3
