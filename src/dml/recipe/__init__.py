"""Recipes: everything that configures a run, read strictly from TOML and flags."""

import lazy_loader

# Composing a loss loads Keras; reading a data set's options does not.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
