"""Memory that runs out, which torch reports as a RuntimeError, and Python without a message."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

# Of torch on all devices, and of the system.
_TEXTS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "alloc_failed")
# Whole messages of oneDNN, which says the same of unsupported operations with more words, and of Python.
_PRIMITIVE, _THREAD = "could not create a primitive", "can't start new thread"

_ENDED_WORKER = re.compile(r"DataLoader worker \(pid.*")


def describe_ended_worker(error: BaseException | None) -> str | None:
    """Return in one line how a process of a DataLoader was ended, or `None` for other errors; a lack of memory is the usual cause.

    Examples:
        >>> describe_ended_worker(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "))
        'DataLoader worker (pid 7) is killed by signal: Killed'
        >>> describe_ended_worker(RuntimeError("Caught ValueError in DataLoader worker process 0."))
    """
    found = _ENDED_WORKER.match(" ".join(str(error).split()))
    return found[0].rstrip(".") if found and isinstance(error, RuntimeError) else None


def describe_memory_error(error: BaseException, purpose: str = "") -> str | None:
    """Return an error of memory in one line, or `None` for other errors.

    Examples:
        >>> describe_memory_error(MemoryError(), " for this image")
        'not enough memory for this image'
        >>> describe_memory_error(RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"))
        'not enough memory: CUDA out of memory. Tried to allocate 9 GiB'
        >>> describe_memory_error(RuntimeError("can't start new thread"))
        "not enough memory or threads: can't start new thread"
        >>> describe_memory_error(RuntimeError("no such kernel"))
    """
    text = " ".join(str(error).split())
    # The second is of torch, which is not imported here.
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not is_named and text not in (_PRIMITIVE, _THREAD) and not any(part in text.lower() for part in _TEXTS):
        return None
    lack = "not enough memory or threads" if text == _THREAD else "not enough memory"
    return text if text.startswith(lack) else f"{lack}{purpose}{': ' if text else ''}{text}"


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError with a message if memory runs out while an image is processed, whatever was raised.

    Examples:
        >>> with memory_errors():
        ...     raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        Traceback (most recent call last):
            ...
        MemoryError: not enough memory for this image: DefaultCPUAllocator: can't allocate memory
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = describe_memory_error(error, " for this image")
        if message is None:
            raise
        raise MemoryError(message) from error
