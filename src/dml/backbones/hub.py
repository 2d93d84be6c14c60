"""Pretrained networks of keras-hub, from a hub or from a folder."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras

from dml._options import check_known
from dml._registry import suggestion
from dml._storage.places import data_folder, expanded
from dml.backbones._presets import named_presets
from dml.backbones._scaling import ChannelScaling
from dml.backbones._tower import vision_tower
from dml.backbones._weights import keras_hub
from dml.backbones.base import BACKBONES, Backbone
from dml.errors import DataError, DmlError, OptionError, StorageError

_INSTEAD = "give a folder that holds it, --backbone.preset FOLDER, or another name"


@BACKBONES.register("hub")
@dataclass(frozen=True)
class Hub(Backbone):
    """Any image network of keras-hub: DINOv2, DINOv3, ViT, SigLIP, CLIP, Swin, ResNet, ...

    Its tokens reach the pooling as a class token and a grid of patches; registers are left out. Of
    networks for images and text, the image tower is taken alone. Needs the extra `hub`.

    Args:
        preset: A name of keras-hub, `kaggle://...`, `hf://...`, or a folder that `save_to_preset`
            wrote. A relative path is also looked up under `DML_DATA`.
        weights: `preset` for the preset's, or `none` for random ones.
        input_size: Side in pixels of the square that the network sees; 0 takes the preset's. For
            transformers a multiple of the patch, to which their positions are interpolated.
        resize_side: Side that the shorter side of an image is resized to before the centre crop; 0
            takes `input_size`, so that the whole middle square is seen.
        aspect: As for every backbone, `keep` or `stretch`.
        batch_norm: As for every backbone, `train`, `frozen` or `fixed`.
        batch_norm_momentum: As for every backbone.
        lora_rank: As for every backbone; of transformers.

    Raises:
        OptionError: An option is out of its range.
    """

    licence: ClassVar[str] = "the preset's own"
    cropped_from: ClassVar[float] = 1.0

    weights: str = "preset"
    input_size: int = 0
    resize_side: int = 0
    preset: str = ""

    def __post_init__(self):
        super().__post_init__()
        check_known(("preset", "none"), weights=self.weights)

    def scaling(self) -> keras.Layer:
        """Returns the layer that maps 0..255 to what the weights expect.

        Raises:
            DmlError: The preset can't be read.
        """
        converter = self._converter()
        scale, offset = (
            [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)] * 3
            for value in (_or(converter.scale, 1.0), _or(converter.offset, 0.0))
        )
        return ChannelScaling(scale, offset, name="scaling")

    def architecture(self, weights: str | None) -> keras.Model:
        """Returns the model from scaled images to features.

        Args:
            weights: `preset`, or None for random ones.

        Raises:
            DmlError: The preset can't be read, or the input size does not fit it.
        """
        place, library = self._place(), keras_hub("this backbone")
        with _reading(place):
            found = library.models.Backbone.from_preset(place, load_weights=weights == "preset")
        return vision_tower(found, self.resolved().input_size)

    def _with_weights(self):
        return self.architecture("preset" if self.weights == "preset" else None)

    def _own_size(self):
        """Returns the side in pixels of the preset's images."""
        size = self._converter().image_size
        if size is None:
            text = f"must be given: the preset {self.preset} works at any size"
            raise OptionError("backbone.input_size", text)
        return min(size)

    def _converter(self) -> Any:
        """Returns the preset's image converter, which scales its images."""
        place, library = self._place(), keras_hub("this backbone")
        with _reading(place):
            found = library.layers.ImageConverter.from_preset(place)
        if found is None:
            raise DataError(place, "the preset does not say how its images are scaled")
        return found

    def _place(self):
        """Returns the folder of the preset, or its name at a hub.

        Raises:
            OptionError: It is neither.
            PackageError: keras-hub is not installed.
        """
        folders = [expanded(self.preset)]
        if (data := data_folder()) is not None:
            folders.append(data / self.preset)
        for folder in folders:
            if self.preset and folder.is_dir():
                return str(folder)
        known = keras_hub("this backbone").models.Backbone.presets
        if "://" not in self.preset and self.preset not in known:
            short = suggestion(self.preset, [preset.name for preset in named_presets()])
            raise OptionError(
                "backbone.preset",
                "must be an existing folder, kaggle://..., hf://... or a name of keras-hub; "
                f"got {self.preset!r}.{short and f'{short} That is a backbone.name'}",
            )
        return self.preset


def _or(value, default):
    return default if value is None else value


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turns what fails while a preset is read into an error of one line.

    Raises:
        DataError: A folder is not a preset, or damaged.
        StorageError: A preset can't be fetched.
    """
    with contextlib.suppress(ImportError):  # the first import sets the level of its logger
        import huggingface_hub  # noqa: F401
    logger = logging.getLogger("huggingface_hub")  # it reports each of its attempts
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except (DmlError, MemoryError):
        raise
    except Exception as error:  # kagglehub, huggingface_hub, h5py, JSON and Keras fail in many ways
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
        if Path(place).is_dir():
            raise DataError(
                place,
                f"can't be read as a preset ({reason}): it needs config.json, image_converter.json "
                f"and model.weights.h5, as keras-hub's save_to_preset writes them; {_INSTEAD}",
            ) from error
        raise StorageError(
            f"the preset {place} can't be fetched ({reason}): check its name and the network; "
            "some must be accepted on their hub first, with a login on this machine "
            f"(`dml parts backbones` shows the licences); or {_INSTEAD}"
        ) from error
    finally:
        logger.setLevel(level)


def _register_all():
    """Makes a backbone of each preset with a name of its own and files it in the registry."""
    _, _, options = (Hub.__doc__ or "").partition("\n")  # python -OO keeps none
    for preset in named_presets():
        part = make_dataclass(
            "".join(word.title() for word in preset.name.split("_")),
            [("preset", str, preset.handle)],
            bases=(Hub,),
            frozen=True,
            namespace={
                "licence": preset.licence,
                "__doc__": f"keras-hub's preset `{preset.handle}`.\n{options}",
                "__module__": __name__,
            },
        )
        BACKBONES.register(preset.name)(part)


_register_all()
