"""Deep metric learning for Keras 3. Importing this loads no backend."""

from importlib.metadata import version

import lazy_loader

__version__ = version("dml")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
