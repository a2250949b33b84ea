"""Evaluation data as it is on disk: a FusionDataset without its random transforms, other datasets as they are."""

from collections.abc import Iterator
from typing import Any

import torch

from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, Transform

from .checked_dataset import read_item
from .sampling import MODEL_INPUTS

_COMPARED_ITEMS = 4


def drop_random_transforms(dataset: Any) -> Any:
    """Return a [`FusionDataset`] without its random transforms, so that whole images are evaluated; others unchanged.

    Functions that do not tell their `variants` stay, because they may be needed to read the data.
    """
    if not isinstance(dataset, FusionDataset) or dataset.transform is None:
        return dataset
    whole = dataset.select(range(len(dataset)))  # the training may use the same dataset
    kept = [transform for transform in _list_parts(dataset.transform) if not _is_random(transform)]
    whole.transform = Compose(kept) if kept else None
    return whole


def list_random_transforms(dataset: Any) -> list[Transform]:
    """Return the transforms of a [`FusionDataset`] that are random."""
    parts = _list_parts(dataset.transform) if isinstance(dataset, FusionDataset) and dataset.transform else ()
    return [transform for transform in parts if _is_random(transform)]


def find_wrapped(dataset: Any, depth: int = 3) -> FusionDataset | None:
    """Return the [`FusionDataset`] that a dataset of another type has as an attribute, or that such an attribute has."""
    for value in getattr(dataset, "__dict__", {}).values() if depth and not isinstance(dataset, FusionDataset) else ():
        if isinstance(value, FusionDataset):
            return value
        if isinstance(value, torch.utils.data.Dataset) and (found := find_wrapped(value, depth - 1)):
            return found
    return None


def has_random_items(dataset: Any) -> bool:
    """Return whether items of an evaluation dataset differ between two reads; those of a FusionDataset, between two epochs."""
    has_epochs = isinstance(dataset, FusionDataset) and dataset.transform is not None
    if type(dataset) is FusionDataset and not has_epochs:
        return False
    indices = range(min(len(dataset), _COMPARED_ITEMS))
    with torch.random.fork_rng(devices=[]):  # reading draws random numbers that are not those of the training
        first = [read_item(dataset, index) for index in indices]
        if has_epochs:
            dataset.set_epoch(1)
        second = [read_item(dataset, index) for index in indices]
        if has_epochs:
            dataset.set_epoch(0)
    return not all(_are_equal(*items) for items in zip(first, second, strict=True))


def _list_parts(transform: Transform) -> Iterator[Transform]:
    if isinstance(transform, Compose):
        for part in transform.transforms:
            yield from _list_parts(part)
    else:
        yield transform


def _is_random(transform: Transform) -> bool:
    return getattr(transform, "variants", 1) != 1


def _are_equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    names = [name for name in MODEL_INPUTS if name in first or name in second]
    return all(name in first and name in second and torch.equal(first[name], second[name]) for name in names)
