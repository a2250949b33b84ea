"""Choice of the device to compute on."""


def choose_device(name: str) -> str:
    """Return the torch device with this name; "auto" means the accelerator of this machine, or "cpu" if it has none.

    Raises:
        ValueError: If torch cannot use the device on this machine.
    """
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator.type if accelerator is not None else "cpu"
    try:
        torch.zeros(1, device=name).item()  # also fails on "meta", where tensors have no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return name
