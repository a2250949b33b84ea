"""Checks of the labels of training and evaluation data before the first step."""

import itertools
import logging
import re
from collections.abc import Sequence, Set
from typing import Any

from torch.utils.data import Dataset

from gffusion.data.file_names import normalize_class_name
from gffusion.data.label_values import IGNORED, check_has_classes, note_missing_background
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.notes import name_first

logger = logging.getLogger(__name__)

_UNNAMED = re.compile(r"LABEL_\d+")  # which transformers gives classes without names


def check_class_names(training: Any, evaluation: Any, model: GFFusionModel) -> None:
    """Raise ValueError if a label has different names in the training data, the evaluation data and the model.

    Names are compared up to case and underscores. Numbers without a name on one side and data without labels (`None`) are not compared.
    """
    names = {}
    for which, dataset in (("the training data", training), ("the evaluation data", evaluation)):
        if getattr(dataset, "class_names", None):
            names[which] = list(dataset.class_names)
    known = [model.config.id2label[label] for label in range(1, model.config.num_labels)]
    names["the model"] = ["" if _UNNAMED.fullmatch(name) else name for name in known]
    for (first, expected), (second, found) in itertools.combinations(names.items(), 2):
        for number, pair in enumerate(zip(expected, found, strict=False), start=1):
            if all(pair) and len(set(map(normalize_class_name, pair))) > 1:
                raise ValueError(
                    f"Label {number} is {pair[0]!r} in {first}, but {pair[1]!r} in {second}. Give both the same classes in the "
                    "same order: correct classes.txt and the labels, or name the classes (`class_names` of the data, `id2label` "
                    "of the model)."
                )


def check_labels(which: str, dataset: Dataset[dict[str, Any]], first: dict[str, Any], model: GFFusionModel) -> None:
    """Check the labels of all items, or for datasets other than [`FusionDataset`] of the first one; warn about numbers that seem shifted.

    Raises:
        ValueError: If a label is neither a class of the model nor ignored, all are 0 or ignored in training data, or there is only
            one class.
    """
    read_label_values = getattr(dataset, "read_label_values", None)
    values = read_label_values() if read_label_values else dict.fromkeys(first["labels"].unique().tolist(), "item 0")
    classes, ignored = model.config.num_labels, model.config.ignore_index
    is_training = which == "training"
    names = [model.config.id2label[label] for label in range(classes)]
    if classes < 2:
        raise ValueError(
            f"The data has labels, but the model has one class ({names[0]}): name at least two (`id2label`), the "
            "background first, or omit the labels to train the fusion alone."
        )
    if read_label_values or (is_training and ignored == IGNORED):  # others, such as 0 and -100, are no objects of masks
        _check_has_classes(values.keys(), ignored, which, is_complete=bool(read_label_values))
    if is_training and read_label_values and values.keys() == {0}:
        raise ValueError(
            "All labels are 0, usually the background, so there is no object to learn: give the label maps of the objects, "
            "or omit the labels to train the fusion alone."
        )
    missing = note_missing_background(values.keys(), names) if read_label_values else ""
    if wrong := sorted(value for value in values if not (0 <= value < classes or value == ignored)):
        hint = f"; {missing}" if missing and wrong == [classes] else ""
        raise ValueError(
            f"The {which} labels hold [{name_first(wrong, 10)}] ({wrong[0]} first in {values[wrong[0]]}), but the model has "
            f"the classes 0 to {classes - 1} ({', '.join(names)}) and ignores {ignored}{hint}. {_advise(wrong)}"
        )
    if missing:
        logger.warning("The %s data: %s.", which, missing)
    elif is_training and read_label_values:
        _warn_about_unlabeled_classes(values.keys(), getattr(dataset, "class_names", None) or ())


def _advise(wrong: Sequence[int]) -> str:
    """Return what to do about labels that are neither classes nor ignored; 255 and negative ones often mark ignored pixels."""
    marks, advice = [value for value in wrong if value < 0 or value == IGNORED], []
    if len(marks) < len(wrong):
        advice.append("Give the model these classes (`id2label`; on the command line, classes.txt or --class_names)")
    if marks:
        advice.append(f"If {marks[0]} marks ignored pixels, set `ignore_index` of the model to {marks[0]}")
    return f"{'. '.join(advice)}, or correct the labels: they are class indices, not gray levels."


def _check_has_classes(values: Set[int], ignored: int, which: str, is_complete: bool) -> None:
    """Refuse training data whose labels are 0 and ignored, as masks in which 255 is the object; warn about other data."""
    try:
        check_has_classes(values, ignored)
    except ValueError as error:
        if not is_complete:
            logger.warning(
                "Of the first item of the %s data, %s. If other items hold classes, this is right.", which, error
            )
        elif which == "training":
            raise ValueError(f"The training data: {error}") from error
        else:
            logger.warning("The %s data: %s. If it shows no object, this is right.", which, error)


def _warn_about_unlabeled_classes(values: Set[int], class_names: Sequence[str]) -> None:
    """Warn about classes after the background that the data names, but that no label map holds."""
    if unlabeled := [f"{label} ({name})" for label, name in enumerate(class_names, start=1) if label not in values]:
        logger.warning(
            "No label map of the training data holds %s, so that the model does not learn %s. If such objects are labeled, the "
            "numbers or the order of the classes are wrong.",
            name_first(unlabeled),
            "it" if len(unlabeled) == 1 else "them",
        )
