"""Errors of a device, which torch raises as a RuntimeError while a model runs."""

import re

from .memory import describe_memory_error

# After such an error, all operations of a device fail, but not after one of a library such as cuBLAS.
_LOST = re.compile(r"(?:CUDA|HIP) (?:driver )?error: (?!\w+_STATUS_)")
# These are of a GPU, a driver and a build of torch that do not belong together, also when the command runs again.
_UNUSABLE = re.compile(
    r"(?:CUDA|HIP) (?:driver error: |error: .*(?:kernel image|invalid device|device is detected|busy or unavailable|driver|"
    r"initializ|(?:not |un)supported))"
)


def is_lost(error: BaseException) -> bool:
    """Return whether this process cannot use the device that raised an error, or not any more.

    Examples:
        >>> is_lost(RuntimeError("CUDA error: an illegal memory access was encountered"))
        True
        >>> is_lost(RuntimeError("CUDA error: out of memory")), is_lost(NotImplementedError("not implemented for MPS"))
        (False, False)
    """
    is_of_device = isinstance(error, RuntimeError) and _LOST.match(str(error)) is not None
    return is_of_device and describe_memory_error(error) is None


def describe_device_error(error: BaseException) -> str:
    r"""Return an error in one line: a lack of memory, or what torch says, without its lines on code, and what to do about the device.

    Examples:
        >>> describe_device_error(NotImplementedError("not implemented for MPS\nException raised from here"))
        'not implemented for MPS'
    """
    if lack := describe_memory_error(error):
        return lack
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    if not is_lost(error):
        return text
    if _UNUSABLE.match(text):
        return f'{text}: use `device="cpu"`, or a torch build for this GPU'
    return f"{text}: the GPU cannot be used any more, run the command again to continue"
