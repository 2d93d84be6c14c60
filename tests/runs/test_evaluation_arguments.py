"""What the arguments of an evaluation ask for."""

import pytest

import dml
from dml.errors import OptionError
from dml.runs._evaluation_arguments import evaluated_data
from tests.runs.running import begun


@pytest.fixture
def folder(tmp_path):
    return begun(tmp_path / "run")


def test_the_runs_own_data_set_may_be_elsewhere_and_nothing_else(folder):
    data, _ = evaluated_data(folder, False, None, ["--dataset.root", "there"])
    assert data.is_own and data.dataset.root == "there"
    with pytest.raises(ValueError, match=r"--dataset\.samples can't change: a run is evaluated on"):
        evaluated_data(folder, False, None, ["--dataset.samples", "6"])


def test_another_folder_is_measured_whole_unless_a_flag_says_otherwise(folder, tmp_path):
    on, flags = str(tmp_path), ["--dataset.test_fraction", "0.5"]
    whole, half = (evaluated_data(folder, False, on, f)[0].dataset for f in ((), flags))
    assert whole.test_fraction == whole.validation_fraction == 0 and half.test_fraction == 0.5
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[dataset]\nname = "folder"\nroot = "photos"\n')
    assert evaluated_data(folder, False, str(recipe))[0].dataset.test_fraction == 0.2
    part = dml.datasets.Folder(root=on, test_fraction=0.3)
    assert evaluated_data(folder, False, part)[0].dataset is part


def test_a_part_is_measured_with_its_own_options_and_the_flags_of_the_evaluation(folder, tmp_path):
    part = dml.datasets.Folder(root=str(tmp_path))
    assert evaluated_data(folder, False, part, ["--evaluation.ks", "1,3"])[1].ks == (1, 3)
    with pytest.raises(OptionError, match=r"--dataset\.test_fraction can't be set for a part"):
        evaluated_data(folder, False, part, ["--dataset.test_fraction", "0.5"])
    with pytest.raises(OptionError, match=r"evaluation\.kx is unknown"):
        evaluated_data(folder, False, part, ["--evaluation.kx", "1"])


def test_each_data_set_has_an_evaluation_of_its_own(folder, tmp_path, monkeypatch):
    for parent in "ab":
        (tmp_path / parent / "pho tos").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "pho tos")

    def name(on, flags=()):
        return evaluated_data(folder, False, on and str(on), flags)[0].folder_name

    first, second = (name(tmp_path / parent / "pho tos") for parent in "ab")
    assert first.startswith("pho_tos-") and second.startswith("pho_tos-") and first != second
    assert name(tmp_path / "linked").split("-")[1] == first.split("-")[1]
    monkeypatch.chdir(tmp_path / "a" / "pho tos")
    assert name(".") == first
    assert name(".", ["--dataset.test_fraction", "0.5"]) != first
    assert name(".", ["--dataset.validation_fraction", "0"]) == first
    assert name(None) == "glyphs" != name("glyphs")


def test_another_data_set_brings_its_options(folder):
    flags = ["--dataset.protocol", "seen-class", "--evaluation.ks", "3"]
    data, options = evaluated_data(folder, False, "cub200", flags)
    assert data.label == "cub200" and data.dataset.protocol == "seen-class" and not data.is_own
    assert options.ks == (3,)


def test_takes_no_option_of_the_training(folder):
    with pytest.raises(ValueError, match=r"--loss\.margin is not an option of an evaluation"):
        evaluated_data(folder, False, None, ["--loss.margin", "1"])
