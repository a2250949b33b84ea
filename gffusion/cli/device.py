"""Choice of the device to compute on, and of the precision."""

import os
from typing import TYPE_CHECKING

from gffusion.utils.escaping import first_line

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> str:
    """Return the torch device with this name; "auto" means the accelerator of this machine, or "cpu" if it has none.

    The processes of `accelerate launch` take the accelerators of the machine in turn, unless the name has a number.

    Raises:
        ValueError: If torch cannot use the device on this machine. The message lists the devices that it can use.
    """
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return "cpu" if accelerator is None else _take_turn(accelerator.type)
    try:
        torch.zeros(1, device=name).item()  # also fails on "meta", where tensors have no values
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise ValueError(f"--device {name}: {_explain(name, error)}; use {' or '.join(_list_devices())}") from None
    return _take_turn(name)


def _take_turn(name: str) -> str:
    import torch

    process = int(os.environ.get("LOCAL_RANK") or "0")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if not process or accelerator is None or name != accelerator.type:
        return name
    return f"{name}:{process % torch.accelerator.device_count()}"


def choose_dtype(name: str | None, device: str) -> "torch.dtype":
    """Return the torch dtype with this name; `None` means float16 on NVIDIA GPUs, where it is fast, and float32 elsewhere."""
    import torch

    if name is None:
        name = "float16" if torch.device(device).type == "cuda" and torch.version.cuda is not None else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _list_devices() -> list[str]:
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if accelerator is None else torch.accelerator.device_count()
    return ["auto", "cpu", *(f"{accelerator}:{index}" for index in range(count))]


def _explain(name: str, error: Exception) -> str:
    """Return why a device cannot be used, without torch's lists of all devices it has ever known."""
    import torch

    kind, _, index = name.lower().partition(":")
    if (kind in ("cuda", "gpu") or kind.isdecimal()) and not torch.accelerator.is_available():
        if torch.version.cuda or torch.version.hip:
            return "torch finds no NVIDIA GPU with a working driver: check nvidia-smi"
        return f"torch {torch.__version__} was built without CUDA: install a CUDA build (https://pytorch.org/get-started/locally/)"
    if name in _list_devices():  # for example, its memory is full
        return first_line(error)
    return "this machine has no such device" if index or kind in ("mps", "xpu") else "torch has no such device"
