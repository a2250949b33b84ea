"""What a given dataset is: a subset or a wrapper, with random transforms, or with pairs that are given twice."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Subset

from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, Transform
from gffusion.data.transforms.base import describe_transform
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.processes import is_main_process
from gffusion.utils.notes import group_notes, name_first

from .checked_dataset import read_item
from .sampling import MODEL_INPUTS

logger = logging.getLogger(__name__)

_COMPARED_ITEMS = 4
_READ_INFRARED = 1000  # takes seconds, and minutes for large images of 16 bits


def unwrap_subset(dataset: Any) -> Any:
    """Return the pairs of a `Subset` of a [`FusionDataset`] as a `FusionDataset`; other datasets are returned unchanged.

    The subset itself has neither epochs nor the infrared options that are saved with the weights.

    Raises:
        ValueError: If a part of a `ConcatDataset` is a `FusionDataset`, or a `Subset` has an index that its dataset does not have.
    """
    if type(dataset) is Subset:
        whole = unwrap_subset(dataset.dataset)
        if wrong := [int(index) for index in dataset.indices if not -len(whole) <= index < len(whole)]:
            raise ValueError(
                f"A Subset has the index {wrong[0]}, but its dataset has {len(whole)} items: give it indices from 0 to {len(whole) - 1}."
            )
        return whole.select(dataset.indices) if isinstance(whole, FusionDataset) else dataset
    if isinstance(dataset, ConcatDataset) and any(
        isinstance(unwrap_subset(part), FusionDataset) for part in dataset.datasets
    ):
        raise ValueError(
            "A ConcatDataset hides the classes, sizes, epochs and infrared options of a FusionDataset: join the folders in one, "
            'such as FusionDataset(["data/a", "data/b"]), or the rows of datasets by `datasets.concatenate_datasets`.'
        )
    return dataset


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


def warn_about_data(training: Any, given: Any, evaluation: Any, model: GFFusionModel, labeled: bool) -> int:
    """Warn about what the checks of the data accept. `evaluation` is the given evaluation dataset without random transforms.

    Returns the number of evaluation pairs, or 0 if `gffusion evaluate` would not measure the same values for their files.
    """
    if labeled:
        warn_about_assumed_classes(training, model)
    for which, dataset in (("training", training), ("evaluation", evaluation)):
        warn_about_repeated_pairs(which, dataset)
        warn_about_wrapper(which, dataset)
    warn_about_shared_pairs(training, evaluation)
    source = _find_source(evaluation)
    is_transformed = source is not None and source.transform is not None
    if evaluation is None or _warn_about_random_items(given, evaluation) or is_transformed:
        return 0
    return len(evaluation)


def warn_about_wrapper(which: str, dataset: Any) -> None:
    """Warn if a dataset reads its items from a [`FusionDataset`], and lacks attributes of it that a training uses."""
    wrapped = _find_source(dataset)
    if wrapped is None or wrapped is dataset:
        return
    is_random = which == "training" and bool(_list_random_transforms(wrapped))
    is_named = wrapped.has_labels and wrapped.class_names is not None
    uses = (
        ("set_epoch", is_random, "random transforms do the same in every epoch"),
        ("infrared_options", wrapped.infrared_options != InfraredOptions(), "the defaults are saved with the weights"),
        ("class_names", is_named, "they are not compared with those of the model"),
    )
    if missing := [
        f"no `{name}` ({result})" for name, is_used, result in uses if is_used and not hasattr(dataset, name)
    ]:
        logger.warning(
            "The %s dataset %s reads a FusionDataset, but has %s. Give it these attributes of the FusionDataset.",
            which,
            type(dataset).__name__,
            ", ".join(missing),
        )


def warn_about_assumed_classes(dataset: Any, model: GFFusionModel) -> None:
    """Warn if the labels of a [`FusionDataset`] without class names are read as the named classes of the model."""
    source, names = _find_source(dataset), model.config.id2label
    if source is None or source.class_names or getattr(dataset, "class_names", None) or names[0] == "LABEL_0":
        return
    logger.warning(
        "The data does not name its classes: label maps are read as %s, the classes of the model. If the numbers are "
        "those of other classes, name these after the background in classes.txt or `class_names`.",
        ", ".join(f"{index} {names[index]}" for index in range(len(names))),
    )


def warn_about_repeated_pairs(which: str, dataset: Any) -> None:
    """Warn if files are in a [`FusionDataset`] several times."""
    files = [pair.visible.resolve() for pair in dataset.pairs] if isinstance(dataset, FusionDataset) else []
    repeated = [file for file, count in Counter(files).items() if count > 1]
    if repeated:
        logger.warning(
            "%d of %d %s images are given several times (such as %s): name every folder once, unless these pairs are to count more.",
            len(repeated),
            len(set(files)),
            which,
            repeated[0],
        )


def warn_about_infrared(which: str, dataset: Any) -> None:
    """Warn about infrared images of a [`FusionDataset`], among the first 1,000, that show nothing of the scene, or repeat the one before.

    Every process reads them, so that none waits too long for another one.
    """
    notes = dataset.note_infrared(_READ_INFRARED) if isinstance(dataset, FusionDataset) else []
    if not is_main_process():
        return
    for note, found in group_notes(notes):
        read = f"{len(dataset)}" if len(dataset) <= _READ_INFRARED else f"the first {_READ_INFRARED}"
        logger.warning("%d of %s %s pairs (%s): %s", len(found), read, which, name_first(found), note)


def warn_about_shared_pairs(training: Any, evaluation: Any) -> None:
    """Warn if training has pairs of the evaluation, whose scores then say nothing about other images."""
    if not (isinstance(training, FusionDataset) and isinstance(evaluation, FusionDataset)):
        return
    trained, evaluated = set(training.identify()), evaluation.identify()
    shared = [name for name, image in zip(evaluation.names, evaluated, strict=True) if image in trained]
    if shared:
        logger.warning(
            "%d of %d evaluation pairs are training pairs, too (such as %s): the evaluation and the choice of the best weights "
            "need pairs of their own.",
            len(shared),
            len(evaluated),
            shared[0],
        )


def _warn_about_random_items(given: Any, evaluation: Any) -> bool:
    """Warn if the evaluation dataset has random items, and return whether they are evaluated."""
    if dropped := _list_random_transforms(given):
        logger.warning(
            "The evaluation leaves out the random transforms of its data (%s), so that losses and metrics are those of whole images.",
            ", ".join(map(describe_transform, dropped)),
        )
    is_random = bool(_list_random_transforms(_find_source(evaluation))) or _has_random_items(evaluation)
    if is_random:
        logger.warning(
            "The items of the evaluation dataset are random: losses, metrics and the choice of the best weights depend on chance, and "
            "the model card leaves the results out. Give `eval_dataset` without random transforms."
        )
    return is_random


def _list_random_transforms(dataset: Any) -> list[Transform]:
    """Return the transforms of a [`FusionDataset`] that are random."""
    parts = _list_parts(dataset.transform) if isinstance(dataset, FusionDataset) and dataset.transform else ()
    return [transform for transform in parts if _is_random(transform)]


def _find_source(dataset: Any, depth: int = 3) -> FusionDataset | None:
    """Return a [`FusionDataset`] itself, or the one that another dataset has as an attribute, or that such an attribute has."""
    if isinstance(dataset, FusionDataset):
        return dataset
    for value in getattr(dataset, "__dict__", {}).values() if depth else ():
        if isinstance(value, torch.utils.data.Dataset) and (found := _find_source(value, depth - 1)):
            return found
    return None


def _has_random_items(dataset: Any) -> bool:
    """Return whether items of an evaluation dataset differ between two reads; those of a FusionDataset, between two epochs."""
    has_epochs = isinstance(dataset, FusionDataset) and dataset.transform is not None
    if type(dataset) is FusionDataset and not has_epochs:
        return False
    indices = range(min(len(dataset), _COMPARED_ITEMS))
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
