"""Pages of one HTML file: the report of an evaluation, and the results of a search."""

import lazy_loader

# Search results are written without Matplotlib, which draws a report's plots.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
