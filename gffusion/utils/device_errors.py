"""Errors of a device, which torch raises as a RuntimeError while a model runs."""

import re

from .memory import describe_memory_error

# After such an error, all operations of a device fail, but not after one of a library such as cuBLAS.
_BROKEN = re.compile(r"(?:CUDA|HIP) error: (?!\w+_STATUS_)")


def is_broken(error: BaseException) -> bool:
    """Return whether the device that raised an error cannot be used any more by this process.

    Examples:
        >>> is_broken(RuntimeError("CUDA error: an illegal memory access was encountered"))
        True
        >>> is_broken(RuntimeError("CUDA error: out of memory")), is_broken(NotImplementedError("not implemented for MPS"))
        (False, False)
    """
    is_of_device = isinstance(error, RuntimeError) and _BROKEN.match(str(error)) is not None
    return is_of_device and describe_memory_error(error) is None


def describe_device_error(error: BaseException) -> str:
    r"""Return an error in one line, without the lines that torch adds about its code, and what to do if the device is broken.

    Examples:
        >>> describe_device_error(NotImplementedError("not implemented for MPS\nException raised from here"))
        'not implemented for MPS'
    """
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"{text}: the GPU cannot be used any more, run the command again to continue" if is_broken(error) else text
