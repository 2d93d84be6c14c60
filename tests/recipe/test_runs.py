"""The recipe of a run is the one that its training started with."""

import pytest

from dml._storage.run_folder import RunFolder
from dml.recipe import load_run_recipe, recipe_to_resume


@pytest.fixture
def run_folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.recipe.write_text("[dataset]\nname = 'glyphs'\n[loss]\nname = 'triplet'\n")
    folder.begin(folder.recipe.read_text(), ())
    return folder


@pytest.mark.parametrize(
    "text, message",
    [
        ("name = 'contrastive'\n", r"loss\.name was 'triplet' .* and is 'contrastive' now"),
        ("name = 'triplet'\nmargin = 1\n", r"loss\.margin was not set .* and is 1 now"),
        (
            "name = 'triplet'\n[training]\nseed = 1\nepochs = 2\n",
            r"training\.seed .*\(and 1 more\)",
        ),
        ("", r"loss\.name was 'triplet' .* and is not set now"),
    ],
)
def test_an_edited_recipe_of_a_run_is_refused(run_folder, text, message):
    run_folder.recipe.write_text(f"[dataset]\nname = 'glyphs'\n[loss]\n{text}")
    with pytest.raises(ValueError, match=message + r".*--out DIR"):
        load_run_recipe(run_folder)


def test_what_decides_nothing_of_a_training_may_change(run_folder):
    run_folder.recipe.write_text(
        "# a note\n[loss]\nname = \"triplet\"\n[dataset]\nroot = 'moved'\nname = 'glyphs'\n"
        "[training]\nthreads = 1\n[evaluation]\nks = [1]\n"
    )
    assert load_run_recipe(run_folder).evaluation.ks == (1,)


def test_an_edited_file_of_parts_is_refused(run_folder, tmp_path):
    file = tmp_path / "part.py"
    file.write_text("")
    run_folder.begin(run_folder.recipe.read_text(), [str(file)])
    assert load_run_recipe(run_folder)
    file.write_text("changed = True")
    with pytest.raises(ValueError, match=r"part\.py: changed since .* began"):
        load_run_recipe(run_folder)


def test_a_run_goes_on_with_the_recipe_that_it_began_with(run_folder):
    changed = "[dataset]\nname = 'glyphs'\n[loss]\nname = 'contrastive'\n"
    assert recipe_to_resume(run_folder).names["loss"] == "triplet"
    run_folder.recipe.write_text(changed)
    with pytest.raises(ValueError, match=r"loss\.name was 'triplet'"):
        recipe_to_resume(run_folder)
    run_folder.manifest.unlink()  # it was stopped before it began
    assert recipe_to_resume(run_folder).names["loss"] == "contrastive"
