"""Deterministic, resumable distributed batch sampler, and functions for its batches."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.input_checks import check_label_values

MODEL_INPUTS = ("visible_values", "infrared_values", "infrared_targets", "labels")
_CACHE_INPUTS = ("token_key", "semantic_tokens")


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Restore the random states of Python, NumPy and torch (on the CPU) at the end: reading items of datasets can change them."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class StepSampler(Sampler[list[int]]):
    """Yield the batches of one process, starting at any step of any epoch.

    Each step takes the next `global_batch` pairs in the order of the epoch, which depends only on seed and epoch. The pairs
    of a step depend only on the product of processes, pairs per batch (`batch_size`) and batches of a process per step
    (`batches_per_step`, gradient accumulation). Pairs at the end of an epoch that do not fill a step are skipped.
    `workers_generator` seeds the workers of a DataLoader, by seed, epoch and process.

    Raises:
        ValueError: If there are fewer pairs than a step takes, except with one process and without accumulation, where a
            step then takes all pairs.

    Examples:
        >>> [len(batch) for batch in StepSampler(length=5, batch_size=2)]
        [2, 2]
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
                f"A step takes {self.global_batch} pairs ({batch_size} per batch, {batches_per_step} batches per step, "
                f"{num_processes} processes), but the dataset has {length}. Lower `per_device_train_batch_size` or "
                "`gradient_accumulation_steps`."
            )
        self.length, self.batch_size, self.batches_per_step, self.seed = length, batch_size, batches_per_step, seed
        self.process_index, self.num_processes = process_index, num_processes
        self.steps_per_epoch = length // self.global_batch
        self.epoch, self.first_step = 0, 0
        self.workers_generator = torch.Generator()  # leaves the global random state alone

    def start_at(self, epoch: int, step: int) -> None:
        """Start the next iteration at step `step` (from 0) of epoch `epoch`."""
        self.epoch, self.first_step = epoch, step
        sequence = np.random.SeedSequence((self.seed, epoch, self.process_index))
        self.workers_generator.manual_seed(int(sequence.generate_state(1)[0]))

    def __len__(self) -> int:
        """Return the number of batches of the next iteration."""
        return (self.steps_per_epoch - self.first_step) * self.batches_per_step

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch, `batches_per_step` batches per step."""
        # A sum of both would repeat the orders of other seeds.
        seed = int(np.random.SeedSequence((self.seed, self.epoch)).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        order: list[int] = torch.randperm(self.length, generator=generator, device="cpu").tolist()
        for step in range(self.first_step, self.steps_per_epoch):
            for number in range(self.batches_per_step):
                batch = number * self.num_processes + self.process_index
                start = step * self.global_batch + batch * self.batch_size
                yield order[start : start + self.batch_size]


def collate(items: list[dict[str, Any]], config: GFFusionConfig | None = None) -> dict[str, Any]:
    """Stack the model's inputs; keep keys and tokens of a [`TokenCache`] as lists, because tokens can be missing.

    With the configuration of a model, labels are left out if it has no segmenter, and are checked otherwise, because on a GPU, wrong
    ones end the process.

    Raises:
        ValueError: If only some items have an input, such as labels, their sizes differ, or a label is neither a class of the
            model nor ignored.

    Examples:
        >>> items = [{"visible_values": torch.zeros(3, 4, 4), "infrared_values": torch.zeros(1, 4, 4), "name": "a"}] * 2
        >>> {name: tuple(values.shape) for name, values in collate(items).items()}
        {'visible_values': (2, 3, 4, 4), 'infrared_values': (2, 1, 4, 4)}
    """
    names = MODEL_INPUTS if config is None or config.use_segmenter else MODEL_INPUTS[:-1]
    for name in names:
        if len({name in item for item in items}) > 1:
            raise ValueError(
                f"Only some pairs of a batch have {name!r}: give it to all items of the dataset, or to none."
            )
        sizes = sorted({tuple(item[name].shape[-2:]) for item in items if name in item})
        if len(sizes) > 1:
            raise ValueError(f"{name!r} must have one size to form batches, got {describe_sizes(sizes)}")
    stacked = {name: torch.stack([to_tensor(item[name]) for item in items]) for name in names if name in items[0]}
    if config is not None and "labels" in stacked:
        check_label_values(config, stacked["labels"])
    return stacked | {name: [item[name] for item in items] for name in _CACHE_INPUTS if name in items[0]}


def to_tensor(value: Any) -> Tensor:
    """Return a tensor or a NumPy array, also a mirrored one, as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value


def describe_sizes(sizes: Sequence[tuple[int, ...]]) -> str:
    """Return the first two of several sizes, and what to do about them."""
    shown = " and ".join(f"{height} x {width}" for height, width in sizes[:2])
    return f"{shown} (height x width). Crop or resize them with a transform."


def move_inputs(batch: Mapping[str, Any], device: torch.device) -> dict[str, Tensor]:
    """Return the model's inputs of a batch on a device."""
    return {name: batch[name].to(device, non_blocking=True) for name in MODEL_INPUTS if name in batch}


def count_mixed(share: float, batch_size: int) -> int:
    """Return how many pairs of a batch are mixed: `share` of them, rounded, but at least two unless it is 0.

    Examples:
        >>> [count_mixed(share, 8) for share in (0, 0.1, 0.25, 0.5, 1)]
        [0, 2, 2, 4, 8]
    """
    return max(2, round(share * batch_size)) if share else 0


def mix_pairs(batch: Mapping[str, Tensor], share: float, ignore_index: int) -> dict[str, Tensor]:
    """Give the first pairs of a batch the infrared images of each other, and labels that are ignored.

    From N pairs, this makes N squared, whose images show different scenes. See [`count_mixed`] for their number.

    Examples:
        >>> batch = {"infrared_values": torch.arange(4).view(4, 1, 1, 1)}
        >>> mix_pairs(batch, share=0.5, ignore_index=255)["infrared_values"].flatten().tolist()
        [1, 0, 2, 3]
    """
    mixed, count = dict(batch), count_mixed(share, len(batch["infrared_values"]))
    for name in {"infrared_values", "infrared_targets"} & batch.keys():
        mixed[name] = torch.cat([batch[name][:count].roll(-1, dims=0), batch[name][count:]])
    if "labels" in batch and count > 1:
        labels = batch["labels"].long()  # small types do not hold every `ignore_index`
        mixed["labels"] = torch.cat([torch.full_like(labels[:count], ignore_index), labels[count:]])
    return mixed
