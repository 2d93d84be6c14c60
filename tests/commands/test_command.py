"""Every module of commands defines a command."""

import sys
from pathlib import Path

import dml.commands
from dml.cli import build_parser, find_commands, main
from dml.commands._command import Command


def test_every_module_is_a_command_of_its_name():
    modules = {path.stem for path in Path(dml.commands.__file__).parent.glob("[!_]*.py")}
    commands = find_commands()
    assert set(commands) == modules and len(modules) >= 13
    assert all(isinstance(command, Command) for command in commands.values())


def test_every_command_says_what_it_does(capsys):
    commands = find_commands()
    help_text = " ".join(build_parser(commands).format_help().split())
    for name, command in commands.items():
        assert f"{name} {command.summary}" in help_text


def test_a_new_command_is_one_new_module(tmp_path, monkeypatch, capsys):
    (tmp_path / "greet.py").write_text(
        "from dml.commands._command import Command\n"
        "def add_arguments(parser):\n"
        "    parser.add_argument('name')\n"
        "def run(options, reporter):\n"
        "    reporter.info(f'hello {options.name} {options.flags}')\n"
        "COMMAND = Command('greet', 'greets', add_arguments, run, takes_flags=True)\n"
    )
    monkeypatch.setattr(dml.commands, "__path__", [*dml.commands.__path__, str(tmp_path)])
    try:
        assert main(["greet", "--loss.margin", "1", "you"]) == 0
    finally:
        sys.modules.pop("dml.commands.greet", None)
    assert capsys.readouterr().out == "hello you ['--loss.margin', '1']\n"
