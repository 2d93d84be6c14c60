"""Deep metric learning for Keras 3. Importing this loads no backend."""

import importlib

PUBLIC = {  # name -> module; imported when it is first used
    "Learner": "dml.learner",
    "EmbeddingOptions": "dml.encoder",
    "build_encoder": "dml.encoder",
    "load_encoder": "dml.encoder",
    "OptimizerOptions": "dml.optimizers",
    "build_optimizer": "dml.optimizers",
    "embed_images": "dml.embed",
    "training_batches": "dml.loader",
    "load_recipe": "dml.recipe",
}
PACKAGES = (
    "augmentations",
    "backbones",
    "datasets",
    "evaluation",
    "heads",
    "losses",
    "miners",
    "reductions",
    "regularizers",
    "samplers",
)
__all__ = [*PUBLIC, *PACKAGES]


def __getattr__(name):
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    if name in PACKAGES:
        return importlib.import_module(f"dml.{name}")
    raise AttributeError(f"module 'dml' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
