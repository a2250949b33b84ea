"""Check the model that segments the images of all methods. Does not import torch."""

import os
from collections.abc import Iterable
from typing import Any

from gffusion.export.requirements import is_onnx
from gffusion.zoo import locate

from .inputs import StrPath, check_no_baseline


def check_segment_with(model: Any, labels: StrPath | None, predicted_labels: Iterable[str]) -> None:
    """Check the argument `segment_with` of an evaluation, which can be `None`, before the model is loaded.

    Raises:
        OSError: If there is no such model.
        TypeError: If it is neither a name nor a path.
        ValueError: If there are no label maps to compare with, predicted label maps are given as well, or it is an .onnx file.
    """
    if model is None:
        return
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"`segment_with` must be the name of a model or a folder, got {model!r:.80}.")
    if labels is None:
        raise ValueError("`segment_with` (--segment-with) needs label maps to compare with: give `labels` (--labels).")
    if names := list(predicted_labels):
        raise ValueError(
            "`segment_with` (--segment-with) predicts the label maps of all methods, but `predicted_labels` "
            f"(--predicted-labels) gives those of {', '.join(names)}: leave one of the two out."
        )
    if is_onnx(model):
        raise ValueError(
            f"`segment_with` (--segment-with) {os.fspath(model)}: an .onnx file segments only what it fuses; give the model "
            "that it was exported from."
        )
    check_no_baseline(model)
    locate(model)
