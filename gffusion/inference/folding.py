"""Fold the parts of a trained FuNet together, for forms of it that are only run and not trained."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gffusion.models.gffusion.funet import FuNet, GradientResidualDenseBlock, ModalityEncoder
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

SOBEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
"""Horizontal kernel of the Sobel operator; its transpose is the vertical one."""

# The networks that folded forms compute, with the names of their parts.
_PARTS = {
    FuNet: {"visible_encoder", "infrared_encoder", "decoder"},
    ModalityEncoder: {"stem", "activation", "block"},
    GradientResidualDenseBlock: {"dense1", "dense2", "dense_align", "gradient_align", "activation"},
}
_LAYERS = (nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU)
# Methods of a model that row bands or graphs replace.
_METHODS = ("forward", "to_source", "encode_images", "encode_semantics", "project_semantics", "predict_logits")


def can_fold(funet: nn.Module) -> bool:
    """Return whether a FuNet has the parts that folded forms know, and is in evaluation mode.

    Further parts, other kinds of convolutions, hooks, and methods that are replaced on the object are not known.

    Examples:
        >>> from gffusion import create_model
        >>> can_fold(create_model("gffusion-funet").funet)
        True
    """
    parts = (module for name, module in funet.named_modules() if name.partition(".")[0] != "context")  # runs as it is
    return type(funet) is FuNet and not funet.training and all(is_known(module) for module in parts)


def is_known(module: nn.Module) -> bool:
    """Return whether folded forms know a module, apart from the modules in it."""
    if not is_plain(module):
        return False
    if type(module) in _PARTS:
        return {name for name, _ in module.named_children()} - {"context"} == _PARTS[type(module)]
    if not isinstance(module, nn.Conv2d):
        return isinstance(module, _LAYERS)
    if (module.stride, module.dilation, module.groups) != ((1, 1), (1, 1), 1) or module.bias is None:
        return False
    return (module.kernel_size, module.padding, module.padding_mode) in (
        ((1, 1), (0, 0), "zeros"),
        ((3, 3), (1, 1), "reflect"),
    )


def has_plain_forward(model: GFFusionModel) -> bool:
    """Return whether a forward pass of a model, apart from its parts, is that of [`GFFusionModel`]: not overridden, no hooks."""
    methods = ((getattr(model, name), getattr(GFFusionModel, name)) for name in _METHODS)
    is_ours = all(getattr(method, "__func__", None) is ours for method, ours in methods)
    return is_ours and not (model._forward_hooks or model._forward_pre_hooks)


def is_plain(module: nn.Module) -> bool:
    """Return whether a module has no hooks of forward passes and no replaced methods, which only run if it is called."""
    return not (
        module._forward_hooks or module._forward_pre_hooks or {"forward", "encode", "decode"} & vars(module).keys()
    )


def fold_batch_norms(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Return layers in which every batch norm is part of the convolution before it.

    Examples:
        >>> layers = fold_batch_norms([nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2).eval(), nn.ReLU()])
        >>> [type(layer).__name__ for layer in layers]
        ['Conv2d', 'ReLU']
    """
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer)  # type: ignore[type-var]
        else:
            folded.append(layer)
    return folded


def find_context_scale(decoder: nn.Sequential) -> Tensor:
    """Return the factors (channels,) of the batch norm after the first convolution, float32, 1 without one.

    The context is added before this norm, which is folded into the convolution.
    """
    first: Any = decoder[0]
    norm: Any = decoder[1] if len(decoder) > 1 else None
    if norm is None:
        return torch.ones(first.out_channels, device=first.weight.device)
    return (norm.weight.float() / torch.sqrt(norm.running_var.float() + norm.eps)).detach()


def join_aligns(block: GradientResidualDenseBlock) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one 1x1 convolution of a block's input, its two dense outputs and its gradient, in this order."""
    dense, gradient = block.dense_align, block.gradient_align
    weight = torch.cat([dense.weight, gradient.weight], dim=1).detach()
    return weight, (dense.bias + gradient.bias).detach()  # type: ignore[operator]
