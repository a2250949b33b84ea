"""Tensors of the CPU that say that they are on a GPU, and refuse what it refuses."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class OnMps(Tensor):
    """A tensor on the GPU of a Mac."""

    device = torch.device("mps")  # type: ignore[assignment]

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return self.as_subclass(Tensor)

    def double(self, *_: Any, **__: Any) -> Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.adaptive_avg_pool2d:
            image, size = args
            if image.shape[-2] % size[0] or image.shape[-1] % size[1]:
                raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes.")
        return super().__torch_function__(func, types, args, kwargs)


class OnCuda(Tensor):
    """A tensor on an NVIDIA GPU."""

    device = torch.device("cuda", 0)  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.interpolate and (kwargs or {}).get("antialias"):
            window = [
                2 * math.ceil(2 * source / target) + 1
                for source, target in zip(args[0].shape[-2:], kwargs["size"], strict=True)
            ]
            if 4 * (33 * window[0] + 32 * window[1]) > 49152:
                raise RuntimeError("Too much shared memory required")
        return super().__torch_function__(func, types, args, kwargs)
