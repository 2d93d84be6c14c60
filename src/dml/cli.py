"""`dml COMMAND`: finds the commands, parses, runs one, and turns errors into one line."""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

import dml.commands
from dml._console.memory import shortage
from dml._console.reporter import ConsoleReporter
from dml._console.runtime import load_runtime
from dml._console.terminal import complain, prepare_streams, quiet_libraries
from dml.commands._command import Command
from dml.errors import OptionError
from dml.images._files import require_utf8

_DESCRIPTION = "Deep metric learning: train, evaluate and search image embeddings."
_EXTRAS = {  # package -> the extra that brings it
    "fastapi": "serve",
    "uvicorn": "serve",
    "starlette": "serve",
    "prometheus_client": "serve",
    "ray": "ray",
    "pymilvus": "milvus",
    "grpc": "milvus",
    "keras": "train",
    "tensorflow": "train",
    "tf2onnx": "train",
    "onnx": "train",
    "grain": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "scipy": "train",
    "jax": "jax",
    "torch": "torch",
}


def find_commands() -> dict[str, Command]:
    """Returns the `COMMAND` of each module of `dml.commands`, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(dml.commands.__path__))
    modules = (importlib.import_module(f"dml.commands.{name}") for name in names if name[0] != "_")
    return {module.COMMAND.name: module.COMMAND for module in modules}


def build_parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(prog="dml", description=_DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--backend", choices=("tensorflow", "jax", "torch"), help="default: KERAS_BACKEND"
    )
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
        if argument.startswith("--") and "." in argument.split("=")[0]:
            flags.append(argument)
            if "=" not in argument and arguments:
                flags.append(arguments.pop(0))
        else:
            ordinary.append(argument)
    return ordinary, flags


def _set_environment(backend):
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # TensorFlow leaves oneDNN off on processors without AVX-512; steps take up to twice as long.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _run(command, options):
    if options.flags and not command.takes_flags:
        raise OptionError(options.flags[0], f"is no option of `dml {command.name}`")
    load_runtime(command.runtime)
    command.run(options, ConsoleReporter())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 2 for bad input, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = find_commands()
    ordinary, flags = split_flags(arguments)
    options = build_parser(commands).parse_args(ordinary)
    options.flags = flags
    command = commands[options.command]
    _set_environment(options.backend)
    prepare_streams()
    try:
        require_utf8(arguments)
        with quiet_libraries():
            _run(command, options)
    except KeyboardInterrupt:
        complain(f"interrupted{f'; {command.after_interrupt}' if command.after_interrupt else ''}")
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRAS:
            raise
        extra = _EXTRAS[error.name.split(".")[0]]
        complain(
            f"`dml {options.command}` needs the package {error.name}: pip install 'dml[{extra}]'"
        )
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, KeyError, OSError, FloatingPointError) as error:
        complain(error.args[0] if isinstance(error, KeyError) and error.args else error)
        return 2
    except Exception as error:
        if (reported := shortage(error)) is None:
            raise
        hint = f"; {command.less_memory}" if command.less_memory else ""
        complain(f"memory is short: {reported}{hint}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
