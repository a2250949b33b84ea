"""Common interface of the compared methods: models, folders of fused images and classical baselines."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion.data import ImagePair, PairImages, ReadOptions, read_pair
from gffusion.data.georeference import check_same_place
from gffusion.data.infrared_range import PairRanges
from gffusion.export.requirements import is_onnx
from gffusion.inference.predict import Prediction, predict
from gffusion.inference.segmenting import check_segmenter, segment_fused
from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import to_infrared_values
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_files import locate_weights
from gffusion.utils.notes import name_in_errors
from gffusion.zoo import create_model, load_image_processor, locate
from gffusion.zoo.digest import digest_weights, hash_file, hash_files
from gffusion.zoo.registry import find_revision

from .baselines import fuse_luma
from .fused_files import read_fused
from .inputs import name_model
from .matching import StrPath, describe_unused

if TYPE_CHECKING:
    from gffusion.export.running import OnnxModel


@dataclass(frozen=True)
class Sources:
    """Images of one pair, and their luma, see `to_luma8`. That of the infrared image depends on its options."""

    pair: ImagePair
    images: PairImages
    visible_luma: Tensor
    infrared_luma: Tensor
    infrared_options: InfraredOptions
    read_options: ReadOptions  # also of further files of this pair

    @classmethod
    def read(cls, pair: ImagePair, ranges: PairRanges) -> "Sources":
        """Read a pair, and map infrared values as in `ranges`; errors of a file name it."""
        images = ranges.read(pair)
        options = images.adapt(ranges.options_of(pair))
        with name_in_errors(str(pair.visible)):
            visible_luma = to_luma8(images.visible)
        measured, reading = images, ranges.read_options
        if images.missing is not None and not reading.keep_borders:
            # Metrics compare with the image in the file, including its borders, as published values do.
            measured = read_pair(pair.visible, pair.infrared, replace(reading, keep_borders=True))
        with name_in_errors(str(pair.infrared)):
            infrared, is_mapped = measured.infrared, options != InfraredOptions()
            if is_mapped or infrared.dtype.kind == "f":  # raises if the range of floating-point values is unknown
                mapped = to_infrared_values(infrared, options, measured.missing)[0]
                infrared = mapped if is_mapped else infrared
            infrared_luma = to_luma8(infrared)
        return cls(pair, images, visible_luma, infrared_luma, options, reading)

    def check_place(self, file: Path, size: tuple[int, ...]) -> None:
        """Raise ValueError if a file of this size, that of the images, is georeferenced elsewhere, see [`check_same_place`]."""
        if not self.read_options.crop:
            frames = [self.pair.visible, self.pair.infrared]
            if self.read_options.reference == "infrared":
                frames.reverse()
            check_same_place(file, frames if self.read_options.align == "none" else frames[:1], size)


class Method(ABC):
    """A compared method, one row of the table."""

    is_baseline: ClassVar[bool] = False
    class_names: tuple[str, ...] = ()  # in predicted label maps, empty if there are none

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def fingerprint(self, pair: ImagePair) -> str:
        """Return a text that changes whenever the fused image of the same pair can change, other than by changed source code."""

    def hash_files(self, pairs: Sequence[ImagePair]) -> str:
        """Return the SHA-256 of the files that the fused images of pairs depend on besides the sources; empty if there are none."""
        return ""

    @abstractmethod
    def fuse(self, sources: Sources, segment: bool = False) -> Prediction:
        """Return the fused image (H, W) or (H, W, 3) and, with `segment`, the label map if the method predicts one."""


class Baseline(Method):
    """A classical baseline of `BASELINES`, in gray."""

    is_baseline = True

    def fingerprint(self, pair: ImagePair) -> str:
        """Return the name of the baseline."""
        return self.name

    def fuse(self, sources: Sources, segment: bool = False) -> Prediction:
        """Return the fused luma (H, W)."""
        return Prediction(fuse_luma(self.name, sources.visible_luma.numpy(), sources.infrared_luma.numpy()))


class FusedFolder(Method):
    """Images that were fused elsewhere, one file per pair, with the same name."""

    def __init__(self, name: str, files: Mapping[str, Path], hash_file: Callable[[Path], str] = hash_file) -> None:
        super().__init__(name)
        self._files, self._hash_file = files, hash_file
        self._describe_unused = cache(partial(describe_unused, files))

    def fingerprint(self, pair: ImagePair) -> str:
        """Return the SHA-256 of the fused file."""
        return self._hash_file(self._file(pair))

    def hash_files(self, pairs: Sequence[ImagePair]) -> str:
        """Return the SHA-256 of the fused files, see [`hash_files`][gffusion.zoo.digest.hash_files]."""
        return hash_files(map(self._file, pairs), self._hash_file)

    def fuse(self, sources: Sources, segment: bool = False) -> Prediction:
        """Return the image in the file, with notes on what is odd about it."""
        lumas, options = (sources.visible_luma.numpy(), sources.infrared_luma.numpy()), sources.read_options
        file = self._file(sources.pair)
        image, notes = read_fused(file, lumas, options.max_pixels, options.truncated)
        sources.check_place(file, image.shape)
        return Prediction(image, notes=notes)

    def _file(self, pair: ImagePair) -> Path:
        if pair.name not in self._files:
            unused = self._describe_unused(PurePosixPath(pair.name).parent)
            raise FileNotFoundError(f"no fused image of this name{unused}")
        return self._files[pair.name]


class Model(Method):
    """A model that fuses during the evaluation."""

    def __init__(
        self,
        name: str,
        model: "GFFusionModel | OnnxModel",
        image_processor: GFFusionImageProcessor,
        digest: str | None = None,
        hash_of_weights: str = "",
    ) -> None:
        super().__init__(name)
        self._hash_of_weights = hash_of_weights
        self._model: Any = model.eval()
        self._image_processor = image_processor
        self._digest = digest or digest_weights(model, model.config.to_json_string(), image_processor.to_json_string())
        self._ranges = PairRanges(image_processor.infrared_options)
        # Models can be used by several threads, but each of them would take the memory of a forward pass.
        self._lock = Lock()
        if getattr(model, "has_labels", model.config.use_segmenter):
            self.class_names = tuple(model.config.id2label[label] for label in range(model.config.num_labels))

    @classmethod
    def load(
        cls, name: StrPath, device: str, segment: bool, infrared_options: Mapping[str, Any] | None, method: str
    ) -> "Model":
        """Load a model by its name, folder, Hub id or .onnx file; the segmenter only if `segment`; `method` is for tables."""
        given = infrared_options or {}
        if is_onnx(name):
            from gffusion.export.running import OnnxModel  # imports onnxruntime, an extra

            file = OnnxModel(name, device)
            processor = file.load_image_processor(**given)
            hash_of_weights = hash_file(file.path)
            digest = f"{hash_of_weights} {processor.to_json_string()}"
            return cls(method, file, processor, digest, hash_of_weights)
        model = create_model(name, **({} if segment else {"use_segmenter": False}))
        processor = load_image_processor(name, **given)
        return cls(method, model.to(device), processor, hash_of_weights=_hash_weights(name))

    @classmethod
    def load_segmenter(cls, name: StrPath, device: str, infrared_options: Mapping[str, Any] | None) -> "Model":
        """Load a model that segments the images of all methods; raise ValueError if it cannot."""
        loaded = cls.load(name, device, True, infrared_options, name_model(name))
        with name_in_errors(f"`segment_with` (--segment-with) {os.fspath(name)}"):
            check_segmenter(loaded._model)
        return loaded

    @property
    def infrared_options(self) -> InfraredOptions:
        """Options of infrared images, as saved with the model or overridden."""
        return self._image_processor.infrared_options

    @property
    def device(self) -> str:
        """Where it computes: a device of PyTorch, with the name of a GPU, or a provider of ONNX Runtime."""
        device = getattr(self._model, "provider", self._model.device)
        is_cuda = isinstance(device, torch.device) and device.type == "cuda"
        return f"{device} ({torch.cuda.get_device_name(device)})" if is_cuda else str(device)

    def use_ranges(self, ranges: PairRanges) -> None:
        """Fuse with ranges that were measured over all pairs."""
        self._ranges = ranges

    def fingerprint(self, pair: ImagePair) -> str:
        """Return the digest of the weights and all settings, and the measured range."""
        options = self._ranges.options_of(pair)
        return self._digest if options == self.infrared_options else f"{self._digest} {options.infrared_range}"

    def hash_files(self, pairs: Sequence[ImagePair]) -> str:
        """Return the SHA-256 of the file of the weights, or of its parts, see [`hash_files`][gffusion.zoo.digest.hash_files]."""
        return self._hash_of_weights

    def fuse(self, sources: Sources, segment: bool = False) -> Prediction:
        """Fuse the pair as `gffusion fuse` does."""
        with self._lock:
            options = [self._ranges.options_of(sources.pair)]
            return predict(self._model, self._image_processor, [sources.images], segment, options)[0]

    def segment(self, sources: Sources, fused: Any) -> NDArray[Any]:
        """Return the label map (H, W) of an image of this pair that any method fused."""
        with self._lock:
            options = [self._ranges.options_of(sources.pair)]
            return segment_fused(self._model, self._image_processor, [fused], [sources.images], options)[0]


def _hash_weights(name: StrPath) -> str:
    """Return the SHA-256 of the weights of a model that was loaded."""
    paths = [Path(path) for path in locate_weights(locate(name), revision=find_revision(name), local_files_only=True)]
    return hash_files(paths) if len(paths) > 1 else hash_file(paths[0])
