"""Wrappers around a model and its parts, which add to the names of weights: `clip._orig_mod.embeddings`."""

from typing import Any

from torch import nn

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def without_wrappers(module: nn.Module) -> Any:
    """Return a module without the wrappers of `torch.compile` and data parallelism around it and its parts, with the same weights.

    The module itself stays as it is.

    Examples:
        >>> model = nn.Sequential(nn.DataParallel(nn.Linear(2, 3)))
        >>> list(model.state_dict())
        ['0.module.weight', '0.module.bias']
        >>> list(without_wrappers(model).state_dict())
        ['0.weight', '0.bias']
    """
    inner = module.module if isinstance(module, _PARALLEL) else getattr(module, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return without_wrappers(inner)
    parts = {name: None if part is None else without_wrappers(part) for name, part in module._modules.items()}
    if all(part is module._modules[name] for name, part in parts.items()):
        return module
    bare = object.__new__(type(module))
    vars(bare).update(vars(module), _modules=parts)
    return bare


def map_names(module: nn.Module) -> dict[str, str]:
    """Return the names of weights in a module with wrapped parts, and their names without the wrappers. Equal ones are left out.

    Examples:
        >>> map_names(nn.Sequential(nn.DataParallel(nn.Linear(2, 3, bias=False))))
        {'0.module.weight': '0.weight'}
    """
    plain = without_wrappers(module)
    if plain is module:
        return {}
    names = zip(module.state_dict(), plain.state_dict(), strict=True)
    return {wrapped: name for wrapped, name in names if wrapped != name}
