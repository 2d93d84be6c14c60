"""Encoders: from images of any size to unit vectors, under Keras or ONNX Runtime."""

import lazy_loader

# The encoder of a bundle also runs without Keras.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
