"""On how many devices a training runs: as many as can share its batches and proxies evenly."""

from collections.abc import Callable
from dataclasses import dataclass

from dml._devices import device_count
from dml._processes import process_count
from dml._text import number_of
from dml.datasets import Items
from dml.errors import OptionError
from dml.recipe import Recipe
from dml.reporting import Reporter


def training_devices(devices: int | str, chunks: int, batch_size: int) -> int:
    """Returns on how many devices a training runs.

    Args:
        devices: `training.devices`.
        chunks: `training.chunks`.
        batch_size: Images in a batch.

    Raises:
        OptionError: There are fewer, they can't share a batch evenly, or the backend is not JAX.
    """
    count = _device_count(devices)
    shares = count * chunks
    if count > 1 and batch_size % shares:
        parts = f"{chunks} chunks of " if chunks > 1 else ""
        lower, upper = batch_size // shares * shares, -(-batch_size // shares) * shares
        nearest = f"{lower} or {upper}" if lower else str(upper)
        raise OptionError(
            "training.devices",
            f"must share {parts}a batch evenly; got {count} devices and a batch of {batch_size}. "
            f"The nearest batches are of {nearest} images",
        )
    return count


def _device_count(devices: int | str) -> int:
    """Returns how many devices `training.devices` is; its errors name the recipe's option."""
    try:
        return device_count(devices)
    except OptionError as error:
        raise OptionError("training.devices", error.text) from None


@dataclass(frozen=True)
class Shares:
    """What the devices of a training must be able to share evenly.

    Args:
        images: The number of images of a batch, or of a chunk of it.
        proxies: (number, dimensions) of each set of proxies that is divided: by the one or the
            other.
    """

    images: int
    proxies: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, items: Callable[[], Items]) -> "Shares":
        """Returns the shares of a recipe's training.

        Args:
            recipe: The recipe.
            items: Returns all splits; called if proxies are divided.
        """
        training, dim = recipe.training, recipe.embedding.dim
        images = recipe.sampler.batch_size // training.chunks
        if not training.shard_proxies or not dim:  # which the network then decides
            return cls(images)
        from dml.training._sampled import sample_size

        splits = items()
        counts = {len(splits.select("train").label_names)}
        if training.refit:  # on all of them
            counts.add(len(splits.select("train", "val").label_names))
        counts |= {sample_size(recipe.head.sample, count) for count in counts}
        dims = sorted({*training.nested_dims, dim})
        return cls(images, tuple((count, one) for count in sorted(counts) for one in dims))

    def fit(self, devices: int) -> bool:
        """Returns whether so many devices can share all of it evenly."""
        fit = (not (count % devices and dim % devices) for count, dim in self.proxies)
        return self.images % devices == 0 and all(fit)

    def most(self, devices: int) -> int:
        """Returns how many of the devices can, at most."""
        return next(count for count in range(devices, 0, -1) if self.fit(count))

    def __str__(self):
        also = " and the proxies" if self.proxies else ""
        return f"a batch of {number_of(self.images, 'image')}{also}"


def check_shares(shares: Shares, devices: int) -> None:
    """Raises an error for proxies that can't be divided, such as those of a training on all images.

    Args:
        shares: What the training shares among devices.
        devices: The number of devices on which it begins.

    Raises:
        OptionError: They can't.
    """
    for count, dim in shares.proxies:
        if count % devices and dim % devices:
            raise OptionError(
                "training.shard_proxies",
                f"needs a number of proxies or of dimensions that {devices} devices can share "
                f"evenly; got {count} and {dim}. The nearest embedding.dim is "
                f"{-(-dim // devices) * devices}",
            )


def devices_to_resume(recipe: Recipe, items: Callable[[], Items], reporter: Reporter) -> int:
    """Returns on how many devices a run goes on: as many of the recipe's as are there and fit.

    Args:
        recipe: The recipe of the run.
        items: Returns the images that it has recorded.
        reporter: Receives a line if these are fewer.

    Raises:
        OptionError: The backend is not JAX; or several processes would have devices left over.
    """
    training = recipe.training
    if training.devices == 1 and process_count() == 1:
        return 1
    there = _device_count("all")
    most = there if isinstance(training.devices, str) else min(training.devices, there)
    shares = Shares.of(recipe, items)
    count = shares.most(most)
    if process_count() > 1 and count < there:
        raise OptionError(
            "training.devices",
            f"is {training.devices}, of which {count} can share {shares} evenly, and "
            f"{process_count()} processes have {there}: start fewer",
        )
    if not isinstance(training.devices, str) and count < training.devices:
        reporter.info(
            f"note: going on with {count} of {training.devices} devices, as many as are here and "
            f"can share {shares} evenly; the numbers differ in their rounding only"
        )
    return count
