"""Whether images are cropped or stretched, chosen by the frozen network."""

import re

import numpy as np
import pytest
from PIL import Image

from dml.recipe import load_recipe
from tests.runs.running import Lines, flags, train

CLASSES, IMAGES = 12, 4


def photos(folder, place):
    """Writes photos of 60 x 20 pixels whose class is seen in the columns `place`."""
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (CLASSES, 3))
    for name, colour in enumerate(colours):
        (folder / f"c{name:02}").mkdir(parents=True)
        for number in range(IMAGES):
            pixels = generator.integers(112, 144, (20, 60, 3))
            pixels[:, place] = colour
            image = Image.fromarray(pixels.astype("uint8"))
            image.save(folder / f"c{name:02}" / f"{number}.png")
    return folder


@pytest.fixture
def options(tmp_path):
    """Returns the flags of a small training on a folder, with changes."""
    weights = tmp_path / "conv4.weights.h5"
    load_recipe("glyphs", flags()).backbone.network().save_weights(weights)

    def changed(folder, **changes):
        data = dict.fromkeys(("dataset__classes", "dataset__samples", "dataset__size"))
        data |= {"dataset__name": "folder", "dataset__root": folder}
        data |= {"dataset__validation_fraction": 0.5, "dataset__test_fraction": 0.1}
        options = {"backbone__weights": weights, "training__select_aspect": True}
        options["augmentation__name"] = "paper"
        return flags(**{**data, **options, "training__epochs": 1, **changes})

    return changed


@pytest.mark.slow
@pytest.mark.parametrize(
    "place, own, chosen",
    [
        ([*range(8), *range(52, 60)], "keep", "stretch"),
        (range(20, 40), "keep", "keep"),
        (range(20, 40), "stretch", "stretch"),
    ],
    ids=["at the ends", "in the middle", "alike, and stretched before"],
)
@pytest.mark.usefixtures("eager_training")
def test_what_is_seen_at_the_ends_of_an_image_stretches_it(tmp_path, options, place, own, chosen):
    folder = photos(tmp_path / "photos", list(place))
    lines = Lines()
    flags = options(folder, backbone__aspect=own)
    run = train("glyphs", flags, tmp_path / "run", lines, evaluate=False)
    recipe = load_recipe(run.recipe)
    assert (recipe.backbone.aspect, recipe.augmentation.aspect) == (chosen, chosen)
    assert not recipe.training.select_aspect  # a run that is resumed has the same images
    (line,) = [line for line in lines if line.startswith("frozen network in validation")]
    assert line.endswith(f"aspect = {chosen}")


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
def test_random_weights_are_those_that_are_trained(tmp_path, options):
    folder = photos(tmp_path / "photos", [*range(8), *range(52, 60)])
    lines = Lines()
    changes = {"backbone__weights": "none", "embedding__dim": 0, "loss__name": "multi_similarity"}
    run = train("glyphs", options(folder, **changes), tmp_path / "run", lines, evaluate=False)
    chosen = load_recipe(run.recipe).backbone.aspect
    (line,) = [line for line in lines if line.startswith("frozen network in validation")]
    told = dict(zip(("keep", "stretch"), re.findall(r"(\d+\.\d) with", line), strict=True))
    assert told[chosen] == f"{100 * run.read_log()[0]['val_recall_at_1']:.1f}"


@pytest.mark.usefixtures("eager_training")
@pytest.mark.parametrize("own", ["keep", "stretch"])
def test_without_validation_the_recipes_own_aspect_stays(tmp_path, options, own):
    folder = photos(tmp_path / "photos", list(range(8)))
    aspects = {"backbone__aspect": own, "augmentation__aspect": own}
    flags = options(folder, dataset__validation_fraction=0, **aspects)
    recipe = load_recipe(train("glyphs", flags, tmp_path / "run", evaluate=False).recipe)
    assert (recipe.backbone.aspect, recipe.augmentation.aspect) == (own, own)
    assert not recipe.training.select_aspect
