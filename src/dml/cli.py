"""`dml COMMAND`: finds the commands, parses, runs one, and turns errors into one line."""

import argparse
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence

import dml
import dml.commands
from dml._console.failures import BAD_INPUT, BUG, INTERRUPTED, explain, keep_traceback
from dml._console.interrupts import lasting_interrupts
from dml._console.reporter import ConsoleReporter
from dml._console.runtime import Runtime, load_runtime
from dml._console.terminal import (
    complain,
    hide_prints,
    prepare_streams,
    printable,
    quiet_libraries,
)
from dml.commands._command import Command
from dml.errors import OptionError
from dml.images._files import require_utf8

_BACKENDS = ("tensorflow", "jax", "torch")
_DESCRIPTION = "Deep metric learning: train, evaluate and search image embeddings."


def find_commands() -> dict[str, Command]:
    """Returns the `COMMAND` of each module of `dml.commands`, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(dml.commands.__path__))
    modules = (importlib.import_module(f"dml.commands.{name}") for name in names if name[0] != "_")
    return {module.COMMAND.name: module.COMMAND for module in modules}


def build_parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(prog="dml", description=_DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--backend",
        choices=_BACKENDS,
        help="the backend of Keras (default: the variable KERAS_BACKEND, or else tensorflow)",
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    top.add_argument("--version", action="version", version=f"dml {dml.__version__}")
    parsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands.values():
        parser = parsers.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(parser)
    return top


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the ordinary arguments, and the `--section.option` flags with their values."""
    ordinary, flags = [], []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        if argument == "--":  # what follows are no flags, such as names of files
            ordinary += [argument, *arguments]
            break
        if argument.startswith("--") and "." in argument.split("=")[0]:
            flags.append(argument)
            if "=" not in argument and arguments:
                flags.append(arguments.pop(0))
        else:
            ordinary.append(argument)
    return ordinary, flags


def parse(
    commands: dict[str, Command], arguments: Sequence[str]
) -> tuple[Command, argparse.Namespace]:
    """Returns the command, and its arguments with the `--section.option` flags as `flags`.

    Raises:
        OptionError: The environment names a backend that Keras does not have.
    """
    ordinary, flags = split_flags(arguments)
    parser = build_parser(commands)
    options, unknown = parser.parse_known_args(ordinary)
    command = commands[options.command]
    _set_environment(options.backend)
    if unknown:
        names = [text.partition("=")[0] for text in unknown if text.startswith("--")]
        hint = _meant(names[0][2:], command.runtime) if names and command.takes_flags else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    options.flags = flags
    return command, options


def _meant(name: str, runtime: Runtime) -> str:
    """Returns ". Did you mean --training.epochs?" for `--epochs`, or an empty string."""
    try:
        load_runtime(runtime)
    except (ImportError, MemoryError):
        return ""  # the error that is reported is the wrong argument
    from dml.recipe import SECTIONS, option_names

    known = option_names(SECTIONS if runtime is Runtime.KERAS else ("dataset",))
    places = known.get(name.replace("-", "_"), [])
    if not places:
        return ""
    *others, last = (f"--{place}" for place in places)
    return f". Did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def _set_environment(backend):
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    chosen = os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if chosen not in _BACKENDS:
        raise OptionError(
            "KERAS_BACKEND", f"must be one of {', '.join(_BACKENDS)}; got {chosen!r} (environment)"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # TensorFlow leaves oneDNN off on processors without AVX-512; steps take up to twice as long.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _run(command, options):
    if options.flags and not command.takes_flags:
        raise OptionError(options.flags[0], f"is not an option of `dml {command.name}`")
    load_runtime(command.runtime)
    command.run(options, ConsoleReporter())


def _failed(error, command, arguments, debug):
    """Prints why a command failed, and returns its exit code."""
    if debug:
        traceback.print_exception(error)
    line = explain(error, command.name, command.less_memory)
    if line is not None:
        complain(line)
        return BAD_INPUT
    text = f"this is a bug in dml: {type(error).__name__}: {error}"
    from dml._processes import GOES_ON, end_process, process_count, process_index

    if process_count() > 1:  # most often, a step of this one failed as another was killed
        who = f"process {process_index()} of {process_count()}"
        reason = " ".join(str(error).split())
        end_process(
            BUG,
            f"dml: {who} failed, or another one did; {GOES_ON} "
            f"({printable(f'{type(error).__name__}: {reason}')})",
        )
    if not debug:
        try:
            text += f"; please report it with {keep_traceback(error, arguments)}"
        except OSError as full:
            text += f"; its traceback can't be kept ({full}), `dml --debug` shows it"
    complain(text)
    return BUG


def _was_interrupted(error: BaseException | None) -> bool:
    """Returns whether an error is Ctrl-C, or what failed as the work was ended because of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The command line without the program's name; None for `sys.argv`.

    Returns:
        The exit code: 0; 1 if the reader of the output closed it; 2 for an error that the user can
        fix; 70 for a bug in dml; 130 after Ctrl-C.
    """
    code = _main(sys.argv[1:] if arguments is None else arguments)
    if code:
        from dml._processes import end_process

        end_process(code)
    return code


def _main(arguments):
    prepare_streams()
    try:
        command, options = parse(find_commands(), arguments)
    except OptionError as error:
        complain(str(error))
        return BAD_INPUT
    if getattr(options, "processes", False) and not options.debug:
        hide_prints()
    try:
        require_utf8(arguments)
        with quiet_libraries(), lasting_interrupts():
            _run(command, options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if not _was_interrupted(error):
            return _failed(error, command, arguments, options.debug)
        complain(f"interrupted{f'; {command.after_interrupt}' if command.after_interrupt else ''}")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
