"""Puts small errors into a copy of the code, one at a time, and prints those that no test detects.

    python tools/mutants.py [NAME ...]

Each mutant of mutants.toml replaces a text that occurs once in a file, and names the tests that
have to fail for it. These are run without any mutant first. Ends with 1 if a mutant survives, and
with 2 if one can't be tried: its text is not in the file once, or its tests don't run.
"""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "pyproject.toml", "README.md", "docs", "CHANGELOG.md")
AT_ONCE = 2
PASSED, FAILED = 0, 1  # pytest's exit codes


@dataclass(frozen=True)
class Mutant:
    """An error in the code.

    Args:
        name: What the mutated code does.
        file: The file, from the repository's root.
        old: A text that occurs in it once.
        new: What takes its place.
        tests: Tests of which at least one has to fail, as pytest takes them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_mutants(names: list[str]) -> list[Mutant]:
    listed = tomllib.loads((ROOT / "tools" / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    mutants = [Mutant(**{**options, "tests": tuple(options["tests"])}) for options in listed]
    known = {mutant.name for mutant in mutants}
    if unknown := set(names) - known:
        sys.exit(f"no such mutants: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
    return [mutant for mutant in mutants if mutant.name in names or not names]


def misplaced(mutant: Mutant) -> str:
    """Returns why a mutant can't be put into the code; an empty text if it can."""
    path = ROOT / mutant.file
    if not path.exists():
        return f"{mutant.file} does not exist"
    count = path.read_text(encoding="utf-8").count(mutant.old)
    return "" if count == 1 else f"its text occurs {count} times in {mutant.file}"


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Returns pytest's exit code and output of some tests in a copy of the code."""
    environment = {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",  # of one second and size, old bytecode would pass as new
    }
    # Without tracebacks: pytest itself may fail at formatting those of mutants.
    options = ["-q", "-x", "--tb=no", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def try_mutant(mutant: Mutant, trees: queue.Queue) -> tuple[int, str]:
    """Returns pytest's exit code and output with a mutant in one of the copies of the code."""
    tree = trees.get()
    path = tree / mutant.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        return run_tests(tree, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
        trees.put(tree)


def main() -> int:
    mutants = read_mutants(sys.argv[1:])
    untried = {mutant.name: reason for mutant in mutants if (reason := misplaced(mutant))}
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        trees = queue.Queue()
        for number in range(AT_ONCE):
            tree = Path(folder) / str(number)
            tree.mkdir()
            for name in COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, tree / name)
            trees.put(tree)
        tests = tuple(sorted({test for mutant in mutants for test in mutant.tests}))
        code, output = run_tests(tree, tests)
        if code != PASSED:
            print(output, "These tests have to pass before mutants are tried.", sep="\n")
            return 2
        tried = [mutant for mutant in mutants if mutant.name not in untried]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = pool.map(lambda mutant: try_mutant(mutant, trees), tried)
            for mutant, (code, output) in zip(tried, results, strict=True):
                if code == PASSED:
                    survivors.append(mutant.name)
                elif code != FAILED:
                    untried[mutant.name] = f"its tests don't run:\n{output}"
                result = {PASSED: "SURVIVES", FAILED: "killed"}.get(code, "error")
                print(f"{result:<8}  {mutant.name}", flush=True)
    for name, reason in untried.items():
        print(f"error: {name}: {reason}")
    print(f"{len(mutants)} mutants, {len(survivors)} survive, {len(untried)} could not be tried")
    return 2 if untried else int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
