"""The command line: bad input is one line and exit code 2, a bug keeps its traceback."""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version

import pytest

from dml._storage.run_folder import RunFolder
from dml.cli import main, split_flags
from dml.commands._command import Command
from dml.errors import DataError


def dml(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "dml", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={k: v for k, v in {**os.environ, **environment}.items() if v is not None},
    )


def assert_refused(result, *words):
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("dml: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in lines[0]


HEAVY = {"cv2", "faiss", "grain", "keras", "numpy", "onnxruntime", "pandas", "pyarrow", "rich"}


@pytest.mark.parametrize("code", ["import dml", "import dml.cli; dml.cli.main(['--help'])"])
def test_help_and_the_package_load_nothing_heavy(code):
    shown = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, sep='\\n')); {code}"
    result = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True)
    assert result.returncode == 0 and HEAVY.isdisjoint(result.stdout.splitlines())


def test_lists_recipes_and_resolves_one(capsys):
    assert main(["recipes"]) == 0 and "glyphs" in capsys.readouterr().out
    assert main(["recipes", "glyphs"]) == 0 and "[optimizer]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "no/such/folder"], ["no/such/folder"]),
        (["train", "glyphs", "--loss.name", "proxy_ancor"], ["Did you mean 'proxy_anchor'"]),
        (["train", "glyphs", "--loss.beta", "1"], ["loss.beta"]),
        (["train", "cub200", "--dataset.root", "no/such"], ["no/such"]),
        (["train", "~no-such-user/images"], ["~no-such-user/images"]),
        (["train", "cub200", "--dataset.root", "~no-such-user/x"], ["~no-such-user/x"]),
        (["train", "glyphs", "--backbone.weights", "~no-such-user/x"], ["~no-such-user/x"]),
        (["evaluate", "no/such/run"], ["no/such/run"]),
        (["recipes", "nothing"], ["nothing"]),
        (["data", "check", "nothing"], ["nothing"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, words):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dml: ") and all(word in line for word in words)


def failing(monkeypatch, error):
    """Makes a command of which `run` raises an error the only one."""

    def run(options, reporter):
        raise error

    command = Command("parts", "fails", lambda parser: None, run, less_memory="less takes less")
    monkeypatch.setattr("dml.cli.find_commands", lambda: {"parts": command})


def test_a_bug_keeps_its_traceback_in_a_file(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    failing(monkeypatch, TypeError("a bug"))
    assert main(["parts"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dml: this is a bug in dml: TypeError: a bug; please report it with ")
    (kept,) = tmp_path.glob("dml-*/traceback.txt")
    assert line.endswith(str(kept)) and "raise error" in kept.read_text()


def test_a_bug_without_a_place_for_its_traceback(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    failing(monkeypatch, TypeError("a bug"))
    assert main(["parts"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "TypeError: a bug" in line and "`dml --debug` shows it" in line


@pytest.mark.parametrize("error, code", [(TypeError("a bug"), 70), (DataError("a", "bad"), 2)])
def test_debug_shows_the_traceback(monkeypatch, tmp_path, capsys, error, code):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    failing(monkeypatch, error)
    assert main(["--debug", "parts"]) == code
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed and "raise error" in printed
    assert printed.splitlines()[-1].startswith("dml: ") and not list(tmp_path.iterdir())


def test_little_memory_an_interrupt_and_a_closed_pipe(monkeypatch, capsys):
    failing(monkeypatch, RuntimeError("CUDA out of memory"))
    assert main(["parts"]) == 2
    expected = "dml: not enough memory: CUDA out of memory; less takes less\n"
    assert capsys.readouterr().err == expected
    failing(monkeypatch, KeyboardInterrupt())
    assert main(["parts"]) == 130 and capsys.readouterr().err == "dml: interrupted\n"
    ending = DataError("a", "closed")
    ending.__context__ = KeyboardInterrupt()  # raised in a `finally`
    failing(monkeypatch, ending)
    assert main(["parts"]) == 130 and capsys.readouterr().err == "dml: interrupted\n"
    result = subprocess.run(
        f"{sys.executable} -m dml recipes | head -c 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert result.returncode in (0, 1) and result.stderr == ""


def test_python_m_dml_is_dml():
    shown = dml("--version")
    assert (shown.returncode, shown.stdout) == (0, f"dml {version('dml')}\n")
    assert_refused(dml("recipes", "nothing"), "nothing")


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dml {version('dml')}\n"


@pytest.mark.parametrize(
    "arguments, hint",
    [
        (
            ["train", "glyphs", "--epochs", "3"],
            "--epochs 3. Did you mean --training.epochs, --head_stage.epochs or "
            "--second_stage.epochs?",
        ),
        (["train", "glyphs", "--loss=triplet"], "--loss=triplet. Did you mean --loss.name?"),
        (["train", "glyphs", "--resize-side=2"], "Did you mean --backbone.resize_side?"),
        (["data", "check", "folder", "--root", "x"], "Did you mean --dataset.root?"),
        (["train", "glyphs", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["parts", "--margin=1"], "unrecognized arguments: --margin=1"),
    ],
)
def test_an_option_without_its_section(capsys, arguments, hint):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and capsys.readouterr().err.endswith(f"{hint}\n")


@pytest.mark.parametrize("words", [["train", "glyphs"], ["train", "glyphs", "--epochs", "3"]])
def test_a_backend_that_keras_does_not_have(monkeypatch, capsys, words):
    monkeypatch.setenv("KERAS_BACKEND", "pytorch")
    assert main(words) == 2
    expected = "dml: KERAS_BACKEND must be one of tensorflow, jax, torch; got 'pytorch'"
    assert capsys.readouterr().err.startswith(expected)


def test_a_wrong_argument_is_named_where_the_backend_is_not_installed(monkeypatch, capsys):
    def missing(runtime):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("dml.cli.load_runtime", missing)
    with pytest.raises(SystemExit):
        main(["train", "glyphs", "--epochs", "3"])
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --epochs 3\n")
    assert main(["train", "glyphs"]) == 2
    assert "needs the package torch" in capsys.readouterr().err


def test_a_command_without_sections_refuses_flags(capsys):
    assert main(["parts", "--loss.margin", "1"]) == 2
    assert "--loss.margin" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "evaluate RUN",
        "evaluate RUN --on glyphs",
        "report RUN",
        "export RUN",
        "compare RUN RUN",
        "compare RUN RUN --table --on glyphs",
        "train RUN --resume",
        "recipes RUN/recipe.toml",
    ],
)
def test_untrusted_python_runs_only_when_allowed(tmp_path, capsys, words):
    folder, trace = tmp_path / "run", tmp_path / "trace"
    folder.mkdir()
    (folder / "recipe.toml").write_text('parts = ["evil.py"]\n')
    (folder / "encoder.keras").touch()
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w'); raise ValueError('ran')")
    RunFolder(folder).begin('parts = ["evil.py"]\n', [folder / "evil.py"])
    words = words.replace("RUN", str(folder)).split()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(folder / "evil.py") in error and "--allow-parts" in error and not trace.exists()
    assert main([*words, "--allow-parts"]) == 2 and trace.exists()
    assert "evil.py: can't be imported: ValueError: ran" in capsys.readouterr().err


SMALL = (
    "--dataset.classes 12 --dataset.samples 6 --dataset.size 32 --backbone.input_size 16 "
    "--backbone.resize_side 16 --backbone.filters 4 --embedding.dim 8 --training.epochs 1 "
    "--sampler.classes_per_batch 4 --sampler.images_per_class 3 --evaluation.clustering_seeds 0 "
    "--dataset.validation_fraction 0"
)


@pytest.fixture(scope="module")
def quiet_run(tmp_path_factory):
    """A run that TensorFlow has trained where there is no JAX, and what was printed."""
    folder = tmp_path_factory.mktemp("quiet")
    missing = "raise ModuleNotFoundError(\"No module named 'jax'\", name='jax')"
    (folder / "jax.py").write_text(missing)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    words = [*SMALL.split(), "--out", folder / "run"]
    level = {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": None}
    return folder / "run", dml("--backend", "tensorflow", "train", "glyphs", *words, **level)


@pytest.mark.slow
def test_training_prints_our_lines_only(quiet_run):
    _, result = quiet_run
    assert result.returncode == 0 and result.stderr == ""
    assert "WARNING" not in result.stdout and result.stdout.splitlines()[-1].startswith("report: ")


@pytest.mark.slow
def test_exports_print_our_lines_only(quiet_run):
    words = [["export", str(quiet_run[0]), "--to", form] for form in ("onnx", "litert")]
    # By tf2onnx, and by TensorFlow's C++.
    program = f"from dml.cli import main; print([main(each) for each in {words}])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    *lines, codes = result.stdout.splitlines()
    assert codes == "[0, 0]" and len(lines) == 4 and result.stderr == ""


# Runs commands with the modules of dml compiled as `python -OO` does, which keeps no docstrings:
# they are no data. The libraries keep theirs, because compiling all of them takes a minute.
WITHOUT_DOCSTRINGS = """
import sys
from importlib.machinery import PathFinder, SourceFileLoader
class Loader(SourceFileLoader):
    def get_code(self, name):
        path = self.get_filename(name)
        return compile(self.get_data(path), path, "exec", dont_inherit=True, optimize=2)
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] != "dml":
            return None
        found = PathFinder.find_spec(name, path, target)
        found.loader = Loader(name, found.origin)
        return found
sys.meta_path.insert(0, Finder)
from dml.cli import main
print([main.__doc__, *(main(words) for words in COMMANDS)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_backend_prints_our_lines_only_and_works_without_docstrings(tmp_path, backend):
    train = [
        "--backend",
        backend,
        "train",
        "glyphs",
        *SMALL.split(),
        "--out",
        str(tmp_path / "run"),
    ]
    commands = [train, ["recipes", "glyphs"], ["parts", "backbones"]]
    program = WITHOUT_DOCSTRINGS.replace("COMMANDS", str(commands))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[None, 0, 0, 0]" and result.stderr == ""


@pytest.mark.parametrize(
    "words, streams",
    [
        ("data check nothing", ">&-"),
        # Loads Keras, whose chatter is held back.
        pytest.param("parts nothing", "2>&-", marks=pytest.mark.slow),
        ("data check nothing", ">&- 2>&-"),
        ("data check nothing", "2>/dev/full"),
        ("data check nothing", "<&-"),
    ],
)
def test_closed_streams_keep_the_exit_code(words, streams):
    command = f"{sys.executable} -m dml {words} {streams}"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == ("2>" not in streams)


def test_an_ascii_terminal_breaks_nothing(tmp_path):
    result = dml("index", "info", tmp_path / "caf\u00e9 \u00b1 \x1b[31m", PYTHONIOENCODING="ascii")
    assert_refused(result, r"caf\xe9 \xb1 \x1b[31m: not an index")


def test_a_name_that_is_not_utf8_is_refused_before_anything_is_done(tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9")
    for words in (
        ["search", str(tmp_path), f"{name}.jpg"],
        ["train", "glyphs", "--out", f"{tmp_path}/{name}"],
        ["index", "build", str(tmp_path), str(tmp_path), "--out", f"{tmp_path}/{name}"],
    ):
        assert main(words) == 2
        assert r"caf\xe9" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_after_two_dashes_there_are_no_flags():
    arguments = ["index", "remove", "shop", "--", "--weird.jpg", "a.jpg"]
    assert split_flags(arguments) == (arguments, [])
    assert split_flags(["train", "--training.epochs", "3", "--", "--a.b"]) == (
        ["train", "--", "--a.b"],
        ["--training.epochs", "3"],
    )
