"""Runs for tests: trained on a few drawn characters, and their reporters."""

from dml._storage.run_folder import RunFolder
from dml.encoding.encoder import load_encoder
from dml.recipe import load_recipe
from dml.reporting import SILENT, Reporter
from dml.runs import Run, Trainer
from tests.reporters import Lines as Lines

SMALL = {
    "dataset.classes": 12,
    "dataset.samples": 6,
    "dataset.size": 32,
    "dataset.validation_fraction": 0.4,  # two classes
    "backbone.input_size": 16,
    "backbone.resize_side": 16,
    "backbone.filters": 8,
    "embedding.dim": 8,
    "sampler.classes_per_batch": 4,
    "sampler.images_per_class": 3,
    "training.epochs": 3,
    "training.stage": "full",
    "training.interpolate": "none",
    "evaluation.clustering_seeds": 2,
}


def begun(path):
    """Returns the `RunFolder` of a run that has an encoder's file and no evaluation."""
    folder = RunFolder(path).create()
    folder.recipe.write_text('[dataset]\nname = "glyphs"\n[loss]\nname = "triplet"\n')
    folder.begin(folder.recipe.read_text(), ())
    folder.encoder.touch()
    return folder


class InterruptAt(Reporter):
    """Presses Ctrl-C at a line that begins with a text: the first of them, or a later one."""

    def __init__(self, text, number=1):
        self.text, self.left = text, number

    def info(self, text):
        self.left -= text.startswith(self.text)
        if self.left == 0:
            raise KeyboardInterrupt


def words(options):
    """Returns {option: value} as flags; an option of None is left out."""
    return [word for k, v in options.items() if v is not None for word in (f"--{k}", str(v))]


def flags(**changes):
    """Returns the flags of a small run on `glyphs`, with changes such as `loss__name`."""
    return words({**SMALL, **{k.replace("__", "."): v for k, v in changes.items()}})


def train(source="glyphs", options=(), out=None, reporter=SILENT, **rest):
    """Trains a recipe and returns the run's `RunFolder`."""
    recipe = load_recipe(source, options, allow_parts=True)
    return RunFolder(Trainer(recipe, reporter).run(out, **rest).path)


def resume(path, reporter=SILENT, allow_parts=False, **rest):
    """Continues a run and returns its `RunFolder`."""
    return RunFolder(Trainer.resume(path, allow_parts, reporter=reporter, **rest).path)


def losses(folder):
    """Returns the loss of each epoch of a run."""
    return [row["loss"] for row in folder.read_log() if row["epoch"]]


def encoder_weights(folder):
    """Returns the values of the variables of a run's encoder."""
    import keras

    variables = load_encoder(folder.encoder).variables
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def evaluate(path, on=None, options=(), reporter=SILENT):
    """Measures a run and returns what is in `metrics.json`."""
    return Run(path, reporter=reporter).evaluate(on, options).to_json()


def rebuild(path, on=None, options=()):
    """Writes a run's report again."""
    return Run(path).rewrite_report(on, options)
