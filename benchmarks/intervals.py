"""Coverage of the 95 % intervals of `dml.evaluation`, by simulation.

    python benchmarks/intervals.py [--repeats 2000]

Classes are drawn whose own R@1 is beta-distributed around a level, and of each its queries: 20, or
an uneven number (log-normal, on average 20, of deviation 0.8 of the logarithm). `spread` is the
standard deviation between classes as a share of the largest possible, sqrt(level (1 - level)): 0.2
are classes much alike, 0.6 some nearly right and some nearly wrong. For each number of classes it
prints the share of intervals that hold the level, in percent, the lowest and the highest over the
spreads, and how wide the intervals are on average.
"""

import argparse

import numpy as np

from dml.evaluation import class_interval

CLASSES = (10, 20, 50, 100)
LEVELS = (0.3, 0.6, 0.8, 0.9, 0.95)
SPREADS = (0.2, 0.4, 0.6)
QUERIES = 20


def held(classes, level, spread, uneven, repeats, seed=0):
    """Returns the share of intervals that hold the level, and their mean width."""
    rng = np.random.default_rng(seed)
    rest = 1 / spread**2 - 1
    ends = np.empty((repeats, 2))
    for repeat in range(repeats):
        sizes = np.full(classes, QUERIES)
        if uneven:
            sizes = np.maximum(np.rint(QUERIES * rng.lognormal(-0.32, 0.8, classes)), 2).astype(int)
        codes = np.repeat(np.arange(classes), sizes)
        own = rng.beta(level * rest, (1 - level) * rest, classes)
        hits = rng.random(len(codes)) < own[codes]
        ends[repeat] = class_interval(hits[:, None], codes)[:, 0]
    inside = (ends[:, 0] <= level) & (level <= ends[:, 1])
    return inside.mean(), (ends[:, 1] - ends[:, 0]).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    columns = [f"{100 * level:g}" for level in LEVELS]
    print("| classes | queries | R@1 " + " | ".join(columns) + " | mean width |")
    print("|---" * (len(LEVELS) + 3) + "|")
    for classes in CLASSES:
        for uneven in (False, True):
            cells, widths = [], []
            for level in LEVELS:
                found = [held(classes, level, spread, uneven, repeats) for spread in SPREADS]
                shares = [100 * share for share, _ in found]
                cells.append(f"{min(shares):.0f} - {max(shares):.0f}")
                widths += [100 * width for _, width in found]
            name = "uneven" if uneven else "20 each"
            print(
                f"| {classes} | {name} |",
                " | ".join(cells),
                f"| {np.mean(widths):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
