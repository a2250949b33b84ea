"""Run functions of torch on several threads, each of which computes alone.

torch divides every operation among threads that wait for each other at its end. A network of many short operations then
waits for the slowest thread hundreds of times, and is many times slower if other processes use the same cores. Here, each
function runs from start to end on one thread, and there is one such wait for all of them.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import lru_cache
from typing import TypeVar

import torch

Result = TypeVar("Result")

# Held while threads start, for which the number of threads of the whole process changes for a moment.
_STARTING = threading.Lock()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_STARTING.release)

# Mean number of running threads of the machine in the last minute, for each core, from which on it is busy.
_BUSY_LOAD = 1.25


def run_in_threads(functions: Iterable[Callable[[], Result]]) -> list[Result]:
    """Return the results of functions, in order, computed by as many threads as torch uses for one operation.

    Gradient and inference mode and autocasting are those of the caller, whose number of threads does not change.
    """
    _keep_freed_memory()
    functions = list(functions)
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def run(function: Callable[[], Result]) -> Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, autocast):
            return function()

    try:
        with _STARTING:
            threads = torch.get_num_threads()
            executor = _get_threads(threads, os.getpid()) if threads > 1 else None
        contexts = [copy_context() for _ in functions]  # with the files that warnings name
        results = executor.map(lambda context, part: context.run(run, part), contexts, functions) if executor else None
    except RuntimeError:  # Python ends the threads of executors with the main thread, also if other threads go on
        results = None
    return [function() for function in functions] if results is None else list(results)


def run_alone(function: Callable[[], Result]) -> Result:
    """Return the result of a function of small operations, computed by one thread, as dividing them would take longer."""
    return run_in_threads([function])[0]


def should_compute_alone(functions: int) -> bool:
    """Return whether as many functions are better computed by one thread each than divided among all threads.

    They are if all threads get one, or if other processes use the cores, too, so that divided operations wait for threads.
    """
    with _STARTING:
        threads = torch.get_num_threads()
    if functions >= threads:
        return True
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return load > _BUSY_LOAD * max(threads, os.cpu_count() or 1)


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Let glibc reuse up to 64 MB of freed memory instead of returning it to the system.

    Otherwise, new memory of every operation is mapped page by page, which takes a third of the time of a fusion.
    """
    # Freeing a block, never written to here, raises two limits: of the size of blocks that are mapped by themselves, at most
    # 32 MB, and of freed memory that is kept, twice as much.
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def start_threads(count: int) -> ThreadPoolExecutor:
    """Return new threads that do not divide operations. The number of threads of the caller and of all others does not change."""
    with _STARTING:
        return _start_threads(count)


@lru_cache(maxsize=1)  # torch caches the preparation of operations for each thread
def _get_threads(count: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a forked one is another, in which those of its parent do not exist."""
    del process
    return _start_threads(count)


def _start_threads(count: int) -> ThreadPoolExecutor:
    threads = torch.get_num_threads()
    started = threading.Barrier(count + 1)

    def start() -> None:
        torch.get_num_threads()  # the first call in a thread sets the number of the process, which the next line replaces
        torch.set_num_threads(1)
        with suppress(threading.BrokenBarrierError):
            started.wait()

    executor = ThreadPoolExecutor(count, "gffusion", start)
    try:
        for _ in range(count):  # a thread starts when all others are busy, here waiting at the barrier
            executor.submit(lambda: None)
        started.wait()
    except BaseException:  # such as Ctrl-C; threads that wait would keep the process from ending
        started.abort()
        executor.shutdown()
        raise
    finally:
        torch.set_num_threads(threads)  # the last call applies to threads that start later
    return executor
