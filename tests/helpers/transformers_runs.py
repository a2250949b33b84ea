"""A training by the Trainer of transformers with random crops, also as a script: `transformers_runs.py DATA FOLDER`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from gffusion.data import FusionDataset
from gffusion.data.transforms import RandomCrop
from gffusion.training import SetEpochCallback
from gffusion.training.sampling import collate


class Recorded(FusionDataset):
    """Notes the index and a value of each item that is read."""

    reads: list[tuple[int, float]]

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        self.reads.append((index, item["infrared_values"].double().sum().item()))
        return item


class Scaled(nn.Module):
    """A model with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1)

    def forward(self, visible_values: Tensor, infrared_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": self.scale(infrared_values.mean()[None]).sum()}


def make_pairs(data: Path) -> Recorded:
    pairs = Recorded(data, RandomCrop(32))
    pairs.reads = []
    return pairs


def train(data: Path, folder: Path, resume: str | None = None) -> list[tuple[int, float]]:
    """Train 3 epochs with a checkpoint every 3 steps, and return what this process read."""
    pairs = make_pairs(data)
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=1,
        save_strategy="steps",
        save_steps=3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(Scaled(), arguments, collate, pairs, callbacks=[SetEpochCallback()])
    trainer.train(resume_from_checkpoint=resume)
    return pairs.reads


if __name__ == "__main__":
    place = Path(sys.argv[2])
    Path(f"{place}-{os.environ['RANK']}.json").write_text(json.dumps(train(Path(sys.argv[1]), place)))
    torch.distributed.destroy_process_group()  # its threads would race with the end of Python
