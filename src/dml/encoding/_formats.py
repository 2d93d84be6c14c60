"""Exports an encoder, including preprocessing, to the formats of other runtimes."""

import contextlib
import functools
import io
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dml._storage.bundle import ExportFormat
from dml._streams import held_back
from dml.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

Run: TypeAlias = "Callable[[np.ndarray], np.ndarray]"  # uint8 (B, H, W, 3) -> float32 (B, D)

OPSET = 18  # of ONNX: read by runtimes since 2023
KEPT = ("prepare", "unit_length")  # stay in float32: sizes and lengths need its range


class Precision(StrEnum):
    """The numeric precision of an exported encoder."""

    FLOAT32 = "float32"
    HALF = "half"  # weights and arithmetic in float16
    INT8 = "int8"  # 8-bit weights with one scale per channel, arithmetic in float32


@dataclass(frozen=True)
class Runtime:
    """How a format is written and run.

    Args:
        write: Called with the encoder, the path and the precision.
        read: Called with the path; returns a function from images to vectors.
        precisions: The precisions that it can be written in.
        through_tensorflow: Whether the encoder must be on the TensorFlow backend to be written.
    """

    write: Callable[[Any, Path, Precision], None]
    read: Callable[[Path], Run]
    precisions: tuple[Precision, ...] = (Precision.FLOAT32,)
    through_tensorflow: bool = True


def write_encoder(
    encoder: Any,
    path: Path,
    form: ExportFormat,
    precision: Precision = Precision.FLOAT32,
) -> None:
    """Writes an encoder in one format, from uint8 images (B, H, W, 3) of any size to unit vectors.

    Args:
        encoder: A Keras model as `dml.build_encoder` returns it, on the TensorFlow backend.
        path: The file, or the folder of a SavedModel.
        form: The format.
        precision: The numeric precision. Only ONNX supports others than float32.

    Raises:
        OptionError: The format has no such precision, or the backend is not TensorFlow.
    """
    import numpy as np

    form, precision = ExportFormat(form), Precision(precision)
    check_form(form, precision)
    runtime = RUNTIMES[form]
    if runtime.through_tensorflow:
        side = encoder.get_layer("prepare").resize_side
        encoder.predict_on_batch(np.zeros((1, side, side, 3), "uint8"))  # Keras requires a call
    with _quiet():
        runtime.write(encoder, path, precision)


def check_form(form: ExportFormat, precision: Precision) -> None:
    """Raises an error for what can't be written here.

    Args:
        form: The format.
        precision: The numeric precision.

    Raises:
        OptionError: The format has no such precision, or the backend is not TensorFlow.
    """
    import keras

    runtime = RUNTIMES[form]
    if precision not in runtime.precisions:
        raise OptionError(
            "precision",
            f"must be {' or '.join(runtime.precisions)} in the format {form}; got {precision}, "
            f"which {ExportFormat.ONNX} has",
        )
    if runtime.through_tensorflow and keras.backend.backend() != "tensorflow":
        raise OptionError(
            "backend",
            f"must be tensorflow to export to {form}: add --backend tensorflow. An encoder "
            "loads there whatever it was trained on",
        )


def read_encoder(path: Path, form: ExportFormat) -> Run:
    """Returns a function from uint8 images (B, H, W, 3) to float32 vectors (B, D).

    Runs an exported file in its runtime.

    Args:
        path: The file, or the folder of a SavedModel.
        form: Its format.
    """
    return RUNTIMES[ExportFormat(form)].read(path)


def _write_onnx(encoder: Any, path: Path, precision: Precision) -> None:
    import onnx

    _teach_erfc()
    _keep_constants(encoder)
    with _uncompiled():
        encoder.export(path, format="onnx", opset_version=OPSET, verbose=False)
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        reason = str(error).splitlines()[0]
        path.unlink()
        raise OptionError(
            "to",
            f"must be another format than {ExportFormat.ONNX}: this network has an operation that "
            f"can't be converted ({reason})",
        ) from error
    if precision is Precision.HALF:
        _to_half(path)
    elif precision is Precision.INT8:
        _to_int8(path)


def _keep_constants(encoder: Any) -> None:
    """Makes NumPy arrays of the layers' constant tensors, such as the numbers of positions.

    TensorFlow takes them for inputs of the exported graph otherwise.
    """
    import keras

    for layer in encoder._flatten_layers():
        for name, value in list(vars(layer).items()):
            if keras.ops.is_tensor(value) and not isinstance(value, keras.Variable):
                setattr(layer, name, keras.ops.convert_to_numpy(value))


@contextlib.contextmanager
def _uncompiled():
    """Lets functions that Keras compiles by XLA, grouped convolutions, be part of the graph."""
    import tensorflow as tf

    function: Any = tf.function

    def plain(*functions, **options):
        if not options.get("jit_compile"):
            return function(*functions, **options)
        return functions[0] if functions else lambda called: called

    tf.function = plain
    try:
        yield
    finally:
        tf.function = function


@functools.cache
def _teach_erfc() -> None:
    """Teaches tf2onnx TensorFlow's Erfc, which computes the exact GELU of transformers: 1 - Erf."""
    import numpy as np
    from tf2onnx.handler import tf_op
    from tf2onnx.utils import make_name, map_onnx_to_numpy_type

    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **options):
            kind = map_onnx_to_numpy_type(graph.get_dtype(node.output[0]))
            one = graph.make_const(make_name("one"), np.ones((), kind))
            erf = graph.make_node("Erf", node.input, name=make_name(node.name))
            shapes, types = node.output_shapes, node.output_dtypes
            graph.remove_node(node.name)
            inputs = [one.output[0], erf.output[0]]
            graph.make_node(
                "Sub", inputs, outputs=node.output, shapes=shapes, dtypes=types, name=node.name
            )

    tf_op("Erfc")(Erfc)


def _read_onnx(path: Path) -> Run:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def _write_saved_model(encoder: Any, path: Path, precision: Precision) -> None:
    encoder.export(path, format="tf_saved_model", verbose=False)


def _read_saved_model(path: Path) -> Run:
    import tensorflow as tf

    model: Any = tf.saved_model.load(str(path))
    return lambda images: model.serve(images).numpy()


def _write_litert(encoder: Any, path: Path, precision: Precision) -> None:
    encoder.export(path, format="litert", verbose=False)


def _read_litert(path: Path) -> Run:
    import tensorflow as tf

    with _quiet():  # it prints what it computes with
        runtime = tf.lite.Interpreter(str(path))
        runtime.allocate_tensors()
    taken, given = runtime.get_input_details()[0]["index"], runtime.get_output_details()[0]["index"]

    def run(images):
        runtime.resize_tensor_input(taken, images.shape)
        runtime.allocate_tensors()
        runtime.set_tensor(taken, images)
        runtime.invoke()
        return runtime.get_tensor(given)

    return run


def _write_keras(encoder: Any, path: Path, precision: Precision) -> None:
    encoder.save(path)


def _read_keras(path: Path) -> Run:
    import numpy as np

    from dml.encoding.encoder import load_encoder

    encoder: Any = load_encoder(path)
    return lambda images: np.asarray(encoder.predict_on_batch(images))


@contextlib.contextmanager
def _quiet():
    """Hides the output of converters, unless they fail."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), held_back():
        warnings.simplefilter("ignore")
        yield


def _kept_nodes(model):
    """Returns the names of an ONNX graph's nodes that stay float32."""
    return [node.name for node in model.graph.node if any(part in node.name for part in KEPT)]


def _to_half(path: Path) -> None:
    """Rewrites the weights and activations of an ONNX file in float16."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(path)
    model = convert_float_to_float16(model, keep_io_types=True, node_block_list=_kept_nodes(model))
    onnx.save(model, path)


def _to_int8(path: Path) -> None:
    """Rewrites the weights of an ONNX file's convolutions and products in 8 bits.

    Activations stay in float32: in 8 bits they cost MobileNet 2 to 4 points of Recall@1 and a third
    of its nearest neighbours, and were no faster.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    kept, weights = set(_kept_nodes(model)), {w.name: w for w in model.graph.initializer}
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


RUNTIMES: Mapping[ExportFormat, Runtime] = {
    ExportFormat.ONNX: Runtime(_write_onnx, _read_onnx, tuple(Precision)),
    ExportFormat.SAVED_MODEL: Runtime(_write_saved_model, _read_saved_model),
    ExportFormat.LITERT: Runtime(_write_litert, _read_litert),
    ExportFormat.KERAS: Runtime(_write_keras, _read_keras, through_tensorflow=False),
}
