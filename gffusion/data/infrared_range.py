"""Infrared ranges as text, and ranges that are measured over several pairs. Does not import torch before it measures."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Rig
from gffusion.models.gffusion.infrared_options import NAMED_RANGES, InfraredOptions, InfraredRange, Limits
from gffusion.utils.notes import format_count, name_first
from gffusion.utils.progress import show_progress

from .pairs import ImagePair
from .reading import PairImages, ReadOptions, read_pair

if TYPE_CHECKING:
    from gffusion.cameras.running_range import Frame

MEASURING = "Measuring infrared range"
_LOOKED_AT = 20  # infrared images of which the range is checked

PairKey = tuple[str, Path, Path]


def parse_infrared_range(text: str | Sequence[str], option: str = "--infrared-range") -> InfraredRange:
    """Parse a text or a list of words: `auto`, `type`, `percentile`, `folder`, or two numbers separated by a comma or spaces.

    Raises:
        ValueError: If the text is anything else; the message names `option`, as the user typed it.

    Examples:
        >>> parse_infrared_range("7000,9500"), parse_infrared_range("255,0")
        ([7000.0, 9500.0], [255.0, 0.0])
    """
    text = text if isinstance(text, str) else " ".join(text)
    words = text.replace(",", " ").split()
    if len(words) == 1 and words[0] in NAMED_RANGES:
        return words[0]  # type: ignore[return-value]
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError(
            f"{option} must be auto, type, percentile, folder, LOW,HIGH or HIGH,LOW, got {text!r}"
        ) from None
    if low == high or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{option} needs two different finite numbers LOW,HIGH, or HIGH,LOW to invert, got {text!r}")
    return [low, high]


def format_options(options: InfraredOptions) -> str:
    """Return the options that are not the defaults as `gffusion evaluate` takes them.

    Examples:
        >>> format_options(InfraredOptions([7200, 8500], invert=True, agc="clahe"))
        '--infrared-range 7200,8500 --invert --agc clahe'
    """
    return " ".join(
        f"--{name.replace('_', '-')}" + f" {format_value(value)}" * (value is not True)
        for name, value in options.to_diff_dict().items()
    )


def format_value(value: Any) -> str:
    """Return a word, a number or a range as it is typed."""
    if isinstance(value, str):
        return value
    numbers = value if isinstance(value, Sequence) else [value]
    return ",".join(repr(float(number)).removesuffix(".0") for number in numbers)


def check_counts(
    options: InfraredOptions, count: int, read_frame: Callable[[int], tuple[NDArray[Any], NDArray[Any] | None] | None]
) -> None:
    """Raise ValueError if infrared images of 16 bits, of which up to 20 are read, become nearly constant by the default range.

    `read_frame` returns the image with an index below `count`, and its missing pixels, or None if its range is no concern.
    """
    if options != InfraredOptions(invert=options.invert):
        return
    from gffusion.models.gffusion.infrared_values import is_nearly_constant  # imports torch

    indices = sorted(set(np.linspace(0, count - 1, _LOOKED_AT).round().astype(int).tolist()))
    for index in indices:
        frame = read_frame(index)
        if frame is None or not is_nearly_constant(*frame):
            return
    raise ValueError(
        f"The infrared images have 16 bits, but use less than a tenth of their range, as {len(indices)} of {count} show: with "
        'the default range, they become nearly constant images. Set infrared_range="folder" (--infrared-range folder), '
        '"percentile", or low and high in counts; "type" takes them as they are.'
    )


def note_flat_range(images: PairImages, options: InfraredOptions) -> tuple[PairImages, InfraredOptions]:
    """Return a pair with a note if its 16-bit image will look flat by the default range, and options that do not warn again."""
    from gffusion.models.gffusion.infrared_values import LOOKS_FLAT, is_nearly_constant  # imports torch

    is_default = options.infrared_range == "auto" and options.agc == "linear"
    if not is_default or images.infrared.dtype != np.uint16:
        return images, options
    notes = (LOOKS_FLAT,) if is_nearly_constant(images.infrared, images.missing) else ()
    return images._replace(notes=images.notes + notes), replace(options, infrared_range="type")


@dataclass(frozen=True)
class PairRanges:
    """Options of the infrared images of several pairs.

    Attributes:
        options: Options of all pairs.
        limits: Measured range by the name and the files of a pair, of which a list can have one several times; empty if
            `options` needs no measuring.
        read_options: How the pairs are read.
        odd: Names of pairs whose own range is far from that of the others, see [`find_odd_ranges`].
        odd_note: What is odd about them, without their names.
    """

    options: InfraredOptions
    limits: Mapping[PairKey, Limits] = field(default_factory=dict)
    read_options: ReadOptions = field(default_factory=ReadOptions)
    odd: Sequence[str] = ()
    odd_note: str = ""

    def read(self, pair: ImagePair) -> PairImages:
        """Read a pair, see [`read_pair`]."""
        return read_pair(pair.visible, pair.infrared, self.read_options)

    def options_of(self, pair: ImagePair) -> InfraredOptions:
        """Return the options of a pair, with its measured range."""
        limits = self.limits.get(_key(pair))
        return self.options if limits is None else self.options.with_limits(limits)

    @property
    def warning(self) -> str | None:
        """The warning about the pairs in `odd`, if there are any."""
        return f"{name_first(self.odd)}: {self.odd_note}" if self.odd else None

    @property
    def description(self) -> str | None:
        """The range of all images in words, if one was measured."""
        return describe_range(self.options, list(self.limits.values()))


def _key(pair: ImagePair) -> PairKey:
    return pair.name, pair.visible, pair.infrared


def describe_range(options: InfraredOptions, limits: Sequence[Limits]) -> str | None:
    """Return the measured range of all images in words, or `None` if none was measured.

    Examples:
        >>> describe_range(InfraredOptions("folder"), [(7012.0, 8990.5)] * 3)
        'infrared range of 3 images: 7012 to 8990.5, in the unit of the files'
    """
    if options.infrared_range != "folder" or not limits:
        return None
    low, high = limits[0]
    return f"infrared range of {format_count(len(limits), 'image')}: {low:.7g} to {high:.7g}, in the unit of the files"


def measure_pairs(
    pairs: Sequence[ImagePair], options: InfraredOptions, read_options: ReadOptions = ReadOptions()
) -> PairRanges:
    """Measure the ranges of pairs, if the options need it, with a progress bar. Holds one pair in memory.

    Pairs that cannot be read are left out, and get no range. With `smooth_range`, the pairs whose names have the same folder,
    such as `day/0` and `day/1`, are a recording with a range of its own; they must be in the order of its frames.
    """
    if not options.needs_measuring:
        return PairRanges(options, read_options=read_options)
    from gffusion.cameras.running_range import find_odd_ranges, measure_with_own_ranges  # imports torch

    unaligned = read_options
    if read_options.align == "auto":  # the positions do not matter here, and finding them takes long
        unaligned = replace(read_options, align=Rig(np.eye(3)), reference="infrared", crop=False)
    measured: list[PairKey] = []
    ranges, own = measure_with_own_ranges(_read_frames(pairs, unaligned, measured), options)
    odd, note = find_odd_ranges(own)
    limits = dict(zip(measured, ranges, strict=True))
    return PairRanges(options, limits, read_options, [measured[index][0] for index in odd], note)


def recording_of(name: str) -> str:
    """Return the folder in the name of a pair, whose frames are one recording.

    Examples:
        >>> recording_of("night/street/0"), recording_of("0")
        ('night/street', '')
    """
    return name.rpartition("/")[0]


def _read_frames(pairs: Sequence[ImagePair], options: ReadOptions, measured: list[PairKey]) -> "Iterator[Frame]":
    """Yield the infrared images that can be measured, and collect the keys of their pairs."""
    from gffusion.cameras.running_range import Frame
    from gffusion.models.gffusion.infrared_values import measured_counts  # imports torch

    for pair in show_progress(pairs, description=MEASURING, unit="pair"):
        try:
            images = read_pair(pair.visible, pair.infrared, options)
            measured_counts(images.infrared, images.missing)  # raises if the image cannot be measured
        except (OSError, ValueError, MemoryError):  # reported when the pair is used
            continue
        measured.append(_key(pair))
        yield Frame(images.infrared, images.missing, recording_of(pair.name))
