"""The training loop of `labeler.py` and `segmenter.py`: batches from the device, averaged weights, an end in steps or seconds."""

import argparse
import copy
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from . import encoders

STARTED = time.monotonic()
LOG_STEPS = 50
WARMUP_STEPS = 100
AVERAGE_DECAY = 0.999
# Of Muon (Jordan et al., 2024): coefficients of five Newton-Schulz steps, which make matrices nearly orthogonal.
NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS, MOMENTUM = (3.4445, -4.7750, 2.0315), 5, 0.95


class BatchedMuon(torch.optim.Optimizer):
    """`torch.optim.Muon(adjust_lr_fn="match_rms_adamw")`, which updates all matrices of one shape together."""

    def __init__(self, params: Sequence[nn.Parameter], lr: float, weight_decay: float) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for parameter in params:
            by_shape.setdefault(parameter.shape, []).append(parameter)
        super().__init__([{"params": group} for group in by_shape.values()], {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices."""
        for group in self.param_groups:
            weights = group["params"]
            gradients = torch.stack([weight.grad for weight in weights])
            state = self.state[weights[0]]
            momentum = state.setdefault("momentum", torch.zeros_like(gradients)).lerp_(gradients, 1 - MOMENTUM)
            update = orthogonalize(gradients.lerp(momentum, MOMENTUM)).to(gradients.dtype)
            rate = group["lr"] * 0.2 * max(update.shape[-2:]) ** 0.5
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, list(update.unbind()), alpha=-rate)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return nearly orthogonal matrices (N, rows, columns), bfloat16, with the same singular vectors."""
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    current = (matrices.mT if is_tall else matrices).bfloat16()
    current = current / current.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    linear, cubic, quintic = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = current @ current.mT
        current = linear * current + (cubic * square + quintic * square @ square) @ current
    return current.mT if is_tall else current


def build_optimizers(student: nn.Module, encoder_share: float) -> list[torch.optim.Optimizer]:
    """Return `BatchedMuon` and AdamW with the parameters and rates of `encoders.build_optimizers`."""
    muon, adamw = encoders.build_optimizers(student, encoder_share)
    (matrices,) = muon.param_groups
    return [BatchedMuon(matrices["params"], matrices["lr"], matrices["weight_decay"]), adamw]


def add_options(parser: argparse.ArgumentParser, steps: int, batch_size: int) -> None:
    """Add the options of `fit`."""
    parser.add_argument("--steps", type=int, default=steps, help="number of optimizer steps")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end earlier, this long after the start")
    parser.add_argument("--batch_size", type=int, default=batch_size, help="number of views per step")
    parser.add_argument(
        "--decay_share", type=float, default=0.6, help="last share of the training in which rates fall to 0"
    )
    parser.add_argument(
        "--fusers", nargs="*", default=[], metavar="MODEL", help="models whose fused images are shown, too"
    )
    parser.add_argument("--no-replay", dest="replay", action="store_false", help="start operations of GPUs one by one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda", ...')


def needs_replay(options: argparse.Namespace) -> bool:
    """Return whether a GPU replays recorded steps."""
    return options.device.startswith("cuda") and options.replay


def fit(
    network: nn.Module,
    losses: Callable[[], dict[str, Tensor]],
    optimizers: Sequence[torch.optim.Optimizer],
    options: argparse.Namespace,
    replay: bool = False,
) -> Any:
    """Train `network`, and return a copy with averaged weights.

    `losses` draws a batch and returns the minimized "loss" and its parts. The rates rise for 100 steps, and fall linearly to 0 in
    the end. OUTPUT gets `log.jsonl`. With `replay`, a GPU replays recorded steps, because starting their operations one by one
    takes longer; then all random numbers must come from its default generator.
    """
    average = copy.deepcopy(network).eval().requires_grad_(False)
    averaged = [network_weights(module) for module in (average, network)]
    parameters = list(network.parameters())
    differentiate = partial(_differentiate, network, losses)
    if replay:
        differentiate = record_graph(differentiate)
    log = (options.output / "log.jsonl").open("w")
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    totals: dict[str, Tensor] = {}
    stop = threading.Event()  # Ctrl+C and `timeout -s INT` end the training, not the program
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    start = time.monotonic()
    duration = max(STARTED + options.seconds - start, 1e-3)
    for step in range(options.steps):
        progress = max(step / options.steps, (time.monotonic() - start) / duration)
        if progress >= 1 or stop.is_set():
            break
        factor = min(1.0, (step + 1) / WARMUP_STEPS, (1 - progress) / max(options.decay_share, 1e-6))
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        parts = differentiate()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(*averaged, 1 - min(AVERAGE_DECAY, (step + 1) / (step + 10)))
        for name, part in parts.items():
            totals[name] = totals.get(name, 0) + part
        if (step + 1) % LOG_STEPS == 0:
            means = {name: round(total.item() / LOG_STEPS, 5) for name, total in totals.items()}
            record = {"step": step + 1, "seconds": round(time.monotonic() - start, 1), **means}
            if not all(map(torch.isfinite, map(torch.tensor, means.values()))):
                raise FloatingPointError(f"a loss up to step {step + 1} is not finite: {means}")
            log.write(json.dumps(record) + "\n")
            log.flush()
            totals.clear()
    log.close()
    return average


def _differentiate(network: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Compute the losses and the gradients of all weights."""
    network.zero_grad()
    parts = losses()
    parts["loss"].backward()
    return {name: part.detach() for name, part in parts.items()}


def record_graph(run: Callable[[], dict[str, Tensor]]) -> Callable[[], dict[str, Tensor]]:
    """Record the operations of `run` on the GPU as a CUDA graph, and return a function that replays them.

    Replays give other random numbers each time. The results are overwritten by the next replay.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compiles, and chooses algorithms
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()

    def replay() -> dict[str, Tensor]:
        graph.replay()
        return results

    return replay


def network_weights(network: nn.Module) -> list[Tensor]:
    """Return all weights and buffers with fractions."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]


def save_halves(network: nn.Module, path: Path) -> None:
    """Write all weights in half precision."""
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    save_file({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, path)
