"""Recipes are read strictly: what nobody knows is an error that says where and what instead."""

import os

import pytest

from dml._storage.run_folder import RunFolder
from dml.losses import ProxyAnchor, SoftTriple
from dml.recipe import anchored, load_recipe, load_run_recipe, shipped, training_loss


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_reads_parts_and_options(tmp_path):
    path = write(tmp_path, '[loss]\nname = "proxy_anchor"\nscale = 16\n[training]\nepochs = 3\n')
    recipe = load_recipe(path)
    assert isinstance(recipe.loss, ProxyAnchor) and recipe.loss.scale == 16.0
    assert recipe.training.epochs == 3


def test_flags_win_and_another_part_starts_from_its_defaults(tmp_path):
    path = write(tmp_path, '[loss]\nname = "proxy_anchor"\nscale = 16\n')
    flags = ["--loss.name", "soft_triple", "--loss.margin=0.02", "--evaluation.ks", "1,10"]
    recipe = load_recipe(path, flags)
    assert isinstance(recipe.loss, SoftTriple) and recipe.loss.margin == 0.02
    assert recipe.loss.scale == SoftTriple().scale
    assert recipe.evaluation.ks == (1, 10)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_survives_the_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    again = load_recipe(write(tmp_path, recipe.to_toml()))
    assert again.to_toml() == recipe.to_toml()


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_says_command_hardware_time_number_and_source(name):
    header = shipped()[name].read_text().split("\n[")[0]
    for word in ("command:", "hardware:", "time:", "expect:", "source:"):
        assert f"# {word}" in header, f"{name}: the header lacks '# {word}'"


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "[loss]\nname = 'proxy_anchr'\n",
            r"mine\.toml, line 2: loss\.name: .*Did you mean 'proxy_anchor'",
        ),
        (
            "[loss]\nmargn = 0.1\n",
            r"mine\.toml, line 2: loss\.margn: no such option\. Did you mean 'margin'",
        ),
        ("[loss]\n\nmargin = 'a'\n", r"mine\.toml, line 3: loss\.margin: wants float; got 'a'"),
        ("[loss]\nmargin = 7\n", r"line 2: loss: margin must be in"),
        ("[training]\nepochs = 1.5\n", r"training\.epochs: wants int; got 1\.5"),
        ("[optimizer]\nlearning_rate = nan\n", r"line 2: optimizer\.learning_rate: must be finite"),
        (f"[loss]\nscale = {10**400}\n", r"line 2: loss\.scale: wants float; got 1000"),
        ("[training]\nepochs = true\n", r"training\.epochs: wants int; got True"),
        ("[training]\nselect = 'worst'\n", r"select must be one of best, last"),
        (
            "[los]\nname = 'triplet'\n",
            r"mine\.toml, line 1: no section 'los'\. Did you mean 'loss'",
        ),
        ("loss = 3\n", r"loss must be a section"),
        ("[loss\n", r"not valid TOML"),
        ("parts = 'a.py'\n", r"parts must be a list"),
    ],
)
def test_names_file_line_and_option(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--loss.margin", "big"], r"command line: loss\.margin: wants float; got 'big'"),
        (["--loss.margin", "inf"], r"command line: loss\.margin: must be finite; got inf"),
        (["--loss.margin"], "needs a value"),
        (["--lossy.margin", "1"], "Did you mean 'loss'"),
        (["--training.epochs", "many"], "wants int; got 'many'"),
        (["margin", "1"], "expected --section.option value"),
    ],
)
def test_names_the_flag(flags, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("glyphs", flags)


def test_suggests_the_nearest_recipe():
    with pytest.raises(FileNotFoundError, match="Did you mean 'glyphs'"):
        load_recipe("glyph")


def test_no_name_is_not_the_current_folder():
    with pytest.raises(ValueError, match="The name is empty"):
        load_recipe("")


def test_any_name_survives_being_written(tmp_path):
    root = 'a"b\\c\x1b[31m\n\x7f\x85\u00e9'
    recipe = load_recipe("folder", ["--dataset.root", root])
    again = load_recipe(write(tmp_path, recipe.to_toml()))
    assert again.dataset.root == root


def test_a_folder_of_class_folders_is_a_recipe(tmp_path):
    (tmp_path / "cat").mkdir()
    recipe = load_recipe(tmp_path)
    assert recipe.names["dataset"] == "folder"
    assert os.fspath(recipe.dataset.root) == str(tmp_path)


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


@pytest.mark.parametrize("flag", ["--miner.name=batch_hard", "--memory.size=64"])
def test_pairs_for_a_loss_of_proxies_are_refused_with_a_reason(flag):
    with pytest.raises(ValueError, match=r"command line: m\w+: .*compares images with proxies"):
        load_recipe("glyphs", [flag, "--loss.name", "proxy_anchor"])


def test_what_stands_around_a_loss_is_resolved():
    flags = ["--auxiliary_loss.name", "center", "--training.auxiliary_loss_weight", "0.1"]
    loss = training_loss(load_recipe("glyphs", [*flags, "--training.nested_dims", "8,16"]))
    assert loss.lengths[:2] == [8, 16] and loss.loss.weights == [1, 0.1]
    assert [type(part).__name__ for part in loss.loss.parts] == ["ProxyAnchor", "Center"]
    alone = load_recipe("glyphs", ["--loss.name", "nt_xent", "--training.views", "2"])
    assert training_loss(alone).views == 2


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--training.views", "2"], "command line: training.views: without labels there are no"),
        (["--training.nested_dims", "4096"], "nested_dims must be below embedding.dim"),
        (
            ["--auxiliary_loss.name", "magface"],
            "auxiliary_loss: losses that read an embedding's length",
        ),
        (["--reduction.name", "non_zero"], "reduction: a reduction takes the loss of each anchor"),
        (["--training.views", "3"], "views must be 1 or 2"),
    ],
)
def test_what_does_not_go_together_is_named(flags, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("glyphs", flags)


def test_flags_hold_wherever_the_part_is_named():
    flags = ["--sampler.images_per_class", "3", "--sampler.name", "hard_class"]
    for order in (flags, flags[2:] + flags[:2]):
        assert load_recipe("glyphs", order).sampler.images_per_class == 3


def test_a_miner_or_a_memory_is_named_and_resolved():
    recipe = load_recipe("glyphs", ["--loss.name", "contrastive", "--miner.name", "batch_hard"])
    assert 'name = "batch_hard"' in recipe.to_toml()
    flags = ["--loss.name", "contrastive", "--memory.size", "64", "--memory.start", "2"]
    assert load_recipe("glyphs", flags).memory.size == 64
    with pytest.raises(ValueError, match="leave out miner or memory"):
        load_recipe("glyphs", [*flags, "--miner.name", "batch_hard"])


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf[training]\nepochs = 3\n")
    assert load_recipe(tmp_path / "mine.toml").training.epochs == 3


@pytest.mark.parametrize(
    "data",
    [
        b"[loss]\nmargin = " + b"[" * 100_000,
        b"a = " + b"{b = " * 50_000,
        b"[training]\nepochs = " + b"9" * 5000,
        b"[loss]\nname = '\xe9'\n",
        b"[loss]\nname = 'a\x00'\n",
    ],
)
def test_toml_that_no_parser_takes_is_one_error(tmp_path, data):
    (tmp_path / "mine.toml").write_bytes(data)
    with pytest.raises(ValueError, match=r"mine\.toml: not (valid TOML|a text file in UTF-8)"):
        load_recipe(tmp_path / "mine.toml")


def test_any_path_survives_the_round_trip(tmp_path):
    root = 'a\r\n\t"b\\c\x01\x7f é\u2028'
    recipe = load_recipe("glyphs", ["--dataset.root", root])
    assert load_recipe(write(tmp_path, recipe.to_toml())).dataset.root == root


def test_the_paths_of_a_run_are_absolute_where_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "triplets.csv").touch()
    (tmp_path / "imagenet").touch()
    flags = ["--sampler.name", "fixed_triplets", "--sampler.path", "triplets.csv"]
    recipe = anchored(load_recipe("photos", [*flags, "--backbone.name", "conv4"]))
    assert recipe.dataset.root == str(tmp_path / "photos")
    assert recipe.sampler.path == str(tmp_path / "triplets.csv")
    assert anchored(load_recipe("glyphs")).dataset.root == ""
    names = ["imagenet", "none", "weights/under/DML_DATA.h5"]
    for name in names:
        part = load_recipe("photos", ["--backbone.weights", name])
        assert anchored(part).backbone.weights == name


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
    with pytest.raises(ValueError, match=r"part\.py is not what it was when .* began"):
        load_run_recipe(run_folder)


@pytest.mark.parametrize("text", ["a" + 100_000 * ".a" + " = 1", "#" * 2**21])
def test_a_recipe_that_takes_gigabytes_to_read_is_refused(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=r"mine.toml: not valid TOML: a recipe has at most"):
        load_recipe(str(tmp_path / "mine.toml"))
