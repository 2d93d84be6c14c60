"""The space of a study: around a recipe, with the parts that fit it."""

import json

import numpy as np
import pytest

from dml.errors import OptionError
from dml.recipe import load_recipe, with_options
from dml.tuning import Choice, Interval, SearchSpace
from dml.tuning._space import varied

SHUFFLED = ["--sampler.name", "shuffle"]


def recipe(*flags):
    return load_recipe("glyphs", flags)


def draw_from(seed):
    """Returns what draws values of domains."""
    generator = np.random.default_rng(seed)

    def draw(name, domain):
        if isinstance(domain, Choice):
            return domain.values[generator.integers(len(domain.values))]
        if domain.whole:
            return int(generator.integers(domain.low, domain.high + 1))
        return float(generator.uniform(domain.low, domain.high))

    return draw


def losses(space):
    return tuple(space.parts["loss"])


@pytest.mark.parametrize("source", ["glyphs", "cars196-half", "soft_triple", "dml_tf", "triplet"])
def test_the_space_holds_the_recipe_itself_and_what_is_drawn_is_a_recipe(source):
    own = load_recipe(source)
    space = SearchSpace.of(own)
    values = space.own(own)
    same = space.drawn(lambda name, domain: values[name])
    assert varied(own, same).to_toml() == own.to_toml()
    for seed in range(20):
        options = space.drawn(draw_from(seed))
        other = varied(own, options)
        assert other.names["loss"] == options.get("loss.name", own.names["loss"])
        assert other.optimizer.learning_rate == options["optimizer.learning_rate"]
        assert other.dataset == own.dataset and other.training == own.training


def test_own_values_outside_of_a_range_widen_it():
    far = recipe("--loss.scale", "500", "--optimizer.weight_decay", "0.3")
    space = SearchSpace.of(far)
    assert space.parts["loss"]["proxy_anchor"]["scale"] == Interval(8, 500, log=True)
    assert space.options["optimizer.weight_decay"].values[0] == 0.3


def test_rates_are_searched_around_the_recipes():
    space = SearchSpace.of(recipe("--optimizer.learning_rate", "2e-4"), ["rate"])
    assert set(space.options) == {"optimizer.learning_rate", "optimizer.head_learning_rate"}
    assert not space.parts
    domain = space.options["optimizer.learning_rate"]
    assert domain.log and domain.low == pytest.approx(2e-5) and domain.high == pytest.approx(2e-3)
    pairs = recipe("--loss.name", "contrastive")
    assert set(SearchSpace.of(pairs, ["rate"]).options) == {"optimizer.learning_rate"}


def test_each_axis_is_searched_alone():
    own = recipe()
    assert set(SearchSpace.of(own, ["decay"]).options) == {"optimizer.weight_decay"}
    margin = SearchSpace.of(own, ["margin"])
    assert not margin.options and losses(margin) == ("proxy_anchor",)
    assert set(margin.parts["loss"]["proxy_anchor"]) == {"margin", "scale"}
    loss = SearchSpace.of(own, ["loss"])
    assert len(losses(loss)) > 3 and not any(loss.parts["loss"].values())
    augmentation = SearchSpace.of(own, ["augmentation"])
    assert set(augmentation.parts) == {"augmentation"}
    assert set(augmentation.parts["augmentation"]) == {"glyphs"}


def test_the_rates_of_blocks_are_searched_where_there_are_pretrained_ones():
    own = load_recipe("cars196-half")
    decays = SearchSpace.of(own, ["decay"]).options
    assert set(decays) == {"optimizer.weight_decay", "optimizer.layer_decay"}
    head = with_options(own, {"training.stage": "head"})
    assert set(SearchSpace.of(head, ["decay"]).options) == {"optimizer.weight_decay"}


def test_a_part_without_an_alternative_is_not_drawn_by_name():
    space = SearchSpace.of(recipe(), ["margin"])
    assert set(space.drawn(draw_from(0))) == {"loss.margin", "loss.scale"}


def test_losses_of_pairs_need_a_sampler_that_brings_pairs():
    assert "multi_similarity" in losses(SearchSpace.of(recipe()))
    shuffled = losses(SearchSpace.of(recipe(*SHUFFLED)))
    assert "multi_similarity" not in shuffled and "normalized_softmax" in shuffled


def test_losses_that_do_not_fit_the_recipe_are_left_out_or_refused():
    mined = recipe("--loss.name", "contrastive", "--miner.name", "batch_hard")
    space = SearchSpace.of(mined)
    assert losses(space)[0] == "contrastive" and "proxy_anchor" not in losses(space)
    with pytest.raises(OptionError, match="miner does not fit the loss"):
        SearchSpace.of(mined, losses=["proxy_anchor"])
    with pytest.raises(OptionError, match="Did you mean 'arcface'"):
        SearchSpace.of(recipe(), losses=["arcfase"])
    views = recipe("--loss.name", "nt_xent", "--training.views", "2")
    assert losses(SearchSpace.of(views)) == ("nt_xent",)


def test_given_losses_are_tried_besides_the_recipes_own():
    space = SearchSpace.of(recipe(), losses=["circle", "proxy_anchor"])
    assert losses(space) == ("proxy_anchor", "circle")


def test_croppings_take_each_others_place_and_keep_what_the_backbone_needs():
    own = load_recipe("cars196-half")
    space = SearchSpace.of(own, ["augmentation"])
    assert set(space.parts["augmentation"]) == {"paper", "strong"}
    other = varied(own, {"augmentation.name": "paper", "augmentation.min_area": 0.5})
    assert other.augmentation.aspect == "stretch" and other.augmentation.min_area == 0.5


def test_nothing_to_search_and_unknown_axes_are_refused():
    plain = recipe("--augmentation.name", "none")
    with pytest.raises(OptionError, match="axes leave nothing to search"):
        SearchSpace.of(plain, ["augmentation"])
    with pytest.raises(OptionError, match="axes must be one of rate, decay"):
        SearchSpace.of(plain, ["margins"])
    sgd = recipe("--optimizer.name", "sgd")
    with pytest.raises(OptionError, match="axes leave nothing to search"):
        SearchSpace.of(sgd, ["decay"])


def test_a_space_is_written_and_read():
    space = SearchSpace.of(load_recipe("soft_triple"))
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
