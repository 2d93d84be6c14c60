"""The loss with the wrappers that a recipe adds."""

import numpy as np
import pytest
from keras import ops

from dml.errors import OptionError
from dml.losses import Contrastive, CrossBatchMemory, Matryoshka, MultipleLosses, SelfSupervised
from dml.recipe import load_recipe, training_loss


@pytest.mark.parametrize("flag", ["--miner.name=batch_hard", "--memory.size=64"])
def test_pairs_for_a_loss_of_proxies_are_refused_with_a_reason(flag):
    with pytest.raises(
        ValueError,
        match=r"command line: m\w+ does not fit the loss: .*compares images with proxies",
    ):
        load_recipe("glyphs", [flag, "--loss.name", "proxy_anchor"])


def test_what_stands_around_a_loss_is_resolved():
    flags = ["--auxiliary_loss.name", "center", "--training.auxiliary_loss_weight", "0.1"]
    loss = training_loss(load_recipe("glyphs", [*flags, "--training.nested_dims", "8,16"]))
    assert loss.lengths[:2] == [8, 16] and loss.loss.weights == [1, 0.1]
    assert [type(part).__name__ for part in loss.loss.parts] == ["ProxyAnchor", "Center"]
    flags = ["--loss.name", "contrastive", "--reduction.name", "non_zero"]
    assert "non_zero" in str(training_loss(load_recipe("glyphs", flags)).get_config()["reduction"])
    alone = load_recipe("glyphs", ["--loss.name", "nt_xent", "--training.views", "2"])
    assert training_loss(alone).views == 2


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--training.views", "2"],
            "command line: training.views .*: without labels there",
        ),
        (["--training.nested_dims", "4096"], "nested_dims must be below embedding.dim"),
        (
            ["--auxiliary_loss.name", "magface"],
            "auxiliary_loss .*losses that read an embedding's length",
        ),
        (
            ["--reduction.name", "non_zero"],
            "reduction .*a reduction needs the loss of each anchor",
        ),
        (["--training.views", "3"], "views must be one of 1, 2"),
    ],
)
def test_what_does_not_go_together_is_named(flags, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("glyphs", flags)


def test_a_miner_or_a_memory_is_named_and_resolved():
    recipe = load_recipe("glyphs", ["--loss.name", "contrastive", "--miner.name", "batch_hard"])
    assert 'name = "batch_hard"' in recipe.to_toml()
    flags = ["--loss.name", "contrastive", "--memory.size", "64", "--memory.start", "2"]
    assert load_recipe("glyphs", flags).memory.size == 64
    loss = training_loss(load_recipe("glyphs", [*flags, "--memory.weight", "0.5"]))
    assert isinstance(loss, CrossBatchMemory) and isinstance(loss.loss, Contrastive)
    assert (loss.size, loss.start, loss.weight) == (64, 2, 0.5)
    with pytest.raises(ValueError, match=r"memory\.size can't be combined with a miner"):
        load_recipe("glyphs", [*flags, "--miner.name", "batch_hard"])


def test_the_memory_gets_its_options():
    flags = ["--memory.size", "64", "--memory.start", "3", "--memory.weight", "0.25"]
    loss = training_loss(load_recipe("glyphs", ["--loss.name", "contrastive", *flags]))
    assert isinstance(loss, CrossBatchMemory)
    assert (loss.size, loss.start, loss.weight) == (64, 3, 0.25)


def test_nothing_is_put_around_a_loss_that_stands_alone():
    recipe = load_recipe("glyphs")
    assert training_loss(recipe) is recipe.loss


def test_the_order_is_reduction_then_auxiliary_loss_then_nested_dims():
    flags = "--loss.name contrastive --reduction.name non_zero --auxiliary_loss.name center"
    loss = training_loss(load_recipe("glyphs", [*flags.split(), "--training.nested_dims", "8"]))
    assert loss.lengths == [8, 64]  # the whole embedding, too
    reduced, center = loss.loss.parts
    assert type(reduced.reducer).__name__ == "NonZero" and loss.loss.weights == [1, 1]
    assert type(center).__name__ == "Center"


def test_two_views_are_of_each_loss_and_inside_what_stands_around_it():
    flags = ["--loss.name", "nt_xent", "--training.views", "2", "--training.nested_dims", "8"]
    loss = training_loss(load_recipe("glyphs", [*flags, "--auxiliary_loss.name", "vicreg"]))
    assert isinstance(loss, Matryoshka) and loss.lengths == [8, 64] and loss.views == 2
    assert isinstance(loss.loss, MultipleLosses)
    assert all(isinstance(part, SelfSupervised) for part in loss.loss.parts)
    assert [type(part.loss).__name__ for part in loss.loss.parts] == ["NTXent", "VICReg"]
    # Rows 0 and 2 are views of one image, and so are 1 and 3, whatever the labels are.
    x = np.random.default_rng(0).normal(size=(4, 64))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
    parts = [part.loss(np.array([0, 1, 0, 1]), x) for part in loss.loss.parts]
    expected = sum(float(ops.convert_to_numpy(part)) for part in parts)
    head = loss.loss.head(None, 64)
    head.build((None, 64))
    found = loss.loss(np.array([5, 5, 5, 5]), head(ops.array(x), ops.zeros(4, "int32")))
    assert float(ops.convert_to_numpy(found)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--loss.name nt_xent --memory.size 64", r"views .*CrossBatchMemory remembers the classes"),
        ("--loss.name nt_xent --auxiliary_loss.name center", "views .*Center needs classes"),
    ],
)
def test_two_views_do_not_go_with_what_reads_classes(flags, message):
    with pytest.raises(OptionError, match=message):
        load_recipe("glyphs", [*flags.split(), "--training.views", "2"])


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--loss.name cosface --training.nested_dims 8", r"combined with training\.nested_dims"),
        ("--loss.name cosface --auxiliary_loss.name center", "combined with auxiliary_loss"),
        ("--loss.name contrastive", "loss contrastive has none"),
    ],
)
def test_a_regularizer_of_proxies_needs_those_of_one_loss(flags, message):
    flags = [*flags.split(), "--regularizer.name"]
    with pytest.raises(OptionError, match=message) as raised:
        load_recipe("glyphs", [*flags, "orthogonality"])
    assert raised.value.option == "regularizer"
    assert load_recipe("glyphs", [*flags, "koleo"]).regularizer is not None  # of embeddings


@pytest.mark.parametrize("dims", ["64", "8,128"])
def test_nested_dims_are_below_the_dimension_itself(dims):
    with pytest.raises(OptionError, match=r"nested_dims must be below embedding\.dim, 64") as error:
        load_recipe("glyphs", ["--training.nested_dims", dims])
    assert error.value.option == "training.nested_dims"
