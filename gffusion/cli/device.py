"""Choice of the device to compute on."""


def choose_device(name: str) -> str:
    """Return the device of a name: for "auto" the accelerator of this machine, or "cpu" without one.

    Raises:
        ValueError: If torch has no such device here.
    """
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator.type if accelerator is not None else "cpu"
    try:
        torch.zeros(1, device=name).item()  # fails on "meta" as well, where tensors have no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return name
