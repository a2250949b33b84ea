"""Trainers of tiny models on a few rendered pairs, on the CPU, where sums are the same each time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import RandomCrop
from gffusion.synthetic.samples import write_scenes


@pytest.fixture(autouse=True, scope="module")
def on_the_cpu() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 labeled pairs of 48 x 64, to be read only."""
    folder = tmp_path_factory.mktemp("pairs")
    write_scenes(folder, 4, height=48, width=64)
    return folder


@pytest.fixture(scope="session")
def unlabeled_pairs(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabeled")
    for kind in ("visible", "infrared"):
        (folder / kind).symlink_to(pairs / kind)
    return folder


@pytest.fixture
def make_trainer(tiny_model: Callable[..., GFFusionModel], pairs: Path, tmp_path: Path) -> Callable[..., Any]:
    """Makes a trainer of 3 epochs of 2 steps, q = 1, whose output is `tmp_path / name`."""

    def make(
        name: str = "run",
        training: Any = None,
        evaluation: Any = None,
        kind: type[FusionTrainer] = FusionTrainer,
        model: GFFusionModel | dict[str, Any] | None = None,
        **options: Any,
    ) -> FusionTrainer:
        """`training`: a dataset, or a transform of the pairs; `evaluation`: a dataset, or True for the pairs."""
        defaults = {"num_train_epochs": 3, "head_start_epoch": 1, "per_device_train_batch_size": 2}
        defaults |= {"num_eval_images": 0, "eval_metrics": ["SSIM"]}
        arguments = FusionTrainingArguments(str(tmp_path / name), **defaults | options)
        if not isinstance(model, GFFusionModel):
            model = tiny_model(**{"paradigm": "cascading"} | (model or {}))
        if not isinstance(training, FusionDataset | list):
            training = FusionDataset(pairs, training or RandomCrop(32), seed=arguments.seed)
        return kind(model, arguments, training, FusionDataset(pairs) if evaluation is True else evaluation)

    return make
