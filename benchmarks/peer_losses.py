"""The cases of losses.py for pytorch-metric-learning, on the same arrays: `losses.py --peer`."""

import argparse
import gc
import json

from losses import CASES, arrays_of, finished, median_ms
from memory import growth_mib


def build(case):
    """Returns embeddings (B, D), labels (B,), the loss, and its miner or None."""
    import torch
    from pytorch_metric_learning import losses, miners

    name, options, _, _, dim, classes, memory = CASES[case]
    x, labels, rows, known = arrays_of(case)
    miner = None
    match name:
        case "proxy_anchor":
            loss = losses.ProxyAnchorLoss(classes, dim)
        case "arcface":
            loss = losses.ArcFaceLoss(classes, dim)
        case "proxy_nca":
            loss = losses.ProxyNCALoss(classes, dim)
        case "soft_triple":
            centres = options["proxies_per_class"]
            loss = losses.SoftTripleLoss(classes, dim, centers_per_class=centres)
        case "multi_similarity":
            loss = losses.MultiSimilarityLoss()
            miner = None if memory else miners.MultiSimilarityMiner()
        case "triplet":
            loss = losses.TripletMarginLoss(margin=options["margin"])
            if "mining" not in options:
                miner = miners.TripletMarginMiner(options["margin"], type_of_triplets="semihard")
        case "contrastive":
            loss = losses.ContrastiveLoss()
        case "sup_con":
            loss = losses.SupConLoss()
    if memory:
        loss = losses.CrossBatchMemory(loss, dim, memory_size=memory)
        loss.embedding_memory, loss.label_memory = torch.tensor(rows), torch.tensor(known)
        loss.has_been_filled = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, labels = torch.tensor(x, device=device), torch.tensor(labels, device=device).long()
    return x, labels, loss.to(device), miner


def step_of(x, labels, loss, miner):
    """Returns a function without arguments that runs one forward and backward pass."""
    import torch

    weights = list(loss.parameters())

    def step():
        leaf = x.detach().requires_grad_()
        mined = () if miner is None else (miner(leaf, labels),)
        return finished(torch.autograd.grad(loss(leaf, labels, *mined), [leaf, *weights]))

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", choices=CASES, required=True)
    case = parser.parse_args().here
    step = step_of(*build(case))
    step_of(*build("soft_triple_cub"))()  # what PyTorch takes for itself is none of the case's
    gc.collect()
    peak = growth_mib(step, "torch")
    (ms,) = median_ms(step)
    print(json.dumps({"case": case, "ms": round(ms, 3), "peak_mib": round(peak, 1)}))


if __name__ == "__main__":
    main()
