"""The "image-fusion" pipeline of transformers, from pairs of paths, URLs, contents of files or images to fused PIL images."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import chain, islice
from typing import Any, Literal, overload

import PIL.Image
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import Pipeline
from transformers.utils import logging

from gffusion.cameras import InfraredFrame
from gffusion.cameras.narrow_ranges import note_narrow
from gffusion.cameras.running_range import Frame, RunningRange, find_odd_ranges, measure_with_own_ranges
from gffusion.cameras.same_images import check_different_images
from gffusion.data import PairImages, ReadOptions
from gffusion.data.bounds import max_image_bytes
from gffusion.data.contents import Content, is_content, name_source, read_source
from gffusion.data.decoded_image import DecodeOptions
from gffusion.data.given_images import decode_given
from gffusion.data.infrared_frames import to_frame
from gffusion.data.infrared_notes import measure_range
from gffusion.data.modalities import holds_both, to_visible_frame
from gffusion.data.reading import (
    clean,
    decode_both,
    decode_infrared,
    decode_unaligned,
    decode_visible,
    finish_pair,
)
from gffusion.data.rigs import find_rig, parse_align
from gffusion.data.urls import is_url, read_url
from gffusion.data.visible_range import VisibleFrame, map_visible
from gffusion.models.gffusion.image_arrays import IMAGE_TYPES, Image, refuse_lists_of_one_modality
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import OPTION_NAMES, InfraredOptions
from gffusion.utils.notes import find_new_kinds, name_first
from gffusion.zoo.checks import check_can_be_saved, check_model_object

from .batching import batch_by_size, check_batch_size
from .predict import predict

TASK = "image-fusion"

logger = logging.get_logger(__name__)

_READ_OPTIONS = tuple(field.name for field in fields(ReadOptions) if field.name != "raw_frame")

Source = str | os.PathLike[str] | Content | Image
SourcePair = tuple[Source, Source] | list[Source] | Mapping[str, Source]


class ImageFusionPipeline(Pipeline):
    """Fuse visible and infrared images: `pipeline("image-fusion", model=...)`.

    Args:
        timeout: Seconds to wait for an answer from a URL, 20 if it is `None`; a whole download may take six times as long.

    Examples:
        >>> import numpy as np
        >>> from transformers import pipeline
        >>> from gffusion import locate
        >>> fuse = pipeline("image-fusion", model=locate("gffusion-live"))  # or a folder, or a Hub id
        >>> fuse(np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)).size  # or paths, URLs, PIL images
        (64, 48)
    """

    _load_image_processor = True
    _load_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    image_processor: GFFusionImageProcessor

    def __init__(self, model: Any, *args: Any, timeout: float | None = None, **kwargs: Any) -> None:
        check_model_object(model, can_be_exported=True)
        _check_num_workers(kwargs.pop("num_workers", None))
        super().__init__(model, *args, **kwargs)
        if not isinstance(self.image_processor, GFFusionImageProcessor):
            raise ValueError(
                f"`image_processor` must be a GFFusionImageProcessor, got {type(self.image_processor).__name__}: pass "
                "`image_processor=load_image_processor(...)`, or save one in the folder of the model."
            )
        self._timeout = timeout
        self._logged: set[str] = set()  # kinds of notes

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save model and image processor in a folder, from which this pipeline, [`create_model`] and `gffusion fuse` load them.

        Takes the arguments of [`GFFusionModel.save_pretrained`].

        Raises:
            ValueError: If the model is an exported one or has adapters, or the arguments do not fit it.
            OSError: If a file cannot be written.
        """
        # Not that of transformers, which copies files of this package and adds a key to the configuration of the model.
        check_can_be_saved(self.model)
        self.model.save_pretrained(save_directory, **kwargs)
        self.image_processor.save_pretrained(save_directory, **kwargs)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> str:
        """Publish model and image processor by their methods of this name; `gffusion.hub.push_model` also writes a model card.

        Raises:
            ValueError: If the model is an exported one or has adapters, or its configuration names a local folder as the source of an encoder.
        """
        check_can_be_saved(self.model)
        self.model.push_to_hub(*args, **kwargs)
        return self.image_processor.push_to_hub(*args, **kwargs)

    # Without `segment`, the result depends on the argument of this name that the pipeline was made with.
    @overload
    def __call__(
        self, inputs: Source, infrared: Source, *, segment: Literal[False], **kwargs: Any
    ) -> PIL.Image.Image: ...
    @overload
    def __call__(
        self, inputs: Source, infrared: Source, *, segment: Literal[True], **kwargs: Any
    ) -> dict[str, PIL.Image.Image]: ...
    @overload
    def __call__(self, inputs: Any, infrared: Source | None = None, **kwargs: Any) -> Any: ...

    def __call__(self, inputs: Any, infrared: Source | None = None, **kwargs: Any) -> Any:
        """Fuse one pair or several.

        Args:
            inputs: A pair `(visible, infrared)` or `{"visible": ..., "infrared": ...}` of local paths, URLs, contents of image
                files (bytes, or file objects that are open in binary mode, such as uploads), PIL images, arrays or tensors; or
                a list, a generator or a dataset of pairs, such as `list(zip(visible_images, infrared_images))`. Pairs can
                differ in size.
                With `infrared`, the visible image of one pair. A local file that holds both images, such as a
                radiometric JPEG or a four-channel PNG, is a pair alone, and so is its content.
            infrared: The infrared image of one pair: `fuse("visible.png", "infrared.png")`.
            kwargs: `batch_size` (`int`, defaults to 1), the largest number of consecutive pairs of one size in a batch;
                `segment` (`bool`), whether to return label maps as well; `infrared_range`, `invert`, `agc`,
                `plateau_limit` and `smooth_range`, see [`GFFusionImageProcessor`]; `infrared_luma`, `keep_borders`,
                `visible_range`, `align`, `reference`, `crop`, `max_pixels` and `truncated`, see [`ReadOptions`]; `timeout` (`float`),
                seconds to wait for an answer from a URL, whose size `max_pixels` limits, too.
                NaN in arrays and transparent infrared pixels are missing. `align="auto"` estimates one rig from up to ten pairs of a list, and
                `align` can be the file of a rig.

        Returns:
            A PIL image for a pair, a list for a list, and an iterator for other inputs. With `segment=True`, each
            result is a dict of `fused` and `labels`, a PIL image of class ids.

        Raises:
            ValueError: If an input is not a pair, its images do not fit together, or a file object cannot be read.
            OSError: If a file or URL cannot be read.
        """
        batch_size = kwargs.pop("batch_size", self._batch_size)
        batch_size = 1 if batch_size is None else batch_size
        check_batch_size(batch_size)
        _check_num_workers(kwargs.pop("num_workers", None))
        timeout = kwargs.pop("timeout", self._timeout)
        if infrared is not None:
            inputs = (inputs, infrared)
            if not _is_pair(inputs):
                raise ValueError(
                    "With two arguments, each must be the path, URL, file content or image of one pair, got "
                    f"{' and '.join(type(item).__name__ for item in inputs)}. Pass several pairs as one list of pairs."
                )
        if is_content(inputs) or (isinstance(inputs, str | os.PathLike) and os.path.isfile(inputs)):
            given = {**self._preprocess_params, **kwargs}
            options = DecodeOptions(**{name: given[name] for name in ("max_pixels", "truncated") if name in given})
            if holds_both(inputs, options):
                inputs = (inputs, inputs)
        if _is_pair(inputs):
            return next(self._stream([inputs], 1, timeout, kwargs))
        refuse_lists_of_one_modality(inputs)
        if is_content(inputs) or isinstance(inputs, str | Mapping) or not isinstance(inputs, (Iterable, Dataset)):
            raise ValueError(
                "Expected a visible and an infrared path, URL or image, such as fuse('visible.png', 'infrared.png'), or several "
                f"such pairs, got only {inputs!r}."
                if isinstance(inputs, str)
                else "Expected a pair (visible, infrared) of paths, URLs, file contents or images, or several such pairs as "
                f"`list(zip(visible_images, infrared_images))`, got {_describe(inputs)}."
            )
        stream = self._stream(inputs, batch_size, timeout, kwargs)
        return list(stream) if isinstance(inputs, (list, tuple)) else stream

    def _stream(self, pairs: Any, batch_size: int, timeout: float | None, kwargs: dict[str, Any]) -> Iterator[Any]:
        if isinstance(pairs, Collection) and not hasattr(pairs, "__getitem__"):  # such as a set, or values of a dict
            pairs = list(pairs)
        given, forward_options, _ = self._sanitize_parameters(**kwargs)
        given = self._preprocess_params | given
        read_options = _find_rig(pairs, timeout, {name: given.pop(name) for name in _READ_OPTIONS if name in given})
        options = self.image_processor.infrared_options.override(**given)
        # transformers would pad images of different size to each other: batch by size and pass whole batches.
        loaded = _choose_ranges(
            lambda: (_load_pair(pair, timeout, read_options, self._logged) for pair in _iterate(pairs)), pairs, options
        )
        if hasattr(pairs, "__len__"):  # of a generator, which may have no end, no range is usual
            loaded = _note_narrow(loaded)
        batches = batch_by_size(loaded, batch_size, lambda item: item[0].visible.shape[:2])
        first = list(islice(batches, 1))  # so that the call, not the iterator, raises errors of what is no pair
        # Not by `Pipeline.__call__`: its DataLoader draws a number of torch's random state, and it sets an environment variable.
        forward_options = self._forward_params | forward_options
        fused = (self.run_single(batch, {}, forward_options, {}) for batch in chain(first, batches))
        return chain.from_iterable(fused)

    def _sanitize_parameters(
        self, segment: bool | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        infrared_options = {name: kwargs.pop(name) for name in (*OPTION_NAMES, *_READ_OPTIONS) if name in kwargs}
        if kwargs:
            allowed = ", ".join(sorted(("batch_size", "segment", "timeout", *OPTION_NAMES, *_READ_OPTIONS)))
            raise ValueError(f"Unknown arguments {sorted(kwargs)}. Allowed: {allowed}.")
        return infrared_options, {} if segment is None else {"segment": segment}, {}

    def preprocess(self, pairs: list[tuple[PairImages, InfraredOptions]], **infrared_options: Any) -> dict[str, Any]:
        """Return a batch of pairs of one size and their options unchanged; [`predict`] prepares them."""
        del infrared_options  # those of the pairs include them, see `_stream`
        return {
            "pairs": [pair[:2] for pair, _ in pairs],
            "infrared_options": [options for _, options in pairs],
            "missing": [pair.missing for pair, _ in pairs],
        }

    def _forward(self, model_inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        options |= {"output_type": "pil", "infrared_luma": True}  # colors were mapped back when the pairs were loaded
        return {"predictions": predict(self.model, self.image_processor, **model_inputs, **options)}

    def postprocess(self, model_outputs: dict[str, Any]) -> list[Any]:
        """Return one result per pair."""
        return [
            part.fused if part.labels is None else {"fused": part.fused, "labels": PIL.Image.fromarray(part.labels)}
            for part in model_outputs["predictions"]
        ]


def _check_num_workers(number: int | None) -> None:
    if number:
        raise ValueError(
            f"`num_workers` must be 0 or None, got {number!r}: the pipeline reads pairs in this process; leave it out, or fuse files "
            "with `fuse_files`, whose workers read and write while the model computes."
        )


def _is_pair(inputs: Any) -> bool:
    if isinstance(inputs, Mapping):
        items = list(inputs.values()) if set(inputs) == {"visible", "infrared"} else []
    else:
        items = list(inputs) if isinstance(inputs, (tuple, list)) else []
    is_source = (isinstance(item, (str, os.PathLike, *IMAGE_TYPES)) or is_content(item) for item in items)
    return len(items) == 2 and all(is_source)


def _describe(inputs: Any) -> str:
    """Return the type of inputs that are no pair, with their number or the types in a mapping."""
    kind = type(inputs).__name__
    if isinstance(inputs, (tuple, list)) and len(inputs) != 2:
        return f"a {kind} of {len(inputs)}"
    if not isinstance(inputs, Mapping):
        return kind
    return f"a {kind} of {', '.join(f'{name!r} ({type(value).__name__})' for name, value in inputs.items())}"


def _iterate(inputs: Any) -> Iterator[Any]:
    """Yield the items of an iterable, or of a dataset that only has a length and items."""
    return iter(inputs) if isinstance(inputs, Iterable) else (inputs[index] for index in range(len(inputs)))


def _choose_ranges(
    load: Callable[[], Iterator[PairImages]], inputs: Any, options: InfraredOptions
) -> Iterator[tuple[PairImages, InfraredOptions]]:
    """Yield the pairs with their options; `load` starts reading the inputs from the first one."""
    if options.smooth_range:
        running = RunningRange(options.smooth_range)
        return ((pair, options.with_limits(running.update(pair.infrared, pair.missing))) for pair in load())
    if options.infrared_range == "folder":
        if isinstance(inputs, Iterator):
            raise ValueError(
                'infrared_range="folder" is measured over all pairs before the first is fused, but a generator can be read '
                'only once: pass a list or a dataset, or infrared_range="percentile" or [low, high].'
            )
        limits, own = measure_with_own_ranges((Frame(pair.infrared, pair.missing) for pair in load()), options)
        odd, warning = find_odd_ranges(own)
        if odd:
            pairs = name_first([f"pair {index + 1}" for index in odd])
            logger.warning(f"{pairs} of {len(own)}: {warning}")
        return ((pair, options.with_limits(limits[0])) for pair in load())
    return ((pair, pair.adapt(options)) for pair in load())


def _note_narrow(loaded: Iterable[tuple[PairImages, InfraredOptions]]) -> Iterator[tuple[PairImages, InfraredOptions]]:
    """Yield all pairs, and warn at the end of infrared images that have far less contrast than the others."""
    widths: list[tuple[str, str, float]] = []
    for pair, options in loaded:
        widths.append((f"pair {len(widths) + 1}", *measure_range(pair)))
        yield pair, options
    if narrow := note_narrow(widths):
        names, (note, *_) = zip(*narrow, strict=True)
        logger.warning(f"{name_first(names)} of {len(widths)}: {note}")


def _find_rig(inputs: Any, timeout: float | None, given: dict[str, Any]) -> ReadOptions:
    """Return how pairs are read, with the rig that is estimated from up to ten pairs of a list or dataset."""
    if isinstance(align := given.get("align"), str | os.PathLike):
        given = given | {"align": parse_align(os.fspath(align), "`align`")}
    options = ReadOptions(**given)
    if options.align != "auto" or not hasattr(inputs, "__len__"):
        return options  # of a generator, the rig of each pair is estimated from this pair
    found_options, found = find_rig(inputs, options, lambda pair: _decode_pair(pair, timeout, options)[:2])
    if found and not isinstance(found_options.align, str):
        logger.warning(found)
    return found_options


def _load_pair(pair: SourcePair, timeout: float | None, options: ReadOptions, logged: set[str]) -> PairImages:
    image, frame, notes, names = _decode_pair(pair, timeout, options)
    images = finish_pair(image, frame, notes, options, names)
    where = name_first(list(dict.fromkeys(names)))  # once if one file holds both
    for note in find_new_kinds(images.notes, logged):
        logger.warning(f"{where}: {note} (further pairs like it are not reported)")
    return images


def _decode_pair(
    pair: SourcePair, timeout: float | None, options: ReadOptions
) -> tuple[NDArray[Any], InfraredFrame, tuple[str, ...], tuple[str, str]]:
    """Return the visible image, the infrared image before it is aligned, notes, and the names of the images."""
    if not _is_pair(pair):
        raise ValueError(
            f"Expected a pair (visible, infrared) of paths, URLs, file contents or images, got {_describe(pair)}."
        )
    visible, infrared = (pair["visible"], pair["infrared"]) if isinstance(pair, Mapping) else pair
    names = name_source(visible, "visible"), name_source(infrared, "infrared")
    contents = _load(visible, names[0], timeout, options), _load(infrared, names[1], timeout, options)
    if isinstance(contents[0], bytes) and isinstance(contents[1], bytes):
        if contents[0] == contents[1]:
            return *decode_both(contents[0], names[0], options), names
        return *decode_unaligned(contents[0], contents[1], names, options), names
    stored = _decode_visible(contents[0], names[0], options)
    frame = _decode_infrared(contents[1], names, stored.values, options)
    image, notes = map_visible(stored, names[0], options.visible_range)
    return image, frame, notes, names


def _decode_visible(content: bytes | Image, name: str, options: ReadOptions) -> VisibleFrame:
    if isinstance(content, bytes):
        return decode_visible(content, name, options)
    decoded = decode_given(content, "visible")
    return to_visible_frame(decoded)._replace(values=decoded.image)


def _decode_infrared(
    content: bytes | Image, names: tuple[str, str], visible: NDArray[Any], options: ReadOptions
) -> InfraredFrame:
    if not isinstance(content, bytes):
        decoded = decode_given(content, "infrared")
        check_different_images(visible, decoded.image, names)
        return clean(to_frame(decoded, not options.infrared_luma), names[1], options)
    return decode_infrared(content, names[1], options, (visible, names[0]))


def _load(source: Source, name: str, timeout: float | None, options: ReadOptions) -> bytes | Image:
    if is_url(source):
        return read_url(str(source), timeout, max_image_bytes(options.max_pixels))
    return source if isinstance(source, IMAGE_TYPES) else read_source(source, name, options.max_pixels)


__all__ = ["ImageFusionPipeline"]
