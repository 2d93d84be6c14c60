"""`dml evaluate`: the figures of a run on a test split, with their protocol and intervals."""

import time

import numpy as np

from dml.folders import RunFolder, atomic_path, read_json, write_json
from dml.recipe import load_recipe


def evaluate(run, on=None, flags=(), report=print):
    """Embeds a test split, measures retrieval, clustering and linear separability, reports.

    Args:
        run: The run's folder.
        on: A data set's name, a recipe or a folder; by default the run's own data set.
        flags: `--dataset.option value` and `--evaluation.option value`.
        report: Called with each line of text for the user.

    Returns:
        The figures, as written to `metrics.json`.

    Raises:
        ValueError, FileNotFoundError: The run, the data set or an image is at fault.
    """
    folder = RunFolder(run).open()
    recipe = load_recipe(folder.recipe)
    if on is not None or flags:
        recipe = with_dataset(recipe, on or folder.recipe, flags)
    from dml.encoder import load_encoder

    encoder = load_encoder(folder.encoder)
    name = recipe.names["dataset"]
    items = recipe.dataset.items()
    queries = items.select("test", "query")
    if not len(queries):
        raise ValueError(f"{name} has no test split to evaluate on")
    started = time.monotonic()
    data = embed_splits(encoder, items, recipe)
    figures = measure(data, items, recipe)
    untrained = untrained_figures(folder, recipe, items)
    metrics = {
        "schema": 1,
        "dataset": name,
        "protocol": items.protocol,
        "queries": len(queries),
        "classes": len(queries.class_names),
        "figures": figures,
        "untrained": untrained,
        "seconds": round(time.monotonic() - started, 1),
    }
    own = on is None
    output = folder.evaluation(name)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_path(output / "vectors.npy") as path:
        np.save(path, data["test"][0])
    write_items(output / "items.parquet", queries)
    write_json(output / "metrics.json", metrics)
    if own:
        write_json(folder.metrics, metrics)
    return metrics
