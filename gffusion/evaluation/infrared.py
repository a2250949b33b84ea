"""One mapping of infrared values for metrics and baselines, which is that of the models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gffusion.data import ImagePair, PairImages, ReadOptions, read_pair
from gffusion.data.infrared_range import check_counts, format_options
from gffusion.models.gffusion.infrared_options import InfraredOptions

from .methods import Method, Model


def choose_options(
    methods: Sequence[Method], given: Mapping[str, Any], pairs: Sequence[ImagePair], read_options: ReadOptions
) -> InfraredOptions:
    """Return how metrics and baselines map infrared values: as the models do, whose saved options `given` overrides.

    Models with different options can be compared on images of 8 bits, which are then taken as they are.

    Raises:
        ValueError: If models have different options, and the images have more than 8 bits, or some models invert them.
    """
    models = [method for method in methods if isinstance(method, Model)]
    options = InfraredOptions().override(**given)
    if not models:
        return options
    first = models[0].infrared_options
    other = next((model for model in models if not model.infrared_options.maps_like(first)), None)
    if other is None:
        return first
    have_one_direction = len({model.infrared_options.is_inverted for model in models}) == 1
    if not have_one_direction or not _have_8_bits(pairs, read_options):
        texts = [format_options(model.infrared_options) or "--infrared-range auto" for model in (models[0], other)]
        raise ValueError(
            f"{models[0].name} was saved with {texts[0]}, but {other.name} with {texts[1]}, and metrics and baselines need one "
            "mapping of infrared values: give the options of all (`infrared_options`; --infrared-range, --invert, --agc, "
            "--plateau-limit, --smooth-range), or evaluate each model on its own."
        )
    return replace(options, invert=options.invert or first.is_inverted != options.is_inverted)


def check_range(options: InfraredOptions, pairs: Sequence[ImagePair], read_options: ReadOptions) -> None:
    """Raise ValueError if infrared images of 16 bits become nearly constant by the default range. Reads up to 20 pairs."""

    def read_frame(index: int) -> tuple[Any, Any] | None:
        images = next(_read([pairs[index]], read_options), None)
        return None if images is None or images.is_raw else (images.infrared, images.missing)

    check_counts(options, len(pairs), read_frame)


def _have_8_bits(pairs: Sequence[ImagePair], read_options: ReadOptions) -> bool:
    """Return whether the first infrared image that can be read has 8 bits; those of another type are left out."""
    images = next(_read(pairs, read_options), None)
    return images is None or images.infrared.dtype == np.uint8


def _read(pairs: Sequence[ImagePair], read_options: ReadOptions) -> Iterator[PairImages]:
    for pair in pairs:
        try:
            yield read_pair(pair.visible, pair.infrared, read_options)
        except (OSError, ValueError, MemoryError):  # reported when the pair is measured
            continue
