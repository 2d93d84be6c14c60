"""Training on several devices: which of them holds what (JAX), and where that is refused."""

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from dml._processes import check_joined, exchanged, process_count, process_index, require_jax
from dml.errors import DmlError, OptionError

_AXIS = "devices"
_GATHERED = 2**26  # bytes of a divided array that a device receives at once


@contextlib.contextmanager
def on_devices(devices: int | str = "all", shard_proxies: bool = False) -> Iterator[int]:
    """Trains on several devices, inside a `with` block, on JAX.

    They are those of this machine, or of all processes that `dml.join_processes` has joined.

    Each device computes the embeddings of its share of a batch, and the loss sees the whole batch:
    value, gradient and trained weights are those of one device, except for rounding. Encoder,
    learner and optimizer must be made inside the block, which also divides the work of `evaluate`,
    `predict`, `embed` and `dml.embed_images`. A batch that they can't share evenly is computed
    whole by each. The batches of `dml.training_batches` are sent to each device in its share, all
    others whole.

    Args:
        devices: How many, or `all`. With 1, the block has no effect. Several processes train on
            all of their devices.
        shard_proxies: Whether each device holds, compares and updates the proxies of its share of
            the classes only, with their part of the optimizer's state; otherwise all devices hold
            all proxies.

    Yields:
        The number of devices.

    Raises:
        OptionError: There are fewer devices, or more of another process; or the backend is not JAX.
        DmlError: JAX has joined processes without `dml.join_processes`.

    Example:
        >>> with dml.on_devices("all") as count:  # doctest: +SKIP
        ...     encoder = dml.build_encoder(dml.backbones.Conv4())
        ...     learner = dml.Learner(encoder, dml.losses.ProxyAnchor(), classes=100)
        ...     learner.compile()
        ...     learner.fit(images, labels, batch_size=32 * count)
    """
    count = device_count(devices)
    if count == 1:
        yield 1
        return
    with _Devices(count, shard_proxies).scope():
        yield count


def device_count(devices: int | str) -> int:
    """Returns how many devices `on_devices` uses.

    Raises:
        OptionError: There are fewer, or the backend is not JAX.
        DmlError: JAX has joined processes of which dml does not know.
    """
    check_joined()
    if devices == 1 and process_count() == 1:
        return 1
    require_jax("devices")
    there = _count_devices()
    if devices == "all":
        return there
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise OptionError("devices", f"must be a positive number or all; got {devices!r}")
    if devices > there:
        raise OptionError(
            "devices", f"must be at most {there}, as JAX finds no more; got {devices}"
        )
    if devices < there and process_count() > 1:
        raise OptionError(
            "devices",
            f"must be all or {there}, as {process_count()} processes train on all of their "
            f"devices; got {devices}",
        )
    return devices


def _count_devices() -> int:
    """Returns how many devices there are, in all processes."""
    import jax

    if process_count() == 1:
        return len(_names_of_devices())
    counts = exchanged(np.array([jax.local_device_count()]))[:, 0].tolist()
    if len(set(counts)) > 1:
        raise OptionError(
            "devices", f"must be as many in each process; got {', '.join(map(str, counts))}"
        )
    return sum(counts)


def _names_of_devices() -> list[str]:
    """Returns the devices of this process; of all of them while they train together."""
    import jax

    if jax.process_count() == 1:
        return keras.distribution.list_devices()
    devices = jax.local_devices() if process_count() == 1 else jax.devices()
    in_order = sorted(devices, key=lambda device: (device.process_index, device.id))
    return [f"{device.platform}:{device.id}" for device in in_order]


@contextlib.contextmanager
def on_own_devices() -> Iterator[None]:
    """Computes on the devices of this process alone, in a `with` block inside `from_first`."""
    devices = _current()
    if devices is None or devices.processes == 1:
        yield
        return
    own = len(_names_of_devices())
    with _computing_on(_Devices(own, shards_proxies=False) if own > 1 else None):
        yield


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Computes, in a `with` block, what other processes compute otherwise or not at all."""
    devices = _current()
    if devices is None or devices.processes == 1:
        yield
        return
    with _computing_on(None):
        yield


@contextlib.contextmanager
def _computing_on(other: "_Devices | None") -> Iterator[None]:
    """Replaces the devices in use in a `with` block; None for none."""
    devices = _current()
    keras.distribution.set_distribution(other)
    try:
        yield
    finally:
        keras.distribution.set_distribution(devices)


def devices_in_use() -> int:
    """Returns how many devices the block of `on_devices` around this trains on; 1 without one."""
    devices = _current()
    return 1 if devices is None else devices.count


class _Devices(keras.distribution.DataParallel):
    """Divides batches, and proxies by class, between devices; all else is on each of them.

    One axis of devices serves both: every device embeds its images, receives the embeddings of the
    others, which are small, and compares all of them with its own proxies.

    Args:
        count: Number of devices; at least 2.
        shards_proxies: Whether proxies are divided.

    Attributes:
        batch_size: Size of this process's share of all batches of the training under way, which are
            divided when they are sent to the devices; None if batches differ in size. Keras lays
            out all batches as the first one, and JAX refuses to divide an array unevenly outside of
            a compiled step.
        processes: The number of processes that train together.
    """

    def __init__(self, count: int, shards_proxies: bool):
        names = _names_of_devices()[:count]
        mesh = keras.distribution.DeviceMesh((count,), [_AXIS], names)
        super().__init__(mesh, auto_shard_dataset=False)  # batches come in shares
        self.count = count
        self.processes = process_count()
        self.shards_proxies = shards_proxies
        self.batch_size: int | None = None

    def get_data_layout(self, data_shape):
        size = data_shape[0] if len(data_shape) else None
        own = self.count // self.processes
        even = size is not None and size == self.batch_size and size % own == 0
        return self.layout(len(data_shape), 0 if even else None)

    def get_variable_layout(self, variable):
        # Proxies, and the tables of all of them where a step takes a sample.
        if self.shards_proxies and (
            variable.name in ("proxies", "table") or variable.path.startswith("slots/")
        ):
            return self.layout(len(variable.shape), self._divided_axis(variable.shape))
        return super().get_variable_layout(variable)

    def layout(self, rank: int, axis: int | None):
        """Returns the layout of an array that is divided along an axis; of a whole one for None."""
        axes = [_AXIS if i == axis else None for i in range(rank)]
        return keras.distribution.TensorLayout(axes, self.device_mesh)

    def _divided_axis(self, shape):
        """Returns the axis along which proxies (C, K, D) are stored in equal parts.

        The classes; or where their number is not divisible, the dimensions: a step then moves them
        to the devices of their classes, which it may divide unevenly.
        """
        classes, _, dim = shape
        if classes % self.count and dim % self.count:
            nearest = -(-dim // self.count) * self.count
            raise OptionError(
                "shard_proxies",
                f"needs a number of classes or of dimensions that {self.count} devices can share "
                f"evenly; got {classes} classes and {dim} dimensions. The nearest embedding is of "
                f"{nearest}",
            )
        return 2 if classes % self.count else 0


def by_image(x: Any, axis: int = 0) -> Any:
    """Returns a tensor, one of whose axes is the images of a batch, divided between the devices.

    If they can share them evenly: JAX can't receive or return arrays that are divided otherwise.
    """
    devices = _current()
    if devices is None or x.shape[axis] is None or x.shape[axis] % devices.count:
        return x
    return _laid_out(x, devices, axis)


def by_class(x: Any, axis: int = 0) -> Any:
    """Returns a tensor, one of whose axes is the classes, divided as the proxies are, if at all."""
    devices = _current()
    return x if devices is None or not devices.shards_proxies else _laid_out(x, devices, axis)


def for_all_classes(x: Any) -> Any:
    """Returns a tensor, of a whole batch on each device, if the classes are divided."""
    devices = _current()
    return x if devices is None or not devices.shards_proxies else _laid_out(x, devices, None)


def for_all_images(x: Any) -> Any:
    """Returns a tensor, of a whole batch on each device, if devices divide batches."""
    devices = _current()
    return x if devices is None else _laid_out(x, devices, None)


def shards_proxies() -> bool:
    """Returns whether the proxies are divided between devices."""
    devices = _current()
    return devices is not None and devices.shards_proxies


@contextlib.contextmanager
def equal_batches(size: int | None) -> Iterator[None]:
    """Lets batches of a size be divided when they are sent to the devices, in a `with` block.

    Args:
        size: The size of this process's share of every batch in the block; None if they differ.
    """
    devices = _current()
    if devices is None:
        yield
        return
    before, devices.batch_size = devices.batch_size, size
    try:
        yield
    finally:
        devices.batch_size = before


def check_shared(batch_size: int) -> None:
    """Raises an error unless the processes, if there are several, can train on their shares of it.

    Args:
        batch_size: That of `dml.training_batches`, of which each process reads its share.

    Raises:
        OptionError: Their devices can't share it evenly.
        DmlError: They would train apart.
    """
    if process_count() == 1:
        return
    devices = _current()
    if devices is None or devices.processes == 1:
        raise DmlError(
            f"process {process_index()} of {process_count()} would train alone, on its share of "
            'each batch: make the encoder and the learner inside a block of dml.on_devices("all")'
        )
    if batch_size % devices.count:
        lower = batch_size // devices.count * devices.count
        nearest = [str(size) for size in (lower, lower + devices.count) if size]
        raise OptionError(
            "sampler.batch_size",
            f"must be a multiple of the {devices.count} devices of {process_count()} processes; "
            f"got {batch_size}. The nearest: {' or '.join(nearest)}",
        )


def placed(value: Any, variable: Any) -> Any:
    """Returns a value for a variable on the devices that hold it; nowhere is it whole for that."""
    return value if _current() is None else _sent(value, variable.value.sharding)


def _sent(value, sharding):
    """Returns an array, which all processes have, on devices; JAX would compare it between them."""
    import jax

    if isinstance(value, jax.Array):
        return jax.device_put(value, sharding)
    return jax.make_array_from_callback(value.shape, sharding, lambda part: value[part])


def predicted(model: keras.Model, batch: Any) -> np.ndarray:
    """Returns a model's output (B, ...) for a batch, which the devices share if they can evenly."""
    devices = _current()
    if devices is None:
        return np.asarray(model.predict_on_batch(batch))
    even = len(batch) % devices.count == 0
    layout = devices.layout(len(batch.shape), 0 if even else None).backend_layout
    return whole(_predictor(model)(_sent(batch, layout)))


def predicted_share(model: keras.Model, share: np.ndarray) -> np.ndarray:
    """Returns a model's output for this process's share of a batch, which all must be as large.

    Its devices must be able to share it evenly.
    """
    import jax

    devices = _current()
    assert devices is not None
    layout = devices.layout(share.ndim, 0).backend_layout
    batch = jax.make_array_from_process_local_data(layout, share)
    parts = _predictor(model)(batch).addressable_shards
    return np.concatenate([part.data for part in sorted(parts, key=lambda p: p.index[0].start)])


_predictors: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _predictor(model) -> Callable[[Any], Any]:
    """Returns a compiled function from a batch to a model's output, divided as the batch."""
    import jax

    if model not in _predictors:
        inside = weakref.ref(model)  # otherwise the function would keep its own key
        compiled = jax.jit(
            lambda state, x: by_image(inside().stateless_call(*state, x, training=False)[0])
        )
        _predictors[model] = compiled
    compiled = _predictors[model]
    variables = model.trainable_variables, model.non_trainable_variables
    state = [[v.value for v in some] for some in variables]
    return lambda x: compiled(state, x)


def share_of(batch_size: int) -> int:
    """Returns the images of a batch that this process computes, a multiple of its devices.

    All processes together compute at least `batch_size`.
    """
    devices = _current()
    if devices is None or devices.processes == 1:
        return batch_size
    return -(-batch_size // devices.count) * (devices.count // devices.processes)


def whole(array: Any) -> np.ndarray:
    """Returns an array's values, wherever its parts are; all processes must call it."""
    devices = _current()
    if devices is None or _is_readable(array):
        return keras.ops.convert_to_numpy(array)
    import jax

    everywhere = jax.sharding.NamedSharding(array.sharding.mesh, jax.sharding.PartitionSpec())
    rows = max(1, _GATHERED // max(array[:1].nbytes, 1))
    rows = min(rows, len(array))
    take = jax.jit(
        lambda x, start: jax.lax.dynamic_slice_in_dim(x, start, rows), out_shardings=everywhere
    )
    values = np.empty(array.shape, array.dtype)
    for start in range(0, len(array), rows):
        start = min(start, len(array) - rows)
        values[start : start + rows] = np.asarray(take(array, start))
    return values


@contextlib.contextmanager
def whole_values(variables: Iterable[Any]) -> Iterator[None]:
    """Gives each process whole arrays in place of variables' parts, in a `with` block.

    Nothing can be computed in it. All processes must call it.
    """
    divided = [v for v in variables if process_count() > 1 and not _is_readable(v.value)]
    parts = [variable.value for variable in divided]
    try:
        for variable in divided:
            variable._value = whole(variable.value)
        yield
    finally:
        for variable, value in zip(divided, parts, strict=True):
            variable._value = value


def _is_readable(array):
    """Returns whether this process has all of an array."""
    return array.is_fully_addressable or array.is_fully_replicated


def check_inside(variables: Iterable[Any]) -> None:
    """Raises DmlError for a variable that was made before the block of `on_devices` began."""
    devices = _current()
    if devices is None:
        return
    for variable in variables:
        if len(variable.value.sharding.device_set) != devices.count:
            raise DmlError(
                f"{variable.path} is on one device only: make the encoder and the learner inside "
                "the block of dml.on_devices"
            )


def check_no_replicas() -> None:
    """Raises DmlError where a batch is divided before the loss sees it.

    Each replica would compare the images of its own share of the batch only.
    """
    if keras.backend.backend() == "jax":
        check_joined()
    for count, kind in _replicas():
        if count > 1:
            raise DmlError(
                f"{count} {kind} would each see the pairs of their own part of the batch only. "
                "Train on several devices with KERAS_BACKEND=jax and "
                "dml.on_devices, where the loss sees the whole batch"
            )


def _replicas() -> Iterator[tuple[int, str]]:
    """Yields among how many replicas a batch may be divided, and what they are."""
    backend = keras.backend.backend()
    if backend == "jax":  # which compiles one program for the whole batch
        return
    distribution = keras.distribution.distribution()
    if distribution is not None:
        yield distribution.device_mesh.devices.size, "devices"
    if backend == "tensorflow":
        import tensorflow as tf

        yield tf.distribute.get_strategy().num_replicas_in_sync, "replicas"
    elif backend == "torch":
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            yield distributed.get_world_size(), "ranks"


def compiles_with_xla() -> bool:
    """Returns whether to use XLA: on accelerators only; on CPU it slows depthwise convolutions
    down.

    JAX always compiles with XLA; False there would run step by step.
    """
    if keras.backend.backend() == "jax":
        return True
    if keras.backend.backend() == "torch":
        return False
    return any(not str(device).startswith("cpu") for device in keras.distribution.list_devices())


def _current() -> _Devices | None:
    found = keras.distribution.distribution()
    return found if isinstance(found, _Devices) else None


def _laid_out(x, devices, axis):
    """Returns a tensor of a compiled step with this layout; any other as it is."""
    import jax

    if not isinstance(x, jax.core.Tracer):
        return x
    return keras.distribution.distribute_tensor(x, devices.layout(len(x.shape), axis))
