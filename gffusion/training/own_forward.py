"""Notice what a subclass of the model does to the fused image, which the saved weights do not hold."""

import logging
from typing import Any

import torch
from torch import Tensor

from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .checked_dataset import read_item
from .sampling import collate, move_inputs

logger = logging.getLogger(__name__)


def warn_about_own_forward(model: GFFusionModel, dataset: Any) -> bool:
    """Warn if a subclass changes the fused image of the first item of a dataset, and return whether it does."""
    if type(model) is GFFusionModel:
        return False
    plain = object.__new__(GFFusionModel)
    plain.__dict__ = model.__dict__  # the same parts and weights, without the methods of the subclass
    labeled = model.config.use_segmenter
    batch = collate([read_item(dataset, 0, model.config)], model.config if labeled else None)
    inputs = move_inputs(batch, labeled, model.device)
    if torch.equal(_fuse(model, inputs), _fuse(plain, inputs)):
        return False
    name = type(model).__name__
    logger.warning(
        "%s changes the fused image, which weights do not hold: commands and other users load GFFusionModel, and get its image. Load the "
        "weights with `%s.from_pretrained`. The model card leaves the results out.",
        name,
        name,
    )
    return True


@torch.no_grad()
def _fuse(model: GFFusionModel, inputs: dict[str, Tensor]) -> Tensor:
    """Return the fused image in evaluation mode, with the random numbers of a fixed seed."""
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return model.eval()(**inputs, return_dict=True, return_loss=True).fused_values.clone()
    finally:
        model.train(was_training)
