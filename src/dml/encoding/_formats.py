"""A trained encoder in the formats of other runtimes, its preparation of images inside it."""

import contextlib
import io
import warnings
from collections import Counter

import numpy as np

from dml._console.terminal import held_back

PRECISIONS = ("float32", "half", "int8")
OPSET = 18  # of ONNX: read by runtimes since 2023
KEPT = ("prepare", "unit_length")  # stay float32: sizes and lengths need its range


def write_encoder(encoder, path, form, precision="float32"):
    """Writes an encoder in one format, from uint8 images (B, H, W, 3) of any size to unit vectors.

    Args:
        encoder: A Keras model as `dml.build_encoder` returns it, on the TensorFlow backend.
        path: The file, or the folder of a SavedModel.
        form: `onnx`, `saved-model`, `litert` or `keras`.
        precision: `float32`; for ONNX also `half`, weights and arithmetic of float16, or `int8`,
            weights of eight bits with one scale per channel and arithmetic of float32.

    Raises:
        ValueError: The combination is unknown, or the backend is another one.
    """
    import keras

    if precision not in PRECISIONS or (precision != "float32" and form != "onnx"):
        raise ValueError(f"--half and --int8 are for --to onnx; got {form} in {precision}")
    if form == "keras":
        encoder.save(path)
        return
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"export to {form} goes through TensorFlow: add --backend tensorflow. "
            "An encoder loads there whatever it was trained on"
        )
    prepared = encoder.get_layer("prepare").resize_side
    encoder.predict_on_batch(np.zeros((1, prepared, prepared, 3), "uint8"))  # Keras wants it called
    with quiet():
        if form == "onnx":
            encoder.export(path, format="onnx", opset_version=OPSET, verbose=False)
        elif form == "litert":
            encoder.export(path, format="litert", verbose=False)
        else:
            encoder.export(path, format="tf_saved_model", verbose=False)
        if precision == "half":
            to_half(path)
        elif precision == "int8":
            to_int8(path)


@contextlib.contextmanager
def quiet():
    """Keeps the chatter of converters off the terminal, unless they fail."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), held_back():
        warnings.simplefilter("ignore")
        yield


def kept_nodes(model):
    """Returns the names of an ONNX graph's nodes that stay float32."""
    return [node.name for node in model.graph.node if any(part in node.name for part in KEPT)]


def to_half(path):
    """Rewrites the weights and activations of an ONNX file in float16."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(path)
    model = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept_nodes(model))
    onnx.save(model, path)


def to_int8(path):
    """Rewrites the weights of an ONNX file's convolutions and products in eight bits.

    Not the activations: in eight bits they cost MobileNet 2 to 4 points of Recall@1 and a third of
    its nearest neighbours, and made it no faster.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    kept, weights = set(kept_nodes(model)), {w.name: w for w in model.graph.initializer}
    axes = {
        node.input[1]: 0 if node.op_type == "Conv" else 1
        for node in model.graph.node
        if node.op_type in ("Conv", "MatMul") and node.name not in kept and node.input[1] in weights
    }
    users = Counter(name for node in model.graph.node for name in node.input)
    restored = []
    for name, axis in axes.items():
        values = numpy_helper.to_array(weights[name])
        if users[name] > 1 or values.dtype != np.float32:
            continue
        others = tuple(a for a in range(values.ndim) if a != axis)
        scale = np.maximum(np.abs(values).max(axis=others, keepdims=True) / 127, 1e-12)
        codes = np.rint(values / scale).astype("int8")
        model.graph.initializer.remove(weights[name])
        parts = {"codes": codes, "scales": scale.astype("float32").ravel()}
        for part, array in parts.items():
            model.graph.initializer.append(numpy_helper.from_array(array, f"{name}/{part}"))
        inputs = [f"{name}/{part}" for part in parts]
        restored.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
    for node in reversed(restored):
        model.graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def read_encoder(path, form):
    """Returns a function from uint8 images (B, H, W, 3) to float32 vectors (B, D).

    Runs an exported file in the runtime that it is for.
    """
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: session.run(None, {name: images})[0]
    if form == "keras":
        from dml.encoding.encoder import load_encoder

        encoder = load_encoder(path)
        return lambda images: np.asarray(encoder.predict_on_batch(images))
    import tensorflow as tf

    if form == "saved-model":
        model = tf.saved_model.load(str(path))
        return lambda images: model.serve(images).numpy()
    with quiet():
        runtime = tf.lite.Interpreter(str(path))
        runtime.allocate_tensors()  # where it says what it computes with
    taken, given = runtime.get_input_details()[0]["index"], runtime.get_output_details()[0]["index"]

    def run(images):
        runtime.resize_tensor_input(taken, images.shape)
        runtime.allocate_tensors()
        runtime.set_tensor(taken, images)
        runtime.invoke()
        return runtime.get_tensor(given)

    return run
