"""Fold the parts of a trained FuNet together, for forms of it that are only run and not trained."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gffusion.models.gffusion.finet import FINet
from gffusion.models.gffusion.funet import Context, Decoder, FuNet, GradientResidualDenseBlock, ModalityEncoder
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

SOBEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float32, device="cpu")
"""Horizontal kernel of the Sobel operator; its transpose is the vertical one."""

# The networks that folded forms compute, with the names of their parts.
_PARTS = {
    FuNet: {"visible_encoder", "infrared_encoder", "decoder"},
    ModalityEncoder: {"stem", "activation", "block"},
    GradientResidualDenseBlock: {"dense1", "dense2", "dense_align", "gradient_align", "activation"},
    Context: {"layers"},
}
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)  # the same in evaluation mode
_LAYERS = (nn.Sequential, Decoder, nn.Conv2d, *_NORMS, nn.LeakyReLU)
# Packages whose modules compute what their weights and settings say. Those of others can have flags of their own.
_PACKAGES = ("torch.nn.modules.", "transformers.", FuNet.__module__.rpartition(".")[0])
# Methods of a model that row bands or graphs replace.
_METHODS = (
    "__call__",
    "forward",
    "to_source",
    "encode_images",
    "encode_semantics",
    "project_semantics",
    "predict_logits",
)


def can_divide(model: Any) -> bool:
    """Return whether tiles and bands of rows, and images on other threads, give the results of a whole forward pass.

    Layers that are not known can depend on the whole image, and hooks can expect it.
    """
    return isinstance(model, GFFusionModel) and has_plain_forward(model) and can_fold(model)


def can_fold(model: GFFusionModel) -> bool:
    """Return whether folded forms compute a model's FuNet and the injection of its FINet, and all of FuNet is in evaluation mode.

    They know modules of exactly the types of [`FuNet`], without hooks and without methods that are replaced on the object, and
    the injection of [`FINet`].
    """
    finet = getattr(model, "finet", FINet)  # the cascading paradigm has none
    return getattr(finet, "inject", None) is FINet.inject and all(map(_is_known, model.funet.modules()))


def _is_known(module: nn.Module) -> bool:
    """Return whether folded forms know a module, apart from the modules in it."""
    kind = type(module)
    if not is_plain(module):
        return False
    if kind in _PARTS:
        return {name for name, _ in module.named_children()} - {"context"} == _PARTS[kind]
    if isinstance(module, _NORMS) and (module.running_mean is None or module.running_var is None):
        return False
    return kind in _LAYERS and (not isinstance(module, nn.Conv2d) or _is_known_convolution(module))


def _is_known_convolution(layer: nn.Conv2d) -> bool:
    if (layer.stride, layer.dilation, layer.groups) != ((1, 1), (1, 1), 1) or layer.bias is None:
        return False
    return (layer.kernel_size, layer.padding, layer.padding_mode) in (
        ((1, 1), (0, 0), "zeros"),
        ((3, 3), (1, 1), "reflect"),
    )


def has_plain_forward(model: GFFusionModel) -> bool:
    """Return whether a forward pass of a model, apart from its parts, is that of [`GFFusionModel`]: not overridden, no hooks."""
    return _has_methods(model, GFFusionModel, _METHODS) and not (model._forward_hooks or model._forward_pre_hooks)


def is_plain_processor(processor: GFFusionImageProcessor) -> bool:
    """Return whether images are prepared and restored as by [`GFFusionImageProcessor`]: no method is overridden.

    Examples:
        >>> class Brighter(GFFusionImageProcessor):
        ...     def preprocess(self, *images, **options):
        ...         return super().preprocess(*images, **options)
        >>> is_plain_processor(GFFusionImageProcessor()), is_plain_processor(Brighter())
        (True, False)
    """
    return _has_methods(processor, GFFusionImageProcessor, ("__call__", "preprocess", "post_process_fusion"))


def _has_methods(instance: object, kind: type, names: Iterable[str]) -> bool:
    """Return whether methods of an instance are those of a class: not overridden, nor replaced on the object."""
    methods = ((getattr(instance, name), getattr(kind, name)) for name in names)
    return all(getattr(method, "__func__", None) is expected for method, expected in methods)


def is_plain(module: nn.Module) -> bool:
    """Return whether a module, apart from those in it, computes what its weights and settings say, in evaluation mode.

    Hooks and replaced methods only run if it is called.
    """
    has_hooks = module._forward_hooks or module._forward_pre_hooks or has_global_hooks()
    return not has_hooks and not module.training and has_known_code(module)


def has_known_code(module: nn.Module) -> bool:
    """Return whether a module is of a class of torch, transformers or this package, and no method is replaced on the object."""
    kind: Any = type(module)
    return kind.__module__.startswith(_PACKAGES) and _list_methods(kind).isdisjoint(vars(module))


@cache
def _list_methods(kind: type) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name)))


def has_global_hooks() -> bool:
    """Return whether there are hooks of the forward passes of all modules."""
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


def fold_batch_norms(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Return layers in which every batch norm is part of the convolution before it.

    Examples:
        >>> layers = fold_batch_norms([nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2).eval(), nn.ReLU()])
        >>> [type(layer).__name__ for layer in layers]
        ['Conv2d', 'ReLU']
    """
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, _NORMS):
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
        return torch.ones(first.out_channels, dtype=torch.float32, device=first.weight.device)
    return (norm.weight.float() / torch.sqrt(norm.running_var.float() + norm.eps)).detach()
