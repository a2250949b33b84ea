"""Errors of a device, which torch raises as a RuntimeError while a model runs."""

import re

from .memory import describe_memory_error

# After such an error, all operations of a device fail, but not after one of a library such as cuBLAS.
_BROKEN = re.compile(r"(?:CUDA|HIP) error: (?!\w+_STATUS_)")
# Other errors are those of a GPU, a driver and a build of torch that do not belong together, also when the command runs again.
_UNUSABLE = re.compile(
    r"(?:CUDA|HIP) (?:driver error: |error: .*(?:kernel image|invalid device|device is detected|busy or unavailable|driver|"
    r"initializ|(?:not |un)supported))"
)


def is_broken(error: BaseException) -> bool:
    """Return whether the device that raised an error cannot be used any more by this process.

    Examples:
        >>> is_broken(RuntimeError("CUDA error: an illegal memory access was encountered"))
        True
        >>> is_broken(RuntimeError("CUDA error: out of memory")), is_broken(NotImplementedError("not implemented for MPS"))
        (False, False)
    """
    is_of_device = isinstance(error, RuntimeError) and _BROKEN.match(str(error)) is not None
    return is_of_device and not is_unusable(error) and describe_memory_error(error) is None


def is_unusable(error: BaseException) -> bool:
    """Return whether this build of torch cannot use a device, or cannot do an operation on it.

    Examples:
        >>> is_unusable(RuntimeError("CUDA error: no kernel image is available for execution on the device"))
        True
        >>> is_unusable(RuntimeError("CUDA error: an illegal memory access was encountered"))
        False
    """
    text = str(error).partition("\n")[0]
    return (
        isinstance(error, RuntimeError) and _UNUSABLE.match(text) is not None and describe_memory_error(error) is None
    )


def describe_device_error(error: BaseException) -> str:
    r"""Return an error in one line, without the lines that torch adds about its code, and what to do about the device.

    Examples:
        >>> describe_device_error(NotImplementedError("not implemented for MPS\nException raised from here"))
        'not implemented for MPS'
    """
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    if is_unusable(error):
        return f'{text}: use `device="cpu"`, or a torch build for this GPU'
    return f"{text}: the GPU cannot be used any more, run the command again to continue" if is_broken(error) else text
