"""Set-up of every test."""

import contextlib
import os

import pytest
from hypothesis import HealthCheck, settings

# Products on a GPU in full float32, so that values hold to five digits there too.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# Connections to a server of a test print to stderr, at any time, that they have been closed.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

with contextlib.suppress(ImportError):
    # On import it closes the handlers of all loggers. absl's, which Keras brings, would close the
    # stream of pytest with it, so it has to come first.
    import pymilvus  # noqa: F401

# No test outlives a power failure, and waiting for the disk takes a tenth of a run's test.
os.fsync = lambda handle: None

# A slow machine fails no test.
settings.register_profile("dml", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dml")


@pytest.fixture(scope="module")
def eager_training():
    """Trains and embeds without tracing first, which takes three quarters of a small training.

    The values are the same; that steps can be traced is tested elsewhere.
    """
    import keras

    with pytest.MonkeyPatch.context() as patch:
        eager = property(lambda model: True, lambda model, value: None)
        patch.setattr(keras.Model, "run_eagerly", eager)
        yield
