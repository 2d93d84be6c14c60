"""Files of the user's own parts."""

import pytest

from dml.recipe import load_recipe


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
    with pytest.raises(FileNotFoundError, match="no file"):
        load_recipe(path, allow_parts=True)


def test_parts_that_are_not_allowed_are_named_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w')")
    path = write(tmp_path, "parts = ['evil.py', 'sub/more.py']\n")
    with pytest.raises(ValueError, match=r"evil\.py, .*sub/more\.py.*--allow-parts"):
        load_recipe(path)
    assert not trace.exists()
