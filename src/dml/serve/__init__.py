"""An index over HTTP, with a page to search it."""

import lazy_loader

# FastAPI and uvicorn are optional.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
