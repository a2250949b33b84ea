"""What is compared: models, folders of fused pictures and rules without learning, behind one interface."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion.data import ImagePair, read_image, read_pair
from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo import create_model, load_image_processor
from gffusion.zoo.digest import digest_file, digest_weights

from .baselines import fuse_luma


@dataclass(frozen=True)
class Sources:
    """The pictures of one pair.

    Attributes:
        pair: Their files.
        visible: (H, W) or (H, W, 3), as `read_image` gives it.
        infrared: Likewise, of the same height and width.
        visible_luma: (H, W) whole grey levels from 0 to 255, float64.
        infrared_luma: Likewise.
    """

    pair: ImagePair
    visible: NDArray[Any]
    infrared: NDArray[Any]
    visible_luma: Tensor
    infrared_luma: Tensor

    @classmethod
    def read(cls, pair: ImagePair) -> "Sources":
        """Read a pair.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If the sizes differ, or a floating-point picture is not within 0 to 1; the message names the file.
        """
        visible, infrared = read_pair(pair.visible, pair.infrared)
        return cls(pair, visible, infrared, _luma(visible, pair.visible), _luma(infrared, pair.infrared))


def _luma(picture: NDArray[Any], path: Path) -> Tensor:
    try:
        return to_luma8(picture)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class Method(ABC):
    """A row of the table.

    Attributes:
        name: Its name.
        learned: False for the rules without learning, which the others are held against.
        class_names: Names of the classes of its own label maps; empty if it makes none.
    """

    learned: ClassVar[bool] = True
    class_names: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def fingerprint(self, pair: ImagePair) -> str:
        """Return what its picture of a pair depends on, besides the pair: the same text means the same picture."""

    @abstractmethod
    def fuse(self, sources: Sources, segment: bool = False) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the fused picture (H, W) or (H, W, 3), and the label map (H, W) if it is asked for one.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If the pair does not suit the method.
        """


class Baseline(Method):
    """A rule of `BASELINES`, in grey."""

    learned = False

    def fingerprint(self, pair: ImagePair) -> str:
        """Return the name of the rule."""
        return self.name

    def fuse(self, sources: Sources, segment: bool = False) -> tuple[NDArray[np.uint8], None]:
        """Return the fused luma (H, W)."""
        return fuse_luma(self.name, sources.visible_luma.numpy(), sources.infrared_luma.numpy()), None


class FusedFolder(Method):
    """Pictures that something else has fused.

    Args:
        name: Name of the method.
        files: Its pictures by the name of the pair.
        folder: Where they are, for messages.
    """

    def __init__(self, name: str, files: Mapping[str, Path], folder: Path) -> None:
        super().__init__(name)
        self._files = files
        self._folder = folder

    def fingerprint(self, pair: ImagePair) -> str:
        """Return the digest of the fused file."""
        return digest_file(self._file(pair))

    def fuse(self, sources: Sources, segment: bool = False) -> tuple[NDArray[Any], None]:
        """Return the picture as the file holds it."""
        return read_image(self._file(sources.pair)), None

    def _file(self, pair: ImagePair) -> Path:
        if pair.name not in self._files:
            raise FileNotFoundError(f"{self._folder} holds no picture of this name")
        return self._files[pair.name]


class Model(Method):
    """A model of the zoo, which fuses on the fly.

    Args:
        name: Name of the method.
        model: The model, on its device.
        image_processor: Prepares the pictures for it.
    """

    def __init__(self, name: str, model: GFFusionModel, image_processor: GFFusionImageProcessor) -> None:
        super().__init__(name)
        self._model = model.eval()
        self._image_processor = image_processor
        # Hidden states of the encoders are collected through hooks: two threads must not run one model.
        self._lock = Lock()
        if model.config.use_segmenter:
            self.class_names = tuple(model.config.id2label[label] for label in range(model.config.num_labels))

    @classmethod
    def load(cls, name: str | os.PathLike[str], device: str, segment: bool) -> "Model":
        """Load a model by its name in the zoo, folder or Hub id, without its segmenter if that is not needed.

        Raises:
            OSError: If there is no such model.
        """
        model = create_model(name, **({} if segment else {"use_segmenter": False}))
        return cls(Path(name).name, model.to(device), load_image_processor(name))

    def fingerprint(self, pair: ImagePair) -> str:
        """Return the digest of the weights and of all settings."""
        return self._digest

    @torch.inference_mode()
    def fuse(self, sources: Sources, segment: bool = False) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Fuse the pair as `gffusion fuse` does."""
        images = (sources.visible, sources.infrared)
        inputs = self._image_processor(images, return_tensors="pt").to(self._model.device)
        with self._lock:
            outputs = self._model(**inputs, segment=segment)
        if not outputs.fused_values.isfinite().all():
            raise ValueError("the model's output holds NaN or infinite values")
        fused = np.asarray(self._image_processor.post_process_fusion(outputs, images, "np")[0])
        if not segment:
            return fused, None
        sizes = [sources.visible.shape[:2]]
        return fused, self._image_processor.post_process_semantic_segmentation(outputs, sizes)[0].cpu().numpy()

    @cached_property
    def _digest(self) -> str:
        return digest_weights(self._model, self._model.config.to_json_string(), self._image_processor.to_json_string())
