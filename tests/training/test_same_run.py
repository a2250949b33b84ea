"""What a resumed run must share with the one before."""

import copy
import dataclasses
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedConfig

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel, __version__
from gffusion.data import FusionDataset, ReadOptions, read_image, write_image
from gffusion.data.transforms import RandomCrop, RandomFlip
from gffusion.training.same_run import check_same_run, describe_run, warn_about_changed_files

NEW = ("has labels", "trained parameters", "weights of the encoders")  # which earlier versions did not describe
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "training-runs.md"


class TestSameRun:
    def describe(
        self, model: GFFusionModel, dataset: Any, processes: int = 1, evaluation: Any = None, **options: Any
    ) -> dict[str, Any]:
        description = describe_run(FusionTrainingArguments("run", **options), model, dataset, evaluation, processes)
        return json.loads(json.dumps(description))

    def test_what_counts(self, tiny_model: Callable, pairs: Path) -> None:
        model, dataset = tiny_model(paradigm="cascading"), FusionDataset(pairs)
        before = self.describe(model, dataset)
        arguments = FusionTrainingArguments("run")
        check_same_run(before, self.describe(model, dataset), 150, arguments, 20)
        for now, difference in (
            (self.describe(model, dataset, processes=2), "processes was 1 and is 2"),
            (self.describe(model, [dataset[0]] * 3), "pairs was 4 and is 3"),
            (
                self.describe(model, dataset, evaluation=[dataset[0]]),
                "had no evaluation and has one: .*`eval_strategy` to 'no'",
            ),
            (self.describe(model, dataset, bf16=True), "bf16 was False and is True"),
            (self.describe(model, FusionDataset(pairs, RandomFlip())), r"transform was .* and is 'RandomFlip\(.*0\.5"),
            (self.describe(model, FusionDataset(pairs, seed=3)), "seed of the transform was 0 and is 3"),
            (self.describe(model, FusionDataset(pairs, invert=True)), "infrared options was .*'invert': True"),
            (
                self.describe(model, FusionDataset(pairs, read_options=ReadOptions(keep_borders=True))),
                "reading was .*keep_borders=True",
            ),
            (self.describe(tiny_model(paradigm="cascading", gradient_weight=3.0), dataset), "gradient_weight was"),
        ):
            with pytest.raises(ValueError, match=difference):
                check_same_run(before, now, 150, arguments, 20)

    def test_labels_frozen_parts_and_encoders_count(
        self, tiny_model: Callable, pairs: Path, unlabeled_pairs: Path
    ) -> None:
        """They cannot be told from the options, and checkpoints do not hold encoders. Checkpoints of earlier versions say nothing of them."""
        model, dataset, arguments = tiny_model(), FusionDataset(pairs), FusionTrainingArguments("run")
        frozen, changed = copy.deepcopy(model), copy.deepcopy(model)
        frozen.finet.requires_grad_(False)
        next(changed.clip.parameters()).data.view(-1)[0] += 1e-3
        whole, unlabeled = self.describe(model, dataset), self.describe(model, FusionDataset(unlabeled_pairs))
        for before, now, difference in (
            (whole, unlabeled, "had labels and has none: give them"),
            (unlabeled, whole, "had no labels and has some: leave them out"),
            (
                whole,
                self.describe(frozen, dataset),
                r"finet\.\S+ and \d+ other parameters were trained and would be frozen",
            ),
            (self.describe(frozen, dataset), whole, r"finet\.\S+ and .* were frozen and would be trained: freeze them"),
            (whole, self.describe(changed, dataset), "the weights of clip, .* load the model from the folder last"),
        ):
            with pytest.raises(ValueError, match=difference):
                check_same_run(before, now, 150, arguments, 20)
            earlier = {name: value for name, value in before.items() if name not in NEW}
            check_same_run(earlier, now, 150, arguments, 20)

    def test_class_names_count_with_a_segmenter_only(self, tiny_model: Callable, pairs: Path) -> None:
        names = {"id2label": {0: "sky", 1: "sheep"}, "label2id": {"sky": 0, "sheep": 1}}
        for use_segmenter in (False, True):
            options = {"paradigm": "cascading", "use_segmenter": use_segmenter, "num_labels": 2}
            models = (tiny_model(**options), tiny_model(**options, **names))
            before, now = (self.describe(model, FusionDataset(pairs)) for model in models)
            assert ("id2label" in before["model"]) == use_segmenter
            assert (before == now) == (not use_segmenter)

    @pytest.mark.parametrize("is_random", [False, True])
    def test_where_weights_come_from_does_not(
        self, tiny_model: Callable, tiny_config: Callable, pairs: Path, tmp_path: Path, is_random: bool
    ) -> None:
        """A model that was saved and loaded is the same."""
        model, dataset = GFFusionModel(tiny_config()) if is_random else tiny_model(), FusionDataset(pairs)
        model.save_pretrained(tmp_path, include_backbones=True)
        loaded, arguments = GFFusionModel.from_pretrained(tmp_path), FusionTrainingArguments("run")
        check_same_run(self.describe(model, dataset), self.describe(loaded, dataset), 150, arguments, 20)

    @pytest.mark.parametrize("name", ["clip", "dinov2"])
    def test_encoders_count(self, tiny_model: Callable, tiny_config: Callable, pairs: Path, name: str) -> None:
        """By field, and only as long as both models have one."""
        dataset, arguments = FusionDataset(pairs), FusionTrainingArguments("run")
        model = GFFusionModel(tiny_config())
        before = self.describe(model, dataset)
        getattr(model.config, f"{name}_config").hidden_act = "relu"
        with pytest.raises(ValueError, match=rf"data: {name}_config.hidden_act was '\w+' and is 'relu'. Restore"):
            check_same_run(before, self.describe(model, dataset), 150, arguments, 20)
        other = self.describe(tiny_model(paradigm="cascading", use_segmenter=False), dataset)
        with pytest.raises(ValueError, match="paradigm was 'hybrid' and is 'cascading'") as error:
            check_same_run(before, other, 150, arguments, 20)
        assert "use_segmenter was True and is False" in str(error.value) and "_config" not in str(error.value)

    @pytest.mark.parametrize(
        ("option", "missing"),
        [
            ({"mixed_pairs": 0.5}, '"mixed_pairs": 0.0, '),
            ({"vif_weight": 1.0}, '"vif_weight": 0.0, '),
            ({"invert": True}, '"invert": false, '),
            ({"keep_borders": True}, "keep_borders=False, "),
            ({"vertical": 0.5}, ", vertical=0.0"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_options_that_an_earlier_version_did_not_have(
        self, tiny_model: Callable, pairs: Path, option: dict[str, Any], missing: str
    ) -> None:
        def describe(
            vif_weight: float = 0,
            invert: bool = False,
            keep_borders: bool = False,
            vertical: float = 0.0,
            **options: Any,
        ) -> dict[str, Any]:
            model = tiny_model(paradigm="cascading", vif_weight=float(vif_weight))
            reading = ReadOptions(keep_borders=keep_borders)
            dataset = FusionDataset(pairs, RandomFlip(0.5, vertical), invert=invert, read_options=reading)
            return self.describe(model, dataset, evaluation=dataset, **options)

        text, arguments = json.dumps(describe()), FusionTrainingArguments("run")
        earlier = json.loads(text.replace(missing, ""))
        assert missing in text
        check_same_run(earlier, describe(), 150, arguments, 20)
        with pytest.raises(ValueError, match="cannot be resumed with other options"):
            check_same_run(earlier, describe(**option), 150, arguments, 20)
        with pytest.raises(ValueError, match="cannot be resumed with other options"):
            check_same_run(describe(**option), describe(), 150, arguments, 20)

    def test_names_versions_that_differ(self, tiny_model: Callable, pairs: Path) -> None:
        model, dataset, arguments = (
            tiny_model(paradigm="cascading"),
            FusionDataset(pairs),
            FusionTrainingArguments("run"),
        )
        before, now = self.describe(model, dataset, bf16=True), self.describe(model, dataset)
        other = {name: "0.0.7" if value == __version__ else value for name, value in before.items()}
        with pytest.raises(ValueError, match=f"The checkpoint is of gffusion 0.0.7, and this is {__version__}"):
            check_same_run(other, now, 150, arguments, 20)
        unknown = {name: value for name, value in before.items() if value != __version__}
        for known in (before, unknown):
            with pytest.raises(ValueError, match="bf16 was True and is False") as error:
                check_same_run(known, now, 150, arguments, 20)
            assert "gffusion" not in str(error.value)

    def test_fields_of_all_models_of_transformers_do_not_count(self, tiny_model: Callable, pairs: Path) -> None:
        """Its versions have different ones."""
        now = self.describe(tiny_model(paradigm="cascading"), FusionDataset(pairs))
        assert {"paradigm", "gradient_weight"} <= now["model"].keys()
        assert not now["model"].keys() & PreTrainedConfig().to_dict().keys() - {"id2label", "label2id"}

    def test_guide_names_the_options_that_can_change(self, tiny_model: Callable, pairs: Path) -> None:
        text = GUIDE.read_text(encoding="utf-8").partition("## Interruptions")[2].partition("\n## ")[0]
        fixed = self.describe(tiny_model(paradigm="cascading"), FusionDataset(pairs))
        free = [field.name for field in dataclasses.fields(FusionTrainingArguments) if field.name not in fixed]
        assert "save_steps" in free
        assert [name for name in free if not re.search(rf"\b{name}\b", text)] == []

    @pytest.mark.parametrize(("epoch", "allowed"), [(50, True), (100, True), (102, False)])
    def test_longer_run(self, tiny_model: Callable, pairs: Path, epoch: int, allowed: bool) -> None:
        """Rates and lambda of the epochs before q are those of a run of any length."""
        before = self.describe(tiny_model(paradigm="cascading"), FusionDataset(pairs))
        arguments = FusionTrainingArguments("run", num_train_epochs=200)
        if allowed:
            check_same_run(before, before, 150, arguments, epoch)
        else:
            with pytest.raises(
                ValueError, match=r"num_train_epochs was 150 and is 200, after epoch 100 \(head_start_epoch\)"
            ):
                check_same_run(before, before, 150, arguments, epoch)


class TestChangedFiles:
    """Files of the same names with another content are noticed by their size, label maps by their content."""

    @pytest.mark.parametrize("evaluated", [False, True])
    @pytest.mark.parametrize(
        ("kind", "values", "use_segmenter", "is_noticed"),
        [
            ("labels", 1, True, True),
            ("labels", 1, False, False),  # label maps are not read
            ("infrared", 0, False, True),
            ("visible", None, True, False),  # copied, as to another machine
        ],
    )
    def test_are_noticed(
        self,
        make_trainer: Callable[..., FusionTrainer],
        pairs: Path,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        kind: str,
        values: int | None,
        use_segmenter: bool,
        is_noticed: bool,
        evaluated: bool,
    ) -> None:
        data, other = (Path(shutil.copytree(pairs, tmp_path / name)) for name in ("data", "other"))

        def make() -> FusionTrainer:
            sets = [FusionDataset(folder, RandomCrop(32)) for folder in (data, other)]
            training, evaluation = reversed(sets) if evaluated else sets
            model = {"use_segmenter": use_segmenter}
            return make_trainer(training=training, evaluation=evaluation, model=model, num_train_epochs=1)

        make().train()
        path = data / kind / "rendered_0003.png"
        os.utime(path, (1, 1))
        if values is not None:
            write_image(path, np.full_like(read_image(path), values))
        with caplog.at_level(logging.WARNING, "gffusion"):
            make().train(resume_from_checkpoint=True)
        name, which = {"labels": "label maps"}.get(kind, f"{kind} images"), "evaluation" if evaluated else "training"
        assert (f"The {name} of the {which} data changed since the run began" in caplog.text) == is_noticed
        assert ("changed since" in caplog.text) == is_noticed

    def test_are_unknown_to_earlier_checkpoints_of_other_datasets_and_in_other_processes(
        self, tiny_model: Callable, pairs: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model, dataset = tiny_model(paradigm="cascading"), FusionDataset(pairs)
        arguments = FusionTrainingArguments("run")
        now = describe_run(arguments, model, dataset, None, 1)
        earlier = {name: value for name, value in now.items() if name != "files"}
        check_same_run(earlier, now, 150, arguments, 20)
        warn_about_changed_files(earlier, now)
        assert describe_run(arguments, model, [dataset[0]], None, 1)["files"] == {}
        other_process = describe_run(arguments, model, dataset, None, 1, reads_files=False)
        assert other_process == now | {"files": {}}
        check_same_run(now, other_process, 150, arguments, 20)
        assert "changed since" not in caplog.text


class TestStoppedRun:
    @pytest.fixture(scope="class")
    def stopped(
        self, tiny_model: Callable[..., GFFusionModel], pairs: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> Path:
        """A run that was stopped after the third of four epochs, after q."""

        class Stopped(FusionTrainer):
            def _save_checkpoint(self) -> None:
                super()._save_checkpoint()
                if self.progress.step == 6:
                    raise KeyboardInterrupt

        folder = tmp_path_factory.mktemp("stopped")
        arguments = FusionTrainingArguments(
            str(folder), num_train_epochs=4, head_start_epoch=1, per_device_train_batch_size=2
        )
        with pytest.raises(KeyboardInterrupt):
            Stopped(tiny_model(paradigm="cascading"), arguments, FusionDataset(pairs, RandomCrop(32))).train()
        return folder

    @pytest.fixture
    def checkpoint(self, stopped: Path, tmp_path: Path) -> Path:
        """Its checkpoint, in a copy of its folder."""
        shutil.copytree(stopped, tmp_path / "run")
        return tmp_path / "run" / "checkpoints" / "step-00000006"

    @pytest.mark.parametrize(
        ("changes", "differences"),
        [
            ({"per_device_train_batch_size": 1}, "per_device_train_batch_size was 2 and is 1"),
            ({"seed": 3}, "seed was 0 and is 3"),
            ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps was 1 and is 2"),
            ({"num_train_epochs": 6}, "num_train_epochs was 4 and is 6, after epoch"),
            (
                {"head_start_epoch": 2, "learning_rate": 0.5},
                "head_start_epoch was 1 and is 2; learning_rate was 0.001 and",
            ),
            ({"model": {"paradigm": "parallel"}}, "paradigm was 'cascading' and is 'parallel'"),
            ({"model": {"use_segmenter": False}}, "use_segmenter was True and is False"),
            ({"training": RandomCrop(40)}, r"size of a training image was \[32, 32\] and is \[40, 40\]"),
        ],
    )
    def test_incompatible(
        self, make_trainer: Callable[..., FusionTrainer], checkpoint: Path, changes: dict[str, Any], differences: str
    ) -> None:
        files = {path: path.read_bytes() for path in checkpoint.parents[1].rglob("*") if path.is_file()}
        trainer = make_trainer(**{"num_train_epochs": 4, "head_start_epoch": 1} | changes)
        weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        with pytest.raises(ValueError, match=differences):
            trainer.train(resume_from_checkpoint=True)
        assert all(torch.equal(value, weights[name]) for name, value in trainer.model.state_dict().items())
        after = {path: path.read_bytes() for path in checkpoint.parents[1].rglob("*") if path.is_file()}
        assert after == files

    def test_folder_of_another_run(self, make_trainer: Callable[..., FusionTrainer], checkpoint: Path) -> None:
        with pytest.raises(ValueError, match=r"holds a run, at step-00000006. .*`overwrite_output_dir`"):
            make_trainer(num_train_epochs=4, head_start_epoch=1).train()
        assert checkpoint.exists()

    def test_options_that_may_change(self, make_trainer: Callable[..., FusionTrainer], checkpoint: Path) -> None:
        free = {"logging_steps": 1, "save_steps": 1, "report_to": ["tensorboard"], "eval_metrics": ["EN"]}
        trainer = make_trainer(num_train_epochs=4, head_start_epoch=1, **free)
        trainer.train(resume_from_checkpoint=True)
        assert trainer.progress.step == 8
