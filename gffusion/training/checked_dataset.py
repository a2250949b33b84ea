"""Items of datasets, whose inputs of the model are checked one by one, so that errors name the item."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.input_checks import OVERSHOOT, check_label_values
from gffusion.utils.notes import name_in_errors

from .sampling import MODEL_INPUTS, to_tensor


class CheckedDataset(Dataset[dict[str, Any]]):
    """Dataset of the items of another one, as [`read_item`] returns them."""

    def __init__(self, dataset: Dataset[dict[str, Any]], config: GFFusionConfig | None = None) -> None:
        self.dataset, self.config = dataset, config

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return read_item(self.dataset, index, self.config)


def read_item(dataset: Any, index: int, config: GFFusionConfig | None = None) -> dict[str, Any]:
    """Return an item of a dataset, its inputs of the model as tensors: images as float32, labels as int64.

    Raises:
        ValueError: If it is no dict of images with finite values in [0, 1], its labels are no integers or, with the configuration
            of a model that has a segmenter, not of the size of the images or no classes of this model.

    Examples:
        >>> item = {"visible_values": np.zeros((3, 32, 32)), "infrared_values": np.zeros((1, 32, 32))}
        >>> read_item([item], 0)["visible_values"].dtype
        torch.float32
    """
    item = dataset[index]
    _check_shapes(item, index)
    inputs = {name: _check_tensor(item[name], f"{name!r} of item {index}") for name in MODEL_INPUTS if name in item}
    if config is not None and config.use_segmenter and "labels" in inputs:
        with name_in_errors(f"item {index}"):
            _check_labels(inputs, config)
    return {**item, **inputs}


def _check_shapes(item: Any, index: int) -> None:
    values = item if isinstance(item, Mapping) else {}
    shapes = [tuple(getattr(values.get(name), "shape", ())) for name in ("visible_values", "infrared_values")]
    if [(len(shape), shape[:1]) for shape in shapes] != [(3, (3,)), (3, (1,))]:
        got = ", ".join(f"{name} {tuple(getattr(value, 'shape', ()))}" for name, value in values.items())
        raise ValueError(
            f"Item {index} must be a dict of tensors or NumPy arrays, `visible_values` (3, H, W) and `infrared_values` "
            f"(1, H, W), got {got or f'a {type(item).__name__}'}."
        )


def _check_labels(inputs: dict[str, Tensor], config: GFFusionConfig) -> None:
    expected, found = (tuple(inputs[name].shape) for name in ("visible_values", "labels"))
    if found != expected[1:]:
        raise ValueError(f"'labels' must have the shape of the images, {expected[1:]}, got {found}")
    check_label_values(config, inputs["labels"])


def _check_tensor(value: Any, name: str) -> Tensor:
    """Return checked labels as int64, and checked images as float32."""
    if not isinstance(value, Tensor | np.ndarray):
        raise ValueError(f"{name} must be a tensor or a NumPy array, got a {type(value).__name__}.")
    tensor = to_tensor(value)
    if name.startswith("'labels'"):
        if tensor.is_floating_point():
            raise ValueError(f"{name} must be integer class ids, got {tensor.dtype}.")
        return tensor.long()
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be floating point in [0, 1], got {value.dtype}: divide 8-bit images by 255.")
    low, high = map(float, tensor.detach().aminmax()) if tensor.numel() else (0.0, 0.0)
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):  # also refuses NaN
        raise ValueError(f"{name} must have finite values in [0, 1], got {low:.4g} to {high:.4g}.")
    return tensor.float()
