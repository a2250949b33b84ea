"""Functions of torch on threads that compute alone, and what the caller sees of them."""

import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gffusion import create_model
from gffusion.inference import row_bands
from gffusion.inference.predict import run_model
from gffusion.inference.threads import run_in_threads, should_compute_alone
from gffusion.models.gffusion.funet import Context
from gffusion.utils.notes import about, get_subject


def describe() -> tuple[int, int, bool, bool, bool]:
    """Return this thread, its number of threads for an operation, and its modes."""
    modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    return threading.get_ident(), torch.get_num_threads(), *modes


def start_thread() -> int:
    """Return the number of threads for an operation in a new thread."""
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return counts[0]


def test_functions_compute_alone_and_the_caller_keeps_its_threads(two_threads: Any) -> None:
    together = threading.Barrier(2, timeout=30)  # passes only if both functions run at once
    results = run_in_threads([lambda: (together.wait(), describe())[1]] * 2)
    assert {count for _, count, *_ in results} == {1}
    assert len({thread for thread, *_ in results} | {threading.get_ident()}) == 3
    assert torch.get_num_threads() == 2 == start_thread()
    assert run_in_threads([lambda value=value: value for value in range(20)]) == list(range(20))


@pytest.mark.parametrize("inference", [False, True])
def test_modes_are_those_of_the_caller(two_threads: Any, inference: bool) -> None:
    with torch.inference_mode(inference), torch.autocast("cpu", torch.bfloat16, inference):
        expected = describe()[2:]
        assert [result[2:] for result in run_in_threads([describe] * 2)] == [expected] * 2


def test_warnings_are_about_the_files_of_the_caller(two_threads: Any) -> None:
    with about("1.png"):
        assert run_in_threads([get_subject] * 3) == ["1.png"] * 3


def test_gradients_pass_through(two_threads: Any) -> None:
    values = torch.ones(3, requires_grad=True)
    torch.stack(run_in_threads([lambda: 2 * values, lambda: 3 * values])).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [5, 5, 5]


def test_errors_reach_the_caller(two_threads: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        run_in_threads([lambda: 1, lambda: 1 // 0])
    assert run_in_threads([lambda: 1, lambda: 2]) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_processes_start_their_own_threads(two_threads: Any) -> None:
    run_in_threads([describe] * 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if run_in_threads([lambda: 1, lambda: 2]) == [1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


FIRST_CALLS = """
import threading
from concurrent.futures import ThreadPoolExecutor
import torch
from gffusion.inference.threads import run_in_threads
torch.set_num_threads(2)
together = threading.Barrier(8, timeout=100)

def count(_):
    together.wait()
    run_in_threads([lambda: None])
    together.wait()
    return torch.get_num_threads()

with ThreadPoolExecutor(8) as executor:
    print(*executor.map(count, range(8)))
"""


def test_threads_of_a_service_that_call_first_at_once_keep_their_number(
    fork_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = fork_script(FIRST_CALLS)
    assert done.stdout.split() == ["2"] * 8, done.stderr


@pytest.mark.parametrize(("load", "expected"), [(1.0, [False, True]), (100.0, [True, True])])
def test_divided_unless_all_threads_are_used_or_the_machine_is_busy(
    two_threads: Any, monkeypatch: Any, load: float, expected: list[bool]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load), raising=False)
    assert [should_compute_alone(functions) for functions in (1, 2)] == expected


def test_parts_between_the_tiles_are_not_divided(two_threads: Any, monkeypatch: Any) -> None:
    model = create_model("gffusion-tiny", use_segmenter=False)
    counts, initialize = [], row_bands.Map.__init__

    def record(module: Any, *_: Any) -> None:
        counts.append(torch.get_num_threads())

    for part in (model.clip, model.finet.gate_projection):
        part.register_forward_pre_hook(record)
    shrink = Context.shrink
    monkeypatch.setattr(Context, "shrink", lambda *args: (record(*args), shrink(*args))[1])
    monkeypatch.setattr(
        row_bands.Map, "__init__", lambda *args, **names: (record(*args), initialize(*args, **names))[1]
    )
    with torch.inference_mode():
        run_model(model, torch.rand(1, 3, 64, 96), torch.rand(1, 1, 64, 96), row_bands=True)
    assert (
        set(counts) == {1} and len(counts) >= 2 + 1 + 1 + 2
    )  # two images, one projection, one context, two kinds of maps


INTERRUPTED = """
import os, threading
import torch
from gffusion.inference.threads import run_in_threads
torch.set_num_threads(2)
wait = threading.Barrier.wait

def interrupt(barrier, timeout=None):
    if threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt
    return wait(barrier, timeout)

threading.Barrier.wait = interrupt
try:
    run_in_threads([lambda: None])
except KeyboardInterrupt:
    started = threading.enumerate()[1:]
    for thread in started:
        thread.join(20)
    print(sum(thread.is_alive() for thread in started), end=" ")
threading.Barrier.wait = wait
print(torch.get_num_threads(), *run_in_threads([lambda: "result"]), flush=True)
os._exit(0)  # also if threads still wait
"""


def test_ctrl_c_while_threads_start_leaves_none_behind(
    fork_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = fork_script(INTERRUPTED)
    assert done.stdout.split() == ["0", "2", "result"], done.stderr


AFTER_THE_MAIN_THREAD = """
import atexit, threading
import torch
from gffusion.inference.threads import run_in_threads
torch.set_num_threads(2)
run_in_threads([lambda: None])

def work():
    threading.main_thread().join()
    print(*run_in_threads([lambda: 1, lambda: 2]), flush=True)

atexit.register(lambda: print(*run_in_threads([lambda: 3, lambda: 4])))
threading.Thread(target=work).start()
"""


def test_threads_go_on_after_the_main_thread(fork_script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = fork_script(AFTER_THE_MAIN_THREAD)
    assert (done.stdout.split(), done.stderr) == (["1", "2", "3", "4"], "")
