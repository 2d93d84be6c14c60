"""Files of the user's own parts."""

import pytest

from dml.errors import DataError, OptionError
from dml.recipe import load_recipe
from dml.regularizers import REGULARIZERS


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_the_users_own_part_starts_from_the_recipes_folder(tmp_path, monkeypatch):
    file = tmp_path / "my_parts.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from dml.losses import LOSSES, ProxyAnchor\n"
        "@LOSSES.register('my_anchor')\n"
        "@dataclass(eq=False)\n"
        "class MyAnchor(ProxyAnchor):\n"
        "    scale: float = 8.0\n"
    )
    path = write(tmp_path, "parts = ['my_parts.py']\n[loss]\nname = 'my_anchor'\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "my_parts.py").write_text("raise SystemExit('of the current folder')")
    monkeypatch.chdir(elsewhere)
    recipe = load_recipe(path, allow_parts=True)
    assert recipe.loss.scale == 8.0 and recipe.parts == (str(file),)
    resolved = elsewhere / "recipe.toml"  # what a run keeps names the same file
    resolved.write_text(recipe.to_toml())
    assert load_recipe(resolved, allow_parts=True).parts == (str(file),)
    file.write_text("1/0")
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        load_recipe(path, allow_parts=True)
    file.write_text("raise SystemExit(3)")
    with pytest.raises(ValueError, match="SystemExit: 3"):
        load_recipe(path, allow_parts=True)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_recipe(path, allow_parts=True)


def test_parts_that_are_not_allowed_are_named_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w')")
    path = write(tmp_path, "parts = ['evil.py', 'sub/more.py']\n")
    with pytest.raises(ValueError, match=r"evil\.py, .*sub/more\.py.*--allow-parts"):
        load_recipe(path)
    assert not trace.exists()


PART = """
from dataclasses import dataclass
from dml.regularizers import REGULARIZERS, KoLeo

@REGULARIZERS.register("strict")
@dataclass(frozen=True)
class Strict(KoLeo):
    def __post_init__(self):
        if self.weight > 1:
            raise ValueError("no more than 1, please")
"""


@pytest.fixture
def strict():
    yield
    del REGULARIZERS["strict"]


def test_what_a_part_of_the_user_refuses_is_an_error_of_its_section(tmp_path, strict):
    (tmp_path / "strict.py").write_text(PART)
    text = "parts = ['strict.py']\n[regularizer]\nname = 'strict'\nweight = 2\n"
    with pytest.raises(OptionError, match=r"line 2: regularizer can't .*no more than 1") as error:
        load_recipe(write(tmp_path, text), allow_parts=True)
    assert error.value.option == "regularizer"


def test_the_parts_of_a_base_count_from_its_folder_and_want_permission(tmp_path, strict):
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "strict.py").write_text(PART)
    (tmp_path / "bases" / "base.toml").write_text(
        "parts = ['strict.py']\n[regularizer]\nname = 'strict'\n"
    )
    path = write(tmp_path, "extends = 'bases/base.toml'\n[regularizer]\nweight = 0.5\n")
    with pytest.raises(OptionError, match=r"base\.toml: parts would run Python .*bases/strict\.py"):
        load_recipe(path)
    recipe = load_recipe(path, allow_parts=True)
    assert recipe.parts == (str(tmp_path / "bases" / "strict.py"),)
    assert recipe.names["regularizer"] == "strict" and recipe.regularizer.weight == 0.5


def test_a_file_that_is_no_python_file_is_named(tmp_path):
    (tmp_path / "parts.txt").write_text("")
    with pytest.raises(DataError, match=r"parts\.txt: can't be imported"):
        load_recipe(write(tmp_path, "parts = ['parts.txt']\n"), allow_parts=True)


def test_a_name_that_is_taken_is_an_error_of_the_file(tmp_path):
    (tmp_path / "twice.py").write_text(PART.replace('"strict"', '"koleo"'))
    with pytest.raises(DataError, match=r"twice\.py: can't be imported: .*'koleo' is already"):
        load_recipe(write(tmp_path, "parts = ['twice.py']\n"), allow_parts=True)
