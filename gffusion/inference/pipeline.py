"""The "image-fusion" pipeline: pairs of paths, URLs or pictures in, fused PIL images out."""

import http.client
import io
import os
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import Pipeline

from gffusion.data import read_image
from gffusion.models.gffusion.image_processing_gffusion import (
    IMAGE_TYPES,
    GFFusionImageProcessor,
    Image,
    InfraredRange,
    to_array,
)
from gffusion.models.gffusion.modeling_gffusion import GFFusionOutput

TASK = "image-fusion"

Source = str | os.PathLike[str] | Image
ArrayPair = tuple[NDArray[Any], NDArray[Any]]
SourcePair = tuple[Source, Source] | list[Source] | Mapping[str, Source]


class ImageFusionPipeline(Pipeline):
    """Fuses visible and infrared pictures: `pipeline("image-fusion", model=...)`.

    Example:
    ```python
    >>> from transformers import pipeline
    >>> import gffusion

    >>> fuse = pipeline("image-fusion", model="org/gffusion-m3fd")  # doctest: +SKIP
    >>> fuse(("visible.png", "infrared.png")).save("fused.png")  # doctest: +SKIP

    ```
    """

    _load_image_processor = True
    _load_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    image_processor: GFFusionImageProcessor

    def __init__(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timeout = timeout

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Fuse one pair or several.

        Args:
            inputs: A pair `(visible, infrared)` or `{"visible": ..., "infrared": ...}` of local paths, URLs, PIL images,
                arrays or tensors; or a list, a generator or a data set of pairs. Pairs may differ in size.
            kwargs: `batch_size` (`int`, defaults to 1), the largest number of neighbouring pairs of one size that the
                model sees together; `segment` (`bool`), whether to return label maps, too; `infrared_range`, see
                [`GFFusionImageProcessor`]; `timeout` (`float`), seconds to wait for a URL.

        Returns:
            A PIL image for a pair, a list of them for a list, an iterator for the rest. With `segment=True` dicts with
            `fused` and `labels`, a PIL image of class ids.

        Raises:
            ValueError: If something is no pair, or its pictures do not fit each other.
            OSError: If a file or URL cannot be read.
        """
        batch_size = kwargs.pop("batch_size", self._batch_size)
        batch_size = 1 if batch_size is None else batch_size
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        timeout = kwargs.pop("timeout", self._timeout)
        if _is_pair(inputs):
            return next(self._stream([inputs], 1, timeout, kwargs))
        if isinstance(inputs, (str, bytes, Mapping)) or not isinstance(inputs, (Iterable, Dataset)):
            raise ValueError(
                "Expected a pair (visible, infrared) of paths, URLs or pictures, or several such pairs, "
                f"got {type(inputs).__name__}."
            )
        pairs = iter(inputs) if isinstance(inputs, Iterable) else (inputs[index] for index in range(len(inputs)))  # type: ignore[arg-type]
        stream = self._stream(pairs, batch_size, timeout, kwargs)
        return list(stream) if isinstance(inputs, (list, tuple)) else stream

    def _stream(
        self, pairs: Iterable[Any], batch_size: int, timeout: float | None, kwargs: dict[str, Any]
    ) -> Iterator[Any]:
        # transformers would pad pictures of different size to each other: we batch by size and hand it whole batches.
        batches = _batches((_load_pair(pair, timeout) for pair in pairs), batch_size)
        return chain.from_iterable(super().__call__(batches, batch_size=1, num_workers=0, **kwargs))

    def _sanitize_parameters(
        self, segment: bool | None = None, infrared_range: InfraredRange | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if kwargs:
            raise ValueError(
                f"Unknown arguments {sorted(kwargs)}. Allowed: batch_size, infrared_range, segment, timeout."
            )
        preprocess = {} if infrared_range is None else {"infrared_range": infrared_range}
        return preprocess, {} if segment is None else {"segment": segment}, {}

    def preprocess(self, images: list[ArrayPair], **options: Any) -> dict[str, Any]:
        """Turn a batch of pairs of one size into model inputs."""
        return {**self.image_processor(images, return_tensors="pt", **options), "images": images}

    def _forward(self, model_inputs: dict[str, Any], segment: bool = False) -> dict[str, Any]:
        images = model_inputs.pop("images")
        return {"outputs": self.model(**model_inputs, segment=segment), "images": images}

    def postprocess(self, model_outputs: dict[str, Any]) -> list[Any]:
        """Turn model outputs into one result a pair."""
        # The base class has moved the outputs to the CPU, and made a plain dictionary of them in passing.
        outputs, images = GFFusionOutput(**model_outputs["outputs"]), model_outputs["images"]
        fused = self.image_processor.post_process_fusion(outputs, images)
        if outputs.logits is None:
            return fused
        sizes = [(picture.height, picture.width) for picture in fused]  # type: ignore[union-attr]
        maps = self.image_processor.post_process_semantic_segmentation(outputs, sizes)
        labels = [PIL.Image.fromarray(label_map.cpu().numpy().astype(np.uint8)) for label_map in maps]
        return [{"fused": picture, "labels": label_map} for picture, label_map in zip(fused, labels, strict=True)]


def _is_pair(inputs: Any) -> bool:
    if isinstance(inputs, Mapping):
        return set(inputs) == {"visible", "infrared"}
    return (
        isinstance(inputs, (tuple, list))
        and len(inputs) == 2
        and all(isinstance(item, (str, os.PathLike, *IMAGE_TYPES)) for item in inputs)
    )


def _load_pair(pair: SourcePair, timeout: float | None) -> ArrayPair:
    if not _is_pair(pair):
        raise ValueError(f"Expected a pair (visible, infrared) of paths, URLs or pictures, got {type(pair).__name__}.")
    visible, infrared = (pair["visible"], pair["infrared"]) if isinstance(pair, Mapping) else pair
    return to_array(_load(visible, timeout), "visible"), to_array(_load(infrared, timeout), "infrared")


def _load(source: Source, timeout: float | None) -> Image:
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(source, timeout=timeout) as response:
                return read_image(io.BytesIO(response.read()))
        except (OSError, http.client.HTTPException) as error:  # urllib's own errors are OSErrors, too
            raise OSError(f"Cannot read the picture at {source}: {error}") from error
    return read_image(source) if isinstance(source, (str, os.PathLike)) else source


def _batches(pairs: Iterable[ArrayPair], batch_size: int) -> Iterator[list[ArrayPair]]:
    """Gather neighbouring pairs of one size."""
    batch: list[ArrayPair] = []
    for pair in pairs:
        if batch and pair[0].shape[:2] != batch[0][0].shape[:2]:
            yield batch
            batch = []
        batch.append(pair)
        if len(batch) == batch_size:  # now, not when the next pair comes: a camera's may be long in coming
            yield batch
            batch = []
    if batch:
        yield batch


__all__ = ["ImageFusionPipeline"]
