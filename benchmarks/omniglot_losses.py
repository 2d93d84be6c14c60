"""Every loss on Omniglot, from scratch, zero-shot: test metrics and those of the frozen network.

    DML_DATA=... python benchmarks/omniglot_losses.py [--seeds 3] [--epochs 5] [--out FOLDER]
        [--only LOSS ...] [--jobs 2]

For each loss it trains the recipe `omniglot` with a few settings, keeps the one with the best R@1
on the validation classes, trains it with each seed, as `dml train` does, and prints a table as
`dml compare --table FOLDER/*-[0-9]` does. The test split is looked at by these last runs alone.
What is in the folder already is not repeated, and a run that was stopped goes on. `dml compare
FOLDER/LOSS-0 FOLDER/OTHER-0` shows which differences are significant.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

# A second setting in addition to the defaults: the most important option of each loss. The recipe's
# rates are for all: a third of them lost on the validation classes with each of the first eight
# losses.
SECOND = {
    "adaface": ["scale=24"],
    "adapted_triplet": ["mining=all"],
    "angular": ["angle=36"],
    "arcface": ["scale=24", "margin=15"],
    "barlow_twins": ["redundancy_weight=0.05"],
    "circle": ["scale=32", "margin=0.25"],
    "contrastive": ["distance=cosine", "negative_margin=0.7", "power=1"],
    "cosface": ["scale=24", "margin=0.2"],
    "curricularface": ["scale=24", "margin=15"],
    "dynamic_soft_margin": ["momentum=0.1"],
    "elasticface": ["scale=24", "margin=0.25"],
    "fast_ap": ["bins=20"],
    "generalized_lifted": ["margin=0.5"],
    "histogram": ["bins=50"],
    "hyperbolic": ["temperature=0.1"],
    "large_margin_softmax": ["multiple=2"],
    "lifted_structure": ["margin=1.5"],
    "magface": ["scale=24"],
    "manifold": ["context=true"],
    "margin": ["boundary=1.0"],
    "multi_similarity": ["base=0.7"],
    "multiple_negatives_ranking": ["scale=10"],
    "n_pairs": ["scale=8"],
    "normalized_softmax": ["temperature=0.1"],
    "nt_xent": ["temperature=0.2"],
    "pairwise_sigmoid": ["scale=20"],
    "pnp": ["temperature=0.05"],
    "proxy_anchor": ["margin=0.2"],
    "proxy_nca": ["scale=5"],
    "proxy_nca_pp": ["temperature=0.2"],
    "ranked_list": ["boundary=1.0"],
    "recall_surrogate": ["rank_temperature=0.05"],
    "roadmap": ["temperature=0.05"],
    "smooth_ap": ["temperature=0.05"],
    "snr_contrastive": ["negative_margin=0.5"],
    "soft_nearest_neighbour": ["temperature=0.2"],
    "soft_triple": ["proxies_per_class=2"],
    "sphereface": ["multiple=2"],
    "sub_center_arcface": ["scale=24", "margin=15"],
    "sup_con": ["temperature=0.2"],
    "triplet": ["mining=all"],
    "tuplet_margin": ["scale=24"],
    "vicreg": ["covariance_weight=5"],
}
# These do not separate classes on their own: they are combined with a normalised softmax, with this
# weight.
JOINED = "normalized_softmax + "
BESIDE = {
    "center": 0.1,
    "instance": 1.0,
    "intra_pair_variance": 1.0,
    "threshold_consistent_margin": 1.0,
}


def settings(loss):
    """Returns the flags of each setting that is tried."""
    second = [word for option in SECOND.get(loss, []) for word in flag(option)]
    return [[], *([second] if second else [])]


def flag(option):
    name, value = option.split("=")
    return [f"--loss.{name}", value]


def choose(loss, epochs, out):
    """Returns the setting with the best R@1 on the validation classes."""
    import keras

    from dml._storage.records import write_json
    from dml.errors import DivergenceError
    from dml.recipe import load_recipe
    from dml.runs import Trainer

    chosen = out / f"{loss}.json"
    if chosen.exists():
        return json.loads(chosen.read_text())["flags"]
    scores = []
    for number, flags in enumerate(settings(loss)):
        folder = out / "choose" / f"{loss}-{number}"
        keras.backend.clear_session()
        try:
            if (folder / "recipe.toml").exists():
                run = Trainer.resume(folder, evaluate=False)
            else:
                recipe = load_recipe("omniglot", common(loss, flags, 0, epochs))
                run = Trainer(recipe).run(folder, evaluate=False)
            scores.append(max(row.get("val_recall_at_1", 0.0) for row in run.log()))
        except DivergenceError:
            scores.append(0.0)
    best = max(range(len(scores)), key=scores.__getitem__)
    write_json(chosen, {"flags": settings(loss)[best], "validation": scores})
    return settings(loss)[best]


def common(loss, flags, seed, epochs):
    names = ["--loss.name", loss]
    if loss.startswith(JOINED):
        beside = loss.removeprefix(JOINED)
        names = ["--loss.name", "normalized_softmax", "--auxiliary_loss.name", beside]
        names += ["--training.auxiliary_loss_weight", str(BESIDE[beside])]
    return [
        *(*names, *flags, "--training.seed", str(seed)),
        *("--training.epochs", str(epochs), "--training.threads", "1"),
        *("--evaluation.clustering_seeds", "0"),
    ]


def measure(loss, seeds, epochs, out):
    """Chooses a loss's setting and trains it with each seed."""
    import keras

    from dml.recipe import load_recipe
    from dml.runs import Trainer

    flags = choose(loss, epochs, out)
    first = metrics_file(out, loss, 0).parent
    if not first.exists():  # the setting was tried with this seed: all that is left is to measure
        shutil.copytree(out / "choose" / f"{loss}-{settings(loss).index(flags)}", first)
    for seed in range(seeds):
        folder = metrics_file(out, loss, seed).parent
        if metrics_file(out, loss, seed).exists():
            continue
        keras.backend.clear_session()
        if (folder / "recipe.toml").exists():  # stopped half-way
            Trainer.resume(folder)
        else:
            recipe = load_recipe("omniglot", common(loss, flags, seed, epochs))
            Trainer(recipe).run(folder)


def metrics_file(out, loss, seed):
    return out / f"{loss}-{seed}" / "metrics.json"


def main():
    from dml.cli import main as dml
    from dml.losses import LOSSES

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/omniglot-losses"))
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    alone = sorted(set(LOSSES) - set(BESIDE))
    names = options.only or [*alone, *(JOINED + name for name in BESIDE)]
    if len(options.only) == 1:
        measure(names[0], options.seeds, options.epochs, options.out)
        return

    def job(name):  # a process each: TensorFlow keeps what it has compiled
        if all(metrics_file(options.out, name, seed).exists() for seed in range(options.seeds)):
            return
        arguments = ["--seeds", options.seeds, "--epochs", options.epochs, "--out", options.out]
        command = [sys.executable, __file__, *map(str, arguments), "--only", name]
        threads = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
        fast = {"TF_ENABLE_ONEDNN_OPTS": "1"}  # as `dml train` has it
        done = subprocess.run(
            command, env={**os.environ, **threads, **fast}, capture_output=True, text=True
        )
        print(f"{name} done" if not done.returncode else done.stderr[-2000:], file=sys.stderr)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(job, names))
    runs = [
        metrics_file(options.out, name, s).parent for name in names for s in range(options.seeds)
    ]
    sys.exit(dml(["compare", "--table", *map(str, runs)]))


if __name__ == "__main__":
    main()
