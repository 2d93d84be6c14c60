"""`dml <command>`: parse, call one function of `dml.commands`, print."""

import argparse
import os
import sys

from dml._console.memory import check_address_space, shortage
from dml._console.terminal import complain, held_back, prepare_streams, quiet_libraries, say
from dml.images._files import require_utf8

DESCRIPTION = "Deep metric learning: train, evaluate and search image embeddings."
TRAIN = """examples:
  dml train glyphs                         the embedded data set: needs nothing
  dml train my_images/                     a folder of class folders
  dml train cars196-half --loss.name soft_triple --loss.margin 0.02 --training.epochs 9
  dml train my_recipe.toml --out runs/mine
  dml train runs/mine --resume

sections: dataset backbone embedding sampler augmentation loss miner memory regularizer
optimizer training evaluation. `dml recipes NAME` prints a recipe with every option."""

IMAGES = "a folder, 'pattern*.jpg', a .csv or .parquet list, a .tar shard, or an image"
INDEX = "a folder, milvus://HOST[:PORT][/COLLECTION], or a .db file of milvus-lite"
WHERE = """a filter, such as 'label in ["cat", "dog"] and price < 10'"""

GOES_ON = {  # what to do after Ctrl-C
    "train": "; `dml train RUN --resume` goes on from the last epoch",
    "evaluate": "; the same command goes on from the last finished part of the search",
    "embed": "; the same command goes on from the last finished part",
    "index": "; the same command goes on from the last finished part",
}
LESS = {  # what takes less memory
    "train": "; smaller batches, a smaller backbone.input_size or training.chunks take less",
    "evaluate": "; a smaller --evaluation.batch_size takes less",
}
EMBEDDING = ("embed", "index", "search", "serve")  # commands that use ONNX Runtime and FAISS
BACKED = (
    "train",
    "evaluate",
    "report",
    "compare",
    "export",
    "parts",
    "demo",
)  # commands that use Keras
EXTRAS = {  # package -> the extra that brings it
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


def parser():
    """Returns the command line's grammar; imports nothing heavy."""
    top = argparse.ArgumentParser(prog="dml", description=DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--backend", choices=("tensorflow", "jax", "torch"), help="default: KERAS_BACKEND"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, text, **options):
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False, **options)

    command = add(
        "train",
        "train an encoder from a recipe, a data set or a folder of class folders",
        epilog=TRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="RECIPE_OR_DATASET")
    command.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/NAME)")
    command.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    add_allow_parts(command)
    command = add("evaluate", "measure a run on its test split, or on another data set")
    command.add_argument("run", metavar="RUN")
    command.add_argument(
        "--on",
        metavar="DATASET",
        help="a data set's name or a folder, measured whole where it has no test split of its own",
    )
    add_allow_parts(command)
    command = add("report", "write the page of an evaluation again, from the files it left")
    command.add_argument("run", metavar="RUN")
    command.add_argument("--on", metavar="DATASET", help="default: the run's own")
    add_allow_parts(command)
    command = add("compare", "put evaluated runs side by side and say which differences are real")
    command.add_argument(
        "runs", nargs="+", metavar="RUN", help="the first is what others differ from"
    )
    command.add_argument(
        "--table", action="store_true", help="a Markdown table; runs of other seeds share a row"
    )
    command.add_argument("--on", metavar="DATASET", help="default: the runs' own")
    add_allow_parts(command)
    command = add("export", "write a run's encoder as a bundle for other runtimes, checked")
    command.add_argument("run", metavar="RUN")
    command.add_argument("--to", choices=("onnx", "saved-model", "litert", "keras"), default="onnx")
    smaller = command.add_mutually_exclusive_group()
    smaller.add_argument("--half", action="store_true", help="float16: half the size")
    smaller.add_argument("--int8", action="store_true", help="eight bits: a quarter of the size")
    command.add_argument("--out", metavar="DIR", help="the bundle's folder (default: RUN/bundle)")
    command.add_argument("--on", metavar="DATASET", help="images to check on (default: the run's)")
    add_allow_parts(command)
    command = add("embed", "write the vectors of images to a Parquet file; goes on after a stop")
    command.add_argument("bundle", metavar="BUNDLE")
    command.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    command.add_argument("--out", metavar="FILE.parquet", required=True)
    command.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="threads of this machine (default), or the Ray cluster that RAY_ADDRESS names",
    )
    command = add("index", "build, change or check an index of images")
    add_index_commands(command.add_subparsers(dest="action", required=True, metavar="ACTION"))
    command = add("search", "find the images of an index that are nearest to others")
    command.add_argument("index", metavar="INDEX", help=INDEX)
    command.add_argument("queries", metavar="QUERY", nargs="+", help="an image")
    command.add_argument("-k", type=int, default=10, help="neighbours of each (default: 10)")
    command.add_argument("--where", metavar="FILTER", help=WHERE)
    command.add_argument(
        "--threshold", metavar="SIMILARITY", help="the least to show: a number, or `calibrated`"
    )
    add_bundle(command)
    command.add_argument("--json", action="store_true")
    command.add_argument("--html", metavar="FILE", help="write a page of the results")
    command = add("serve", "serve an index over HTTP, with a page to search it")
    command.add_argument("index", metavar="INDEX", help=INDEX)
    add_bundle(command)
    command.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    command.add_argument("--port", type=int, default=8000, help="0: any that is free")
    command.add_argument(
        "--token-file", metavar="FILE", help="what requests must bring (default: DML_TOKEN)"
    )
    command = add("recipes", "list the recipes that ship, or print one with every option")
    command.add_argument("name", nargs="?", metavar="RECIPE")
    add_allow_parts(command)
    command = add("parts", "list the losses, miners, samplers, ... with their options")
    command.add_argument("family", nargs="?", metavar="FAMILY", help="losses, miners, ...")
    command = add("data", "check a data set, or download it")
    command.add_argument("action", choices=("check", "get"))
    command.add_argument("name", metavar="DATASET")
    command = add("demo", "from training to a page to search in, on the embedded data set")
    command.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/demo)")
    command.add_argument("--no-page", action="store_true", help="stop when the index is built")
    return top


def add_allow_parts(command):
    command.add_argument(
        "--allow-parts",
        action="store_true",
        help="run the Python files that a run's recipe lists under `parts`",
    )


def add_bundle(command):
    command.add_argument(
        "--bundle", metavar="DIR", help="the encoder (default: the index's own; Milvus has none)"
    )


def add_index_commands(actions):
    """Adds the grammar of `dml index`."""

    def add(name, text):
        command = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        first = "bundle" if name == "build" else "index"
        command.add_argument(first, metavar=first.upper(), help=None if name == "build" else INDEX)
        return command

    command = add("build", "embed images and write an index of them")
    command.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    command.add_argument("--out", metavar="INDEX", required=True, help=INDEX)
    command.add_argument(
        "--kind",
        default="auto",
        choices=("auto", "flat", "hnsw", "ivf_pq", "int8", "binary"),
        help="default: by the number of images; in Milvus auto, flat or hnsw",
    )
    command.add_argument(
        "--recall",
        type=float,
        default=0.95,
        help="share of the true nearest 10 to find (default: 0.95)",
    )
    command = add("add", "embed more images and add them; an id that is there is replaced")
    add_bundle(command)
    command.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    command = add("remove", "remove items")
    command.add_argument("ids", metavar="ID", nargs="*")
    command.add_argument("--where", metavar="FILTER", help=WHERE)
    add("info", "say what an index holds").add_argument("--json", action="store_true")
    add("verify", "check every file of an index")


def split_flags(arguments):
    """Returns (ordinary arguments, --section.option flags with their values)."""
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


def run(options, flags):
    """Calls the command's function and prints what it says."""
    flagged = ("train", "evaluate", "report", "compare", "export", "data")
    if flags and options.command not in flagged:
        raise ValueError(f"`dml {options.command}` takes no {flags[0]}")
    whole_recipe = options.command == "recipes" and options.name is not None
    if whole_recipe or options.command in BACKED:
        check_address_space(backed=True)
        import_backend()
    elif options.command in EMBEDDING:
        check_address_space(backed=False)
    if options.command == "train":
        from dml.commands.train import train

        train(
            options.source,
            flags,
            out=options.out,
            resume=options.resume,
            allow_parts=options.allow_parts,
            report=say,
        )
    elif options.command == "evaluate":
        from dml.commands.evaluate import evaluate

        evaluate(options.run, options.on, flags, options.allow_parts, report=say)
    elif options.command == "report":
        from dml.commands.evaluate import rebuild

        rebuild(options.run, options.on, flags, options.allow_parts, report=say)
    elif options.command == "compare":
        from dml.commands.compare import compare, tabulate

        (tabulate if options.table else compare)(
            options.runs, options.on, flags, allow_parts=options.allow_parts, report=say
        )
    elif options.command == "export":
        from dml.commands.export import export

        precision = "half" if options.half else "int8" if options.int8 else "float32"
        export(
            options.run,
            options.to,
            precision,
            options.out,
            options.on,
            flags,
            options.allow_parts,
            report=say,
        )
    elif options.command == "embed":
        from dml.commands.embed import embed

        embed(options.bundle, options.images, options.out, engine=options.engine, report=say)
    elif options.command == "index":
        run_index(options)
    elif options.command == "serve":
        from dml.commands.serve import serve

        serve(
            options.index,
            options.host,
            options.port,
            options.token_file,
            options.bundle,
            report=say,
        )
    elif options.command == "search":
        from dml.commands.search import search

        search(
            options.index,
            options.queries,
            options.k,
            options.where,
            options.threshold,
            options.bundle,
            options.json,
            options.html,
            report=say,
        )
    elif options.command == "recipes":
        from dml.commands.recipes import recipes

        recipes(options.name, options.allow_parts, report=say)
    elif options.command == "parts":
        from dml.commands.parts import parts

        parts(options.family, report=say)
    elif options.command == "data":
        from dml.commands import data

        data.run(options.action, options.name, flags, report=say)
    else:
        from dml.commands.demo import demo

        demo(options.out, not options.no_page, report=say)


def run_index(options):
    """Calls the function of `dml index ACTION`."""
    from dml.commands import index

    if options.action == "build":
        index.build(
            options.bundle, options.images, options.out, options.kind, options.recall, report=say
        )
    elif options.action == "add":
        index.add(options.index, options.images, options.bundle, report=say)
    elif options.action == "remove":
        index.remove(options.index, options.ids, options.where, report=say)
    elif options.action == "info":
        index.info(options.index, options.json, report=say)
    else:
        index.verify(options.index, report=say)


def import_backend():
    """Imports Keras and its backend without what TensorFlow prints before it reads its log level.

    What an import that fails has printed is shown.
    """
    with held_back():
        import keras  # noqa: F401


def main(arguments=None):
    """Runs the command and returns its exit code: 2 for bad input, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    ordinary, flags = split_flags(arguments)
    options = parser().parse_args(ordinary)
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # TensorFlow leaves oneDNN off on processors without AVX-512; steps take up to twice as long.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    prepare_streams()
    try:
        require_utf8(arguments)
        with quiet_libraries():
            run(options, flags)
    except KeyboardInterrupt:
        complain(f"interrupted{GOES_ON.get(options.command, '')}")
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRAS:
            raise
        extra = EXTRAS[error.name.split(".")[0]]
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
        if (said := shortage(error)) is None:
            raise  # a fault of dml's
        complain(f"memory is short: {said}{LESS.get(options.command, '')}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
