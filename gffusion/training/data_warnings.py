"""Warnings about data that trains or is evaluated in another way than it seems."""

import logging
from collections import Counter
from typing import Any

from gffusion.data import FusionDataset
from gffusion.data.transforms.base import describe_transform
from gffusion.models.gffusion.infrared_options import InfraredOptions

from .evaluation_data import find_wrapped, has_random_items, list_random_transforms

logger = logging.getLogger(__name__)


def warn_about_data(training: Any, given: Any, evaluation: Any) -> int:
    """Warn about what the checks of the data accept.

    Args:
        training: The training dataset.
        given: The evaluation dataset, or `None`.
        evaluation: The same without its random transforms.

    Returns:
        The number of evaluation pairs, or 0 if they are not evaluated as `gffusion evaluate` evaluates their files.
    """
    warn_about_repeated_pairs("training", training)
    warn_about_repeated_pairs("evaluation", evaluation)
    warn_about_shared_pairs(training, evaluation)
    for which, dataset in (("training", training), ("evaluation", evaluation)):
        warn_about_wrapper(which, dataset)
    if evaluation is None or warn_about_random_items(given, evaluation) or _transforms(evaluation):
        return 0
    return len(evaluation)


def warn_about_random_items(given: Any, evaluation: Any) -> bool:
    """Warn if the evaluation dataset has random items, and return whether they are evaluated."""
    if dropped := list_random_transforms(given):
        logger.warning(
            "The evaluation leaves out the random transforms of its data (%s), so that losses and metrics are those of whole images.",
            ", ".join(map(describe_transform, dropped)),
        )
    is_random = bool(list_random_transforms(find_wrapped(evaluation))) or has_random_items(evaluation)
    if is_random:
        logger.warning(
            "The items of the evaluation dataset are random: losses, metrics and the choice of the best weights depend on chance, and "
            "the model card leaves the results out. Give `eval_dataset` without random transforms."
        )
    return is_random


def warn_about_wrapper(which: str, dataset: Any) -> None:
    """Warn if a dataset reads its items from a [`FusionDataset`], and lacks attributes of it that a training uses."""
    wrapped = find_wrapped(dataset)
    if wrapped is None:
        return
    uses = {
        "set_epoch": which == "training" and bool(list_random_transforms(wrapped)),
        "infrared_options": wrapped.infrared_options != InfraredOptions(),
        "class_names": wrapped.has_labels and wrapped.class_names is not None,
    }
    results = {
        "set_epoch": "random transforms do the same in every epoch",
        "infrared_options": "the defaults are saved with the weights",
        "class_names": "they are not compared with those of the model",
    }
    if missing := [name for name, is_used in uses.items() if is_used and not hasattr(dataset, name)]:
        logger.warning(
            "The %s dataset %s reads a FusionDataset, but has no %s. Give it these attributes of the FusionDataset.",
            which,
            type(dataset).__name__,
            ", no ".join(f"`{name}` ({results[name]})" for name in missing),
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


def _transforms(dataset: Any) -> bool:
    """Return whether the images are not those of the files."""
    source = dataset if isinstance(dataset, FusionDataset) else find_wrapped(dataset)
    return source is not None and source.transform is not None
