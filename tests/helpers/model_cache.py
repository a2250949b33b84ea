"""Load every bundled model of a test process once: loading takes five times as long as copying, and most tests load the same ones.

To import this module replaces `GFFusionModel.from_pretrained`. The first call is the real one.
"""

import copy
import functools
from typing import Any

from gffusion import GFFusionModel
from gffusion.zoo import list_models
from gffusion.zoo.registry import locate

_FOLDERS = {locate(name) for name in list_models(status="bundled")}
_load = GFFusionModel.from_pretrained.__func__
_models: dict[str, GFFusionModel] = {}


@functools.wraps(_load)
def _load_once(cls: type[GFFusionModel], source: Any, *args: Any, **kwargs: Any) -> Any:
    """Return a copy, which a test may change."""
    is_usual = cls is GFFusionModel and not args and kwargs.keys() <= {"dtype", "use_segmenter"}
    if not is_usual or not isinstance(source, str) or source not in _FOLDERS:
        return _load(cls, source, *args, **kwargs)
    key = f"{source} {sorted(kwargs.items())}"
    if key not in _models:
        _models[key] = _load(cls, source, **kwargs)
    return copy.deepcopy(_models[key])


GFFusionModel.from_pretrained = classmethod(_load_once)
