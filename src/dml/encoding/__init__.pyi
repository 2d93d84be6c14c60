from .embed import embed_images as embed_images
from .encoder import EmbeddingOptions as EmbeddingOptions
from .encoder import build_encoder as build_encoder
from .encoder import load_encoder as load_encoder
from .onnx_encoder import OnnxEncoder as OnnxEncoder
