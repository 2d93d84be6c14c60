"""What comes before every test."""

import contextlib

with contextlib.suppress(ImportError):
    # Its import closes the handlers of all loggers. absl's, which Keras brings, would close pytest's
    # own stream with it, so it has to come first.
    import pymilvus  # noqa: F401
