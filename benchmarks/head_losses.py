"""Losses on cached features, beside those of pytorch-metric-learning in a plain loop.

    DML_DATA=... python benchmarks/head_losses.py [--data cub50 ...] [--losses NAME ...]
        [--libraries dml peer] [--jobs 2] [--out FOLDER] [--measured]

An embedding of MobileNet's features at 128 px is trained as in the head stage of the recipe
`adapt`: 20 epochs, starting as principal components, in batches of 64; losses of pairs get 4 images
of a class. With each loss, two settings of its options and three rates are tried; the one with the
best R@1 on the validation classes is trained with 3 seeds, whose R@1 and MAP@R on the test classes
are printed as a Markdown table. `peer` is pytorch-metric-learning, which must be installed: its
losses on the same features, starting weights, batches, rates and trials, in a PyTorch loop. What
is in `benchmarks/measured/head-losses` is not trained again; `--measured` prints the table of that.
"""

import argparse
import concurrent.futures
import functools
import itertools
import json
import math
import multiprocessing
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from cached_features import ASPECTS, Images
from training_runs import MEASURED, by_class, kept, metric_cells

METRICS = ("R@1", "MAP@R")
RATES = (1e-4, 3e-4, 1e-3)  # of the embedding layer: the recipe's, lower and higher
EPOCHS, BATCH, SEEDS = 20, 64, 3
PAIRS, PROXIES = "pairs", "proxies"
# name: (what it compares images with, a second setting of the most important options)
LOSSES = {
    "proxy_nca": (PROXIES, {"scale": 5.0}),
    "proxy_nca_pp": (PROXIES, {"temperature": 0.2}),
    "soft_triple": (PROXIES, {"proxies_per_class": 2}),
    "proxy_anchor": (PROXIES, {"margin": 0.2}),
    "multi_similarity": (PAIRS, {"base": 0.7}),
    "adapted_triplet": (PAIRS, {"mining": "all"}),
    "normalized_softmax": (PROXIES, {"temperature": 0.1}),
    "arcface": (PROXIES, {"scale": 24.0, "margin": 15.0}),
    "cosface": (PROXIES, {"scale": 24.0, "margin": 0.2}),
    "sub_center_arcface": (PROXIES, {"scale": 24.0, "margin": 15.0}),
    "contrastive": (PAIRS, {"negative_margin": 0.7}),
    "triplet": (PAIRS, {"margin": 0.1}),
    "margin": (PAIRS, {"boundary": 1.0}),
    "circle": (PAIRS, {"scale": 32.0}),
    "sup_con": (PAIRS, {"temperature": 0.2}),
    "nt_xent": (PAIRS, {"temperature": 0.2}),
    "smooth_ap": (PAIRS, {"temperature": 0.05}),
}
# Of pytorch-metric-learning: (class, a second setting, its miner)
PEERS = {
    "proxy_nca": ("ProxyNCALoss", {"softmax_scale": 9.0}, ""),
    "soft_triple": ("SoftTripleLoss", {"centers_per_class": 2}, ""),
    "proxy_anchor": ("ProxyAnchorLoss", {"margin": 0.2}, ""),
    "multi_similarity": ("MultiSimilarityLoss", {"base": 0.7}, "MultiSimilarityMiner"),
    "normalized_softmax": ("NormalizedSoftmaxLoss", {"temperature": 0.1}, ""),
    "arcface": ("ArcFaceLoss", {"scale": 24.0, "margin": 15.0}, ""),
    "cosface": ("CosFaceLoss", {"scale": 24.0, "margin": 0.2}, ""),
    "sub_center_arcface": ("SubCenterArcFaceLoss", {"scale": 24.0, "margin": 15.0}, ""),
    "contrastive": ("ContrastiveLoss", {"neg_margin": 0.7}, ""),
    "triplet": ("TripletMarginLoss", {"margin": 0.2}, "TripletMarginMiner"),
    "margin": ("MarginLoss", {"beta": 1.0}, ""),
    "circle": ("CircleLoss", {"gamma": 32.0}, ""),
    "sup_con": ("SupConLoss", {"temperature": 0.2}, ""),
    "nt_xent": ("NTXentLoss", {"temperature": 0.2}, ""),
    "smooth_ap": ("SmoothAPLoss", {"temperature": 0.05}, ""),
}

SPLITS = ("train", "val", "test")
SECOND = {  # by library
    "dml": {name: second for name, (_, second) in LOSSES.items()},
    "peer": {name: second for name, (_, second, _) in PEERS.items()},
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=ASPECTS, default=list(ASPECTS))
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--libraries", nargs="+", choices=SECOND, default=list(SECOND))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/head-losses"))
    parser.add_argument("--measured", action="store_true")
    options = parser.parse_args()
    jobs = [
        job
        for job in itertools.product(options.data, options.losses, options.libraries)
        if job[1] in SECOND[job[2]]
    ]
    missing = [job for job in jobs if not file_of(*job).exists()]
    if missing and not options.measured:
        peer = any(library == "peer" for *_, library in missing)
        if peer and find_spec("pytorch_metric_learning") is None:
            parser.error("pytorch-metric-learning is not installed: install it, or --libraries dml")
        measure(missing, options.jobs, options.out)
    for line in table([job for job in jobs if file_of(*job).exists()]):
        print(line)


def measure(jobs, count, out):
    """Trains what has not been measured, in processes of one thread each."""
    for data in {data for data, _, _ in jobs}:  # the features, before they are shared
        Images(data, out, SPLITS)
    threads = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    os.environ.update(threads)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(count, mp_context=spawn) as pool:
        started = [pool.submit(measured, *job, out) for job in jobs]
        for done in concurrent.futures.as_completed(started):
            print(done.result(), file=sys.stderr)


def file_of(data, loss, library):
    return MEASURED / "head-losses" / data / f"{loss}-{library}.json"


def measured(data, loss, library, out):
    """Chooses a loss's setting, trains it with each seed, and keeps what the table needs."""
    kept(file_of(data, loss, library), functools.partial(trained, data, loss, library, out))
    return f"{data} {loss} {library}"


@functools.lru_cache(maxsize=1)
def images_of(data, out):
    """Returns the features of a data set, opened once by each process."""
    return Images(data, out, SPLITS)


def trained(data, loss, library, out):
    """Returns the trials' R@1 on the validation classes, the best, and its runs on the test."""
    images = images_of(data, out)
    train = {"dml": trained_by_dml, "peer": trained_by_peer}[library]
    trials = list(itertools.product(({}, SECOND[library][loss]), RATES))
    scores = []
    for options, rate in trials:
        embed = train(images, loss, options, rate, seed=0)
        scores.append(images.retrieval(embed, "val").recall[1])
    options, rate = trials[int(np.argmax(scores))]
    runs = []
    for seed in range(SEEDS):
        found = images.retrieval(train(images, loss, options, rate, seed), "test")
        runs.append(by_class(found.per_query, found.classes, METRICS))
    return {"validation": scores, "options": options, "rate": rate, "runs": runs}


def trained_by_dml(images, loss, options, rate, seed):
    """Returns a function from features to the embeddings of a head that dml has trained."""
    import dml
    from dml.losses import LOSSES as PARTS

    pairs = LOSSES[loss][0] == PAIRS
    sampler = dml.samplers.MPerClass(BATCH // 4, 4) if pairs else dml.samplers.Shuffle(BATCH)
    return images.trained(PARTS[loss](**options), sampler, rate, seed)


def trained_by_peer(images, loss, options, rate, seed):
    """Returns a function from features to embeddings, by a loop of PyTorch."""
    import torch
    from pytorch_metric_learning import losses, miners, samplers

    torch.manual_seed(seed)
    np.random.seed(seed)  # of its sampler
    features = torch.tensor(images.features("train"))
    labels = torch.tensor(images.splits["train"].labels).long()
    kernel, bias = (torch.tensor(weights) for weights in images.start)
    layer = torch.nn.Linear(*kernel.shape)
    layer.load_state_dict({"weight": kernel.T, "bias": bias})
    kind, _, miner = PEERS[loss]
    if LOSSES[loss][0] == PROXIES:
        options = {"num_classes": int(labels.max()) + 1, "embedding_size": len(bias)} | options
        sampler = None
    else:
        size = len(labels) // BATCH * BATCH
        sampler = samplers.MPerClassSampler(labels, 4, BATCH, length_before_new_iter=size)
    function = getattr(losses, kind)(**options)
    mine = getattr(miners, miner)() if miner else lambda *_: None
    data = torch.utils.data.TensorDataset(features, labels)
    batches = torch.utils.data.DataLoader(
        data, BATCH, shuffle=sampler is None, sampler=sampler, drop_last=True
    )
    recipe = images.recipe
    decay, head_rate = recipe.optimizer.weight_decay, recipe.head_stage.head_learning_rate
    groups = [
        {"params": list(layer.parameters()), "lr": rate, "weight_decay": decay},
        {"params": list(function.parameters()), "lr": head_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
    steps = EPOCHS * len(batches)
    warm_up = recipe.optimizer.warmup_epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / warm_up,
            0.5 + 0.5 * math.cos(math.pi * max(0, step - warm_up) / (steps - warm_up)),
        ),
    )
    for _ in range(EPOCHS):
        for x, y in batches:
            embeddings = torch.nn.functional.normalize(layer(x))
            value = function(embeddings, y, mine(embeddings, y))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
    return lambda x: layer(torch.tensor(x)).detach().numpy()


def table(jobs):
    """Yields the lines of a Markdown table."""
    names = "".join(f" {metric} | 95 % interval |" for metric in METRICS)
    yield f"| data | loss | library | setting |{names}"
    yield f"|---|---|---|---|{'---|---|' * len(METRICS)}"
    for data, group in itertools.groupby(jobs, key=lambda job: job[0]):
        rows = [(job, json.loads(file_of(*job).read_text())) for job in group]
        rows.sort(key=lambda row: -mean_of(row[1]["runs"]))
        for (_, loss, library), found in rows:
            options = ", ".join(f"{k} {v}" for k, v in found["options"].items())
            setting = f"{options}{', ' if options else ''}rate {found['rate']:g}"
            cells = "".join(f" {metric_cells(found['runs'], metric)} |" for metric in METRICS)
            yield f"| {data} | {loss} | {library} | {setting} |{cells}"


def mean_of(runs):
    """Returns the mean R@1 of some runs."""
    return np.mean([np.average(run["R@1"], weights=run["queries"]) for run in runs])


if __name__ == "__main__":
    main()
