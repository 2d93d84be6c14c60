"""Every module of commands defines one."""

from pathlib import Path

import dml.commands
from dml.cli import build_parser, find_commands
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
