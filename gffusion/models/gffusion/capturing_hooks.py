"""Hooks by which transformers captures hidden states, and which cannot be pickled."""

import copy
from collections import OrderedDict
from typing import Any

from torch import nn

# Attribute that transformers sets on networks whose hidden states it captures.
_HOOKED = "_output_capturing_hooks_installed"


def _is_capturing(hook: Any) -> bool:
    return getattr(hook, "__module__", "") == "transformers.utils.output_capturing"


def without_capturing(module: nn.Module | None) -> nn.Module | None:
    """Return a network with the same weights, but without the hooks that capture hidden states, which cannot be pickled.

    Parts without such hooks stay as they are: parametrized ones can be copied, but not taken apart.
    """
    if module is None or not any(
        _HOOKED in vars(part) or any(map(_is_capturing, part._forward_hooks.values())) for part in module.modules()
    ):
        return module
    bare = copy.copy(module)
    vars(bare).pop(_HOOKED, None)
    bare._modules = {name: without_capturing(part) for name, part in module._modules.items()}
    hooks = module._forward_hooks.items()
    bare._forward_hooks = OrderedDict((key, hook) for key, hook in hooks if not _is_capturing(hook))
    return bare
