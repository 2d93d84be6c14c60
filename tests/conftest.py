"""What comes before every test."""

import contextlib

with contextlib.suppress(ImportError):
    # On import it closes the handlers of all loggers. absl's, which Keras brings, would close the
    # stream of pytest with it, so it has to come first.
    import pymilvus  # noqa: F401
