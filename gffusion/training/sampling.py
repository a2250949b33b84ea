"""Which pairs make up a step: an order that depends on seed and epoch alone, shared out among processes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """Batches of one process, from any step of any epoch on.

    A step takes `global_batch` consecutive pairs of the epoch's order, whoever computes them: any numbers of processes,
    pairs per batch and batches per step that have the same product see the same pairs in each step. Pairs that do not
    fill a step wait for another epoch.

    Args:
        length: Pairs in the data set.
        batch_size: Pairs per batch.
        batches_per_step: Batches of this process per step (gradient accumulation).
        seed: Seed of the order.
        process_index: This process.
        num_processes: All processes.

    Raises:
        ValueError: If the pairs do not fill a step; one process without accumulation takes all of them instead.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        batches_per_step: int = 1,
        seed: int = 0,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        if batches_per_step == num_processes == 1:
            batch_size = min(batch_size, length)
        self.global_batch = batch_size * batches_per_step * num_processes
        if not 0 < self.global_batch <= length:
            raise ValueError(
                f"A step takes {self.global_batch} pairs ({batch_size} a batch, {batches_per_step} batches a step, "
                f"{num_processes} processes), but the data set has {length}. Lower `batch_size` or "
                "`gradient_accumulation_steps`."
            )
        self.length, self.batch_size, self.batches_per_step, self.seed = length, batch_size, batches_per_step, seed
        self.process_index, self.num_processes = process_index, num_processes
        self.steps_per_epoch = length // self.global_batch
        self.epoch, self.first_step = 0, 0

    def start_at(self, epoch: int, step: int) -> None:
        """Make the next iteration begin at step `step` (from 0) of epoch `epoch`."""
        self.epoch, self.first_step = epoch, step

    def __len__(self) -> int:
        """Return the number of batches that the next iteration yields."""
        return (self.steps_per_epoch - self.first_step) * self.batches_per_step

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch, `batches_per_step` for a step."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: list[int] = torch.randperm(self.length, generator=generator).tolist()
        for step in range(self.first_step, self.steps_per_epoch):
            for number in range(self.batches_per_step):
                batch = number * self.num_processes + self.process_index
                start = step * self.global_batch + batch * self.batch_size
                yield order[start : start + self.batch_size]


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack what the model reads; of tokens from a [`TokenCache`], which may be missing, make lists."""
    stacked = [name for name in ("visible_values", "infrared_values", "labels") if name in items[0]]
    listed = [name for name in ("token_key", "semantic_tokens") if name in items[0]]
    return {name: torch.stack([item[name] for item in items]) for name in stacked} | {
        name: [item[name] for item in items] for name in listed
    }
