"""Reference regularizers, in NumPy float64 loops."""

import numpy as np


def orthogonality(proxies, weight, crowded):
    classes, centres, dim = proxies.shape
    if classes == 1 or (classes > dim and not crowded):
        return 0.0
    values = [
        (proxies[c, k] @ proxies[d, m]) ** 2
        for c in range(classes)
        for d in range(classes)
        if c != d
        for k in range(centres)
        for m in range(centres)
    ]
    return weight * np.mean(values)


def lp(embeddings, weight, power):
    return weight * np.mean([sum(abs(v) ** power for v in row) for row in embeddings])


def zero_mean(embeddings, weight):
    return weight * np.mean([abs(row.sum()) for row in embeddings])


def center_invariant(proxies, weight):
    squares = [(p**2).sum() for p in proxies.reshape(-1, proxies.shape[-1])]
    return weight / 4 * np.mean([(s - np.mean(squares)) ** 2 for s in squares])


def regular_face(proxies, weight):
    classes, centres, _ = proxies.shape
    if classes == 1:
        return 0.0
    largest = []
    for c in range(classes):
        for k in range(centres):
            others = [d for d in range(classes) if d != c]
            largest.append(max(proxies[c, k] @ p for d in others for p in proxies[d]))
    return weight * np.mean(largest)


def sparse_centers(proxies, weight):
    classes, centres, _ = proxies.shape
    proxies = proxies / np.linalg.norm(proxies, axis=2, keepdims=True)
    total = 0.0
    for c in range(classes):
        for k in range(centres):
            for t in range(k + 1, centres):
                total += np.sqrt(2 + 1e-5 - 2 * proxies[c, k] @ proxies[c, t])
    return weight * total / max(classes * centres * (centres - 1), 1)


def koleo(embeddings, weight):
    logs = []
    for i, row in enumerate(embeddings):
        others = [np.linalg.norm(row - o) for j, o in enumerate(embeddings) if j != i]
        if others and min(others) > 1e-3:
            logs.append(np.log(min(others)))
    return -weight * np.mean(logs) if logs else 0.0


def anti_collapse(proxies, weight, epsilon):
    rows = proxies.reshape(-1, proxies.shape[-1])
    count, dim = rows.shape
    code = np.eye(dim) + dim / (count * epsilon**2) * rows.T @ rows
    return -weight * np.linalg.slogdet(code)[1] / 2 / dim


def hier(gaps, weight, margin, **options):
    total = 0.0
    for triplets in gaps:
        total += np.mean([sum(max(0.0, gap + margin) for gap in triplet) for triplet in triplets])
    return weight * total
