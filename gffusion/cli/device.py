"""Where to compute."""


def choose_device(name: str) -> str:
    """Return the device to use: the accelerator of this machine for "auto", if it has one.

    Raises:
        ValueError: If torch knows no such device here.
    """
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator.type if accelerator is not None else "cpu"
    try:
        torch.zeros(1, device=name).item()  # "meta" has no values to give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return name
