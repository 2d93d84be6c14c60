"""A bundle small enough to create in each test: maps colours to unit vectors."""

import numpy as np

from dml._storage.bundle import Bundle
from dml.evaluation import CalibratedThreshold

DIMENSION = 6


def threshold(kind="far", similarity=0.5):
    """Returns a calibrated threshold, as a bundle's description holds it."""
    measured = {"rate": 0.005, "bound": 0.009, "count": 1000, "coverage": 0.4}
    return CalibratedThreshold(kind, similarity, target=0.01, **measured).to_json()


THRESHOLDS = (threshold(),)


def write_bundle(path, thresholds=THRESHOLDS, contents=None, seed=0, side=20):
    """Writes a bundle whose encoder mixes an image's mean and squared mean colour; returns it."""
    path.mkdir(parents=True)
    (path / "encoder.onnx").write_bytes(graph(seed) if contents is None else contents)
    Bundle(path).describe(
        {
            "dimension": DIMENSION,
            "preparation": {"resize_side": side, "input_size": side, "aspect": "keep"},
            "thresholds": list(thresholds),
        }
    )
    return path


def graph(seed):
    """Returns the ONNX file of uint8 (B, H, W, 3) -> float32 (B, DIMENSION)."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(seed).normal(size=(3, DIMENSION)).astype("float32")
    constants = {
        "middle": np.float32(127.5),
        "spatial": np.array([1, 2], "int64"),
        "last": np.array([1], "int64"),
        "weights": weights,
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "middle"], ["centred"]),
        helper.make_node("ReduceMean", ["centred", "spatial"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["mixed"]),
        helper.make_node("ReduceL2", ["mixed", "last"], ["length"], keepdims=1),
        helper.make_node("Div", ["mixed", "length"], ["vectors"]),
    ]
    shapes = ["batch", "height", "width", 3], ["batch", DIMENSION]
    made = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shapes[0])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, shapes[1])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(made, opset_imports=[opset], ir_version=9).SerializeToString()


def write_images(folder, classes=3, each=4, side=24):
    """Writes coloured PNG images into a folder per class; returns the folder."""
    import cv2

    rng = np.random.default_rng(0)
    for number in range(classes):
        colour = rng.integers(40, 216, 3)
        inside = folder / f"class {number}"
        inside.mkdir(parents=True)
        for sample in range(each):
            image = np.clip(colour + rng.integers(-20, 21, (side, side + 8, 3)), 0, 255)
            cv2.imwrite(str(inside / f"{sample}.png"), image.astype("uint8"))
    return folder
