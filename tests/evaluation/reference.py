"""Reference retrieval metrics, by float64 loops over every query and gallery row."""

import numpy as np

TIE = 1e-6


def unit(x):
    x = np.asarray(x, "float64")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def rounded(x):
    """Returns unit vectors as they are stored: in float32."""
    return unit(x).astype("float32").astype("float64")


def ranks_of_positives(
    embeddings, labels, gallery=None, gallery_labels=None, keys=None, gallery_keys=None
):
    """Returns, for each query, the ranks of its positives, nearest first.

    Labels may be sets, of which a positive shares one; rows of a query's key are left out.
    """
    queries = rounded(embeddings)
    rows = queries if gallery is None else rounded(gallery)
    row_labels = labels if gallery is None else gallery_labels
    row_keys = keys if gallery is None else gallery_keys

    def alike(i, j):
        if isinstance(labels[i], set | frozenset):
            return bool(labels[i] & row_labels[j])
        return row_labels[j] == labels[i]

    found = []
    for i, query in enumerate(queries):
        others = [j for j in range(len(rows)) if gallery is not None or j != i]
        if keys is not None and keys[i] is not None:
            others = [j for j in others if row_keys[j] != keys[i]]
        positives = sorted(query @ rows[j] for j in others if alike(i, j))[::-1]
        negatives = [query @ rows[j] for j in others if not alike(i, j)]
        found.append(
            [
                order + sum(n >= s - TIE for n in negatives)
                for order, s in enumerate(positives, start=1)
            ]
        )
    return found


def recall(ranks, k):
    hits = [r[0] <= k for r in ranks if r]
    return sum(hits) / len(hits)


def r_precision(ranks):
    return np.mean([sum(p <= len(r) for p in r) / len(r) for r in ranks if r])


def map_at_r(ranks):
    return np.mean(
        [
            sum(order / p for order, p in enumerate(r, start=1) if p <= len(r)) / len(r)
            for r in ranks
            if r
        ]
    )


def precision_at(ranks, k):
    return np.mean([sum(p <= k for p in r) / k for r in ranks if r])


def map_at(ranks, k):
    def average(r):
        return sum(n / p for n, p in enumerate(r, start=1) if p <= k) / min(len(r), k)

    return np.mean([average(r) for r in ranks if r])


def ndcg_at(ranks, k):
    def gain(places):
        return sum(1 / np.log2(p + 1) for p in places if p <= k)

    return np.mean([gain(r) / gain(range(1, len(r) + 1)) for r in ranks if r])


def full_map(ranks):
    return np.mean([np.mean([n / p for n, p in enumerate(r, start=1)]) for r in ranks if r])
