"""The quality of a training that compares with a sample of the classes (`head.sample`).

    DML_DATA=... python benchmarks/sampled_classes.py [--data emoji glyphs] [--seeds 3]
        [--loss normalized_softmax proxy_anchor] [--sample 1 0.1] [--out FOLDER]

Trains with all classes and with samples of them, and prints a Markdown table of R@1 and MAP@R on
the test classes. Samples of a softmax are also corrected for their bias. `emoji` trains the
embedding as the head stage of the recipe `adapt` does, on MobileNet's features, which are computed
once; `glyphs` trains a conv4 on 20,000 characters of 5 drawings, half of which train, as `dml
train` does. What is in `benchmarks/measured/sampled-classes` is not trained again; features and
runs that were stopped are in the folder.
"""

import argparse
import functools
import itertools
import json
from pathlib import Path

from cached_features import Images
from training_runs import MEASURED, kept, percent, train

GLYPHS = [
    *("--dataset.classes", "20000", "--dataset.samples", "5", "--dataset.size", "32"),
    *("--backbone.input_size", "32", "--backbone.resize_side", "32"),
    *("--dataset.validation_fraction", "0.02", "--training.epochs", "4"),
]


class Emoji:
    """Trainings of an embedding of the features of `emoji`.

    Args:
        out: The folder of the features.
    """

    def __init__(self, out):
        self.images = Images("emoji", out)

    def scores(self, loss, sample, corrected, seed):
        """Returns R@1 and MAP@R after a training."""
        from dml.losses import LOSSES
        from dml.samplers import Shuffle

        rate = self.images.recipe.head_stage.learning_rate
        options = {"sample": sample, "correct_bias": corrected}
        embed = self.images.trained(LOSSES[loss](), Shuffle(32), rate, seed, **options)
        found = self.images.retrieval(embed, "test")
        return found.recall[1], found.map_at_r


class Glyphs:
    """Runs on `glyphs`.

    Args:
        out: Their folder.
    """

    def __init__(self, out):
        self.out = out

    def scores(self, loss, sample, corrected, seed):
        """Returns R@1 and MAP@R of a run, which is trained unless it is there."""
        folder = self.out / "glyphs" / f"{loss}-{sample:g}{'-corrected' * corrected}-{seed}"
        flags = [*GLYPHS, "--loss.name", loss, "--head.sample", str(sample)]
        flags += ["--head.correct_bias", str(corrected).lower(), "--training.seed", str(seed)]
        train(folder, "glyphs", flags)
        metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
        return metrics["R@1"]["value"], metrics["MAP@R"]["value"]


DATA = {"emoji": Emoji, "glyphs": Glyphs}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    losses = ["normalized_softmax", "proxy_anchor"]
    parser.add_argument("--loss", nargs="+", default=losses)
    parser.add_argument("--sample", nargs="+", type=float, default=[1, 0.1])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/sampled-classes"))
    options = parser.parse_args()
    print("| data | loss | sample | R@1 | MAP@R |\n|---|---|---|---|---|")
    for name in options.data:
        data = DATA[name](options.out)
        for loss, sample in itertools.product(options.loss, options.sample):
            for corrected in (False, True)[: 1 + (sample < 1 and loss == "normalized_softmax")]:
                found = []
                for seed in range(options.seeds):
                    run = f"{loss}-{sample:g}{'-corrected' * corrected}-{seed}.json"
                    score = functools.partial(data.scores, loss, sample, corrected, seed)
                    found.append(kept(MEASURED / "sampled-classes" / name / run, score))
                scores = zip(*found, strict=True)
                setting = f"{sample:g}" + (", corrected" if corrected else "")
                print(f"| {name} | {loss} | {setting} | {' | '.join(map(percent, scores))} |")


if __name__ == "__main__":
    main()
