"""The checks of a weighted sum; its values are in test_multiple.py."""

import pytest

from dml.errors import OptionError
from dml.losses import Contrastive, ProxyAnchor
from dml.losses._sum import SumOfLosses


def test_takes_a_relation_only_if_all_of_its_losses_do():
    assert SumOfLosses([Contrastive()]).takes_relation()
    assert not SumOfLosses([Contrastive(), ProxyAnchor()]).takes_relation()


@pytest.mark.parametrize(
    ("losses", "weights", "option"),
    [
        ([], None, "losses"),
        ([Contrastive()], [1.0, 2.0], "weights"),
        ([Contrastive()], [-1.0], "weights"),
        ([Contrastive()], [float("nan")], "weights"),
        ([Contrastive()] * 2, [1.0, float("nan")], "weights"),
        ([Contrastive()] * 2, [1.0, float("inf")], "weights"),
    ],
)
def test_the_option_at_fault_is_named(losses, weights, option):
    with pytest.raises(OptionError) as raised:
        SumOfLosses(losses, weights)
    assert raised.value.option == option
