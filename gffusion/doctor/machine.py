"""Examine devices, threads and the processor."""

import os
import shutil
from typing import Any

from gffusion.utils.cores import count_cores
from gffusion.utils.escaping import first_line

from .folders import describe_error
from .problems import Problem

_GET_STARTED = "https://pytorch.org/get-started/locally/"


def examine_machine(problems: list[Problem]) -> dict[str, Any]:
    """Return devices, threads and instructions in use, all of them as torch sees them; add what is wrong to `problems`."""
    usable = count_cores()
    cores = {"cores": os.cpu_count(), "usable_cores": usable}
    try:
        import torch

        what = "" if hasattr(torch, "accelerator") else "torch is too old or not complete"
    except Exception as error:  # a broken installation can raise anything, such as OSError about a library
        what = f"torch cannot be imported: {describe_error(error)}"
    if what:
        problems.append(Problem(what, f"install it again: {_GET_STARTED}", prevents=True))
        return cores
    threads = torch.get_num_threads()
    capability = torch.backends.cpu.get_cpu_capability()
    if threads > usable:
        what = f"torch uses {threads} threads on {usable} cores, which is slow"
        problems.append(Problem(what, f"set OMP_NUM_THREADS={usable}"))
    if capability in ("DEFAULT", "NO AVX"):
        is_chosen = "ATEN_CPU_CAPABILITY" in os.environ
        advice = "unset ATEN_CPU_CAPABILITY" if is_chosen else "use a newer processor, or a GPU"
        problems.append(Problem("torch uses no vector instructions of this processor, which is slow", advice))
    return {
        **cores,
        "threads": threads,
        "instructions": capability,
        "onednn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "cuda_build": torch.version.cuda or torch.version.hip or "none",
        "devices": ["cpu", *_list_accelerators(torch, problems)],
    }


def _list_accelerators(torch: Any, problems: list[Problem]) -> list[str]:
    """Return the names of GPUs and the like, with their memory where torch knows it."""
    if not torch.accelerator.is_available():
        _explain_missing_gpu(torch, problems)
        return []
    kind = torch.accelerator.current_accelerator().type
    names = []
    for index in range(torch.accelerator.device_count()):
        name = f"{kind}:{index}"
        if kind == "cuda":
            try:
                facts = torch.cuda.get_device_properties(index)
                torch.zeros(1, device=name).item()
            except RuntimeError as error:
                problems.append(
                    Problem(f"{name} does not work: {first_line(error)}", f"check nvidia-smi; {_GET_STARTED}")
                )
                continue
            name += f" {facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        names.append(name)
    return names


def _explain_missing_gpu(torch: Any, problems: list[Problem]) -> None:
    """Report that torch cannot use an NVIDIA GPU that is there."""
    if not (os.path.exists("/dev/nvidia0") or shutil.which("nvidia-smi")):
        return
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        problems.append(Problem("the NVIDIA GPU is hidden", "unset CUDA_VISIBLE_DEVICES to use it"))
    elif torch.version.cuda is None:
        what = f"this machine has an NVIDIA driver, but torch {torch.__version__} was built without CUDA"
        problems.append(Problem(what, f"to use the GPU, install a CUDA build: {_GET_STARTED}"))
    else:
        what = f"torch {torch.__version__} finds no NVIDIA GPU with a working driver for CUDA {torch.version.cuda}"
        problems.append(
            Problem(what, f"check nvidia-smi, and update the driver or install another build: {_GET_STARTED}")
        )
