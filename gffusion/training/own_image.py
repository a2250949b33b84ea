"""Notice models whose fused image is not that of GFFusionModel with their weights, which others load."""

import logging
from typing import Any

import torch
from torch import Tensor

from gffusion.inference.folding import can_divide
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.processes import is_main_process
from gffusion.models.gffusion.weight_checks import build_on_meta
from gffusion.models.gffusion.wrappers import without_wrappers

from .checked_dataset import read_item
from .sampling import collate, move_inputs

logger = logging.getLogger(__name__)

_INVISIBLE = 1e-3  # a quarter of a gray level


def warn_about_own_image(model: GFFusionModel, dataset: Any) -> bool:
    """Warn if a model fuses the first or the last item of a dataset otherwise than GFFusionModel, and return whether it does.

    All processes must call this: a `forward` of a subclass can gather values.
    """
    bare, was_training = without_wrappers(model), model.training
    try:
        bare.eval()
        if can_divide(bare) or not _differs(bare, dataset):
            return False
    except Exception as error:  # a `forward` that needs the training, or a configuration of a user's own
        logger.warning("The fused image could not be compared with that of GFFusionModel, which others load: %s", error)
        return False
    finally:
        model.train(was_training)
    if is_main_process():
        name, is_own_class = type(bare).__name__, type(bare) is not GFFusionModel
        logger.warning(
            "%s changes the fused image. Commands and other users load GFFusionModel, which does not: %s. The model card has no results "
            "of the evaluation.",
            name if is_own_class else "A layer, method or hook of your own",
            f"load these weights with `{name}.from_pretrained`"
            if is_own_class
            else "change each loaded model in the same way",
        )
    return True


def _differs(model: GFFusionModel, dataset: Any) -> bool:
    plain = _load_plain(model)
    for index in {0, len(dataset) - 1}:
        inputs = move_inputs(collate([read_item(dataset, index, model.config)], model.config), model.device)
        fused, expected = _fuse(model, inputs), _fuse(plain, inputs)
        if fused.shape != expected.shape or not torch.allclose(fused, expected, atol=_INVISIBLE):
            return True
    return False


def _load_plain(model: GFFusionModel) -> GFFusionModel:
    """Return GFFusionModel with the weights of a model, and its encoders."""
    plain = build_on_meta(GFFusionModel, model.config).eval()
    for name, encoder in model.backbones.items():
        setattr(plain, name, encoder)
    plain.load_state_dict(model.state_dict(), strict=False, assign=True)
    return plain


@torch.no_grad()
def _fuse(model: GFFusionModel, inputs: dict[str, Tensor]) -> Tensor:
    fused = model(**inputs, return_loss=True).fused_values
    if fused is None:
        raise ValueError("`forward` returns no `fused_values`.")
    return fused
