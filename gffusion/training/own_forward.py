"""Notice subclasses of the model that change the fused image, which loading their weights with GFFusionModel does not."""

import logging
from typing import Any

import torch
from torch import Tensor

from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .checked_dataset import read_item
from .sampling import collate, move_inputs

logger = logging.getLogger(__name__)

_INVISIBLE = 1e-3  # a quarter of a gray level


def warn_about_own_forward(model: GFFusionModel, dataset: Any) -> bool:
    """Warn if a subclass changes the fused image of the first item of a dataset, and return whether it does."""
    if type(model) is GFFusionModel:
        return False
    plain = object.__new__(GFFusionModel)
    plain.__dict__ = model.__dict__  # the same parts and weights, without the methods of the subclass
    labeled = model.config.use_segmenter
    with torch.random.fork_rng(devices=[]):  # reading draws random numbers that are not those of the training
        batch = collate([read_item(dataset, 0, model.config)], model.config if labeled else None)
        inputs = move_inputs(batch, labeled, model.device)
        fused, expected = _fuse(model, inputs), _fuse(plain, inputs)
    if fused.shape == expected.shape and torch.allclose(fused, expected, atol=_INVISIBLE):
        return False
    name = type(model).__name__
    logger.warning(
        "%s changes the fused image. Commands and other users load GFFusionModel, which does not: load these weights with "
        "`%s.from_pretrained`. The model card leaves the results out.",
        name,
        name,
    )
    return True


@torch.no_grad()
def _fuse(model: GFFusionModel, inputs: dict[str, Tensor]) -> Tensor:
    """Return the fused image in evaluation mode."""
    was_training = model.training
    try:
        return model.eval()(**inputs, return_dict=True, return_loss=True).fused_values.clone()
    finally:
        model.train(was_training)
