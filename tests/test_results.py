"""Tables of the site are what their commands print."""

import re
import subprocess

import pytest

from tests.tools import FOLDER, load_tool

PAGE = """# Results

<!-- table: printf '| a |\\n| 1 |\\n\\nthen\\n| a | b |\\n|---|---|\\n| 2 | 3 |\\nend\\n' -->

| a | b |
|---|---|
| old | row |
| more | rows |

Words between.

<!-- table: echo '| only |' -->
"""


@pytest.fixture
def tool():
    return load_tool("results")


def test_the_last_table_of_a_command_takes_the_place_of_the_old_one(tool, tmp_path, capfd):
    page = tmp_path / "results.md"
    page.write_text(PAGE)
    assert tool.main([], [page]) == 0
    lines = page.read_text().splitlines()
    assert lines[4:8] == ["| a | b |", "|---|---|", "| 2 | 3 |", ""]
    assert lines[8] == "Words between." and lines[-1] == "| only |"
    assert page.read_text() == page.read_text().rstrip("\n") + "\n"
    once = page.read_text()
    assert tool.main(["printf"], [page]) == 0
    assert page.read_text() == once
    assert "then" in capfd.readouterr().out


def test_a_command_that_fails_leaves_its_table_and_the_others_are_made(tool, tmp_path, capfd):
    page = tmp_path / "results.md"
    page.write_text(PAGE.replace("printf", "false &&"))
    assert tool.main([], [page]) == 1
    assert "| old | row |" in page.read_text() and "| only |" in page.read_text()
    assert capfd.readouterr().err.startswith("exit code 1: false && ")
    page.write_text(PAGE.replace("echo '| only |'", "echo no table"))
    assert tool.main(["echo"], [page]) == 1
    assert capfd.readouterr().err == "no table was printed by echo no table\n"


def test_the_commands_of_the_pages_are_targets_of_the_makefile(tool, capsys):
    assert tool.main(["--list"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert commands
    for command in commands:
        target = re.match(r"make (bench-[\w-]+)", command)
        assert target is not None, command
        done = subprocess.run(["make", "--dry-run", target[1]], cwd=FOLDER.parent, check=False)
        assert done.returncode == 0
