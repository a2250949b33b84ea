"""`gffusion train`: what it prints, and what repeats a run."""

import os
import signal
from collections.abc import Callable

import pytest
from training_runs import SMALL_MODEL


@pytest.mark.usefixtures("in_scenes")
@pytest.mark.parametrize(
    ("batch_size", "printed"),
    [
        (1, "training on 3 pairs: 1 epoch of 3 steps\n"),
        (2, "each epoch uses 2 pairs, and not always the same, because the rest (1) does not fill a step: to use more, lower "),
        (8, "training on 3 pairs: 1 epoch of 1 step\n"),
    ],
)  # fmt: skip
def test_says_how_many_pairs_an_epoch_uses(gffusion: Callable, batch_size: int, printed: str) -> None:
    words = f"--train_data . --output_dir run --num_train_epochs 1 --crop_size 32 --per_device_train_batch_size {batch_size}"
    outcome = gffusion("train", *words.split(), "--model_config", SMALL_MODEL)
    assert outcome.exit_code == 0, outcome.err
    assert printed in outcome.out


@pytest.mark.usefixtures("in_scenes")
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_workers(gffusion: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux kills them if memory runs out."""
    monkeypatch.setattr(
        "gffusion.training.trainer.ignore_interrupts", lambda worker: os.kill(os.getpid(), signal.SIGKILL)
    )
    words = "--train_data . --output_dir run --num_train_epochs 1 --crop_size 32 --dataloader_num_workers 1"
    outcome = gffusion("train", *words.split(), "--model_config", SMALL_MODEL)
    *_, line = outcome.err.splitlines()
    assert outcome.exit_code == 2 and line.startswith("gffusion: error: DataLoader worker (pid")
    assert "lower --dataloader_num_workers" in line and "--resume_from_checkpoint true" in line
    assert "Traceback" not in outcome.err
