"""What is refused before the first step, with nothing written."""

import contextlib
import functools
import logging
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset, ReadOptions, read_image, write_image
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, Resize
from gffusion.training.preflight import check_device
from gffusion.training.step import TrainingStep

Make = Callable[..., FusionTrainer]
CROP = RandomCrop(32)


class CountedList(list[Any]):
    """Items, and the indices of those that were read."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self.reads: list[Any] = []

    def __getitem__(self, index: Any) -> Any:
        self.reads.append(index)
        return super().__getitem__(index)


@pytest.fixture(autouse=True)
def no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before the first step."""

    def step(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a step was made")

    monkeypatch.setattr(TrainingStep, "__call__", step)


@pytest.fixture
def data(pairs: Path, tmp_path: Path) -> Path:
    """4 labeled pairs, to be damaged."""
    return Path(shutil.copytree(pairs, tmp_path / "data"))


@pytest.fixture(scope="module")
def models(tiny_model: Callable[..., GFFusionModel]) -> Callable[..., GFFusionModel]:
    """Makes models, each kind once: nothing here changes their weights."""
    return functools.cache(lambda **options: tiny_model(**{"paradigm": "cascading"} | options))


@pytest.fixture
def make(models: Callable[..., GFFusionModel], data: Path, tmp_path: Path) -> Make:
    """Makes a trainer on `data` with a transform, or on a dataset."""

    def trainer(training: Any = CROP, evaluation: Any = None, model: Any = None, **options: Any) -> FusionTrainer:
        given = {"output_dir": str(tmp_path / "run"), "per_device_train_batch_size": 2} | options
        dataset = training if isinstance(training, FusionDataset | list) else FusionDataset(data, training)
        network = model if isinstance(model, GFFusionModel) else models(**(model or {}))
        before = set(filter(Path.is_file, Path(given["output_dir"]).rglob("*")))
        try:
            return FusionTrainer(network, FusionTrainingArguments(**given), dataset, evaluation)
        except (OSError, ValueError):
            assert set(filter(Path.is_file, Path(given["output_dir"]).rglob("*"))) == before  # nothing is written
            raise

    return trainer


def shorten_one_pair(data: Path) -> None:
    for kind in ("visible", "infrared", "labels"):
        path = data / kind / "rendered_0003.png"
        write_image(path, read_image(path)[:36])


class TestData:
    @pytest.mark.parametrize("which", ["training", "evaluation"])
    def test_label_outside_the_classes(self, make: Make, data: Path, which: str) -> None:
        path = data / "labels" / "rendered_0003.png"  # not the first
        labels = read_image(path).copy()
        labels[5, 5] = 7
        write_image(path, labels)
        evaluation = FusionDataset(data)
        training = {"training": [evaluation[0]]} if which == "evaluation" else {}
        with pytest.raises(
            ValueError,
            match=rf"The {which} labels hold \[7\] \(7 first in rendered_0003\), but the model has the classes 0 to 3 .*"
            r"Give the model these classes \(`id2label`; on the command line, classes\.txt or --class_names\), or correct",
        ):
            make(evaluation=evaluation if which == "evaluation" else None, per_device_train_batch_size=1, **training)

    @pytest.mark.parametrize("background", [0, 255])
    def test_masks_of_0_and_255(
        self, make: Make, data: Path, pairs: Path, caplog: pytest.LogCaptureFixture, background: int
    ) -> None:
        """255 is ignored: without this check, a head would be trained that never saw an object."""
        for path in (data / "labels").iterdir():
            write_image(path, np.where(read_image(path) > 0, 255, background).astype(np.uint8))
        message = f"data: the label maps hold only {'0 and ' if not background else ''}255, .*such as 1"
        with pytest.raises(ValueError, match=f"^The training {message}"):
            make()
        assert not caplog.records
        make(FusionDataset(pairs, CROP), FusionDataset(data))
        assert re.search(f"The evaluation {message}.* If it shows no object, this is right", caplog.text)

    def test_labels_without_objects(self, make: Make, data: Path) -> None:
        for path in (data / "labels").iterdir():
            write_image(path, np.zeros_like(read_image(path)))
        with pytest.raises(ValueError, match=r"All labels are 0, .*omit the labels"):
            make(per_device_train_batch_size=1)

    def test_numbers_that_start_at_1(
        self, make: Make, data: Path, pairs: Path, tiny_model: Callable, caplog: pytest.LogCaptureFixture
    ) -> None:
        names = {0: "background", 1: "person", 2: "bicycle", 3: "car"}
        make = functools.partial(make, model=tiny_model(paradigm="cascading", id2label=names))
        good = FusionDataset(pairs, CROP)
        make(good, good)
        assert "pixel" not in caplog.text
        for path in (data / "labels").iterdir():
            labels = read_image(path)
            write_image(path, np.where(labels == 3, 255, labels + 1).astype(np.uint8))
        shifted = FusionDataset(data, CROP)
        make(shifted, good)
        assert "The training data: no pixel of the label maps is 0 (background), which is right only if" in caplog.text
        make(good, shifted)
        assert "The evaluation data: no pixel of the label maps is 0 (background), " in caplog.text
        write_image(path, np.full_like(labels, 4))
        message = r"hold \[4\] .* no pixel .* is 0 \(background\), .*: if their numbers start at 1"
        with pytest.raises(ValueError, match=message):
            make(shifted, good)

    def test_named_classes_without_labels(self, make: Make, data: Path, caplog: pytest.LogCaptureFixture) -> None:
        make(FusionDataset(data, CROP, class_names=["person", "bicycle", "car"]))
        assert "No label map" not in caplog.text
        for path in (data / "labels").iterdir():
            write_image(path, np.minimum(read_image(path), 1))
        make(FusionDataset(data, CROP, class_names=["person", "bicycle", "car"]))
        assert "holds 2 (bicycle), 3 (car), so that the model does not learn them" in caplog.text

    @pytest.mark.parametrize("values", [(0, 128, 255), range(256)])
    def test_gray_levels_are_no_classes(self, make: Make, data: Path, values: Any) -> None:
        for path in (data / "labels").iterdir():
            write_image(path, np.resize(np.array(values, np.uint8), read_image(path).shape))
        with pytest.raises(ValueError, match=r"class indices, not gray levels\.$") as error:
            make()
        assert len(str(error.value)) < 350

    def test_255_in_a_model_that_ignores_another_label(self, make: Make, data: Path, unlabeled_pairs: Path) -> None:
        """It is the label of pairs without label maps."""
        model = {"ignore_index": -100}
        make(FusionDataset(data, CROP), model=model)
        message = (
            r"hold \[255\] .* ignores -100\. If 255 marks ignored pixels, set `ignore_index` of the model to 255, or"
        )
        with pytest.raises(ValueError, match=message):
            make(FusionDataset([data, unlabeled_pairs], CROP), model=model)

    @pytest.mark.parametrize(("wrong", "others"), [((-1,), ""), ((-1, 9), r"Give the model these classes .*\. ")])
    def test_negative_labels_of_own_items(
        self, make: Make, make_inputs: Callable, wrong: tuple[int, ...], others: str
    ) -> None:
        item = {name: value[0] for name, value in make_inputs(1, labels=True).items()}
        for row, value in enumerate(wrong):
            item["labels"][row] = value
        with pytest.raises(
            ValueError, match=rf" and ignores 255\. {others}If -1 marks ignored pixels, set `ignore_index`"
        ):
            make([item] * 2)
        if wrong == (-1,):
            make([item] * 2, model={"ignore_index": -1})

    def test_labels_that_are_ignored(self, make: Make, data: Path) -> None:
        path = data / "labels" / "rendered_0003.png"
        for value, use_segmenter in ((255, True), (7, False)):
            write_image(path, np.full_like(read_image(path), value))
            assert make(model={"use_segmenter": use_segmenter}).labeled == use_segmenter

    @pytest.mark.parametrize("which", ["training", "evaluation"])
    @pytest.mark.parametrize("kind", ["visible", "infrared"])
    @pytest.mark.parametrize("is_missing", [True, False])
    def test_file_that_is_missing_or_not_an_image(
        self, make: Make, data: Path, is_missing: bool, kind: str, which: str
    ) -> None:
        sets = {"training": FusionDataset(data, RandomCrop(32)), "evaluation": FusionDataset(data)}
        (data / kind / "rendered_0003.png").write_bytes(b"no image")
        if is_missing:
            (data / kind / "rendered_0003.png").unlink()
        sets = {which: sets[which]} if which == "training" else {"training": [sets[which][0]], which: sets[which]}
        with pytest.raises(OSError, match=f"{kind}/rendered_0003.png"):
            make(**sets)

    @pytest.mark.parametrize("which", ["training", "evaluation"])
    def test_counts_with_the_default_range(self, make: Make, data: Path, pairs: Path, which: str) -> None:
        for path in (data / "infrared").iterdir():
            write_image(path, 7000 + read_image(path).astype(np.uint16))
        crop = {"training": CROP, "evaluation": None}[which]
        sets = {"training": FusionDataset(pairs, CROP), "evaluation": FusionDataset(pairs)}
        other = {"training": "evaluation", "evaluation": "training"}[which]
        with pytest.raises(ValueError, match=r'nearly constant images\. Set infrared_range="folder"'):
            make(**sets | {which: FusionDataset(data, crop)})
        for given in ("type", "folder"):
            mapped = FusionDataset(data, crop, infrared_range=given)
            with pytest.raises(ValueError, match=f"range='{given}'.*: the evaluation chooses .* Give both the same"):
                make(**sets | {which: mapped})
            make(**{which: mapped, other: FusionDataset(data, {"training": CROP}.get(other), infrared_range=given)})
        path = data / "infrared" / "rendered_0003.png"
        write_image(path, (read_image(path) - 7000) * 200)  # one image that uses the range
        make(**sets | {which: FusionDataset(data, crop)})

    def test_files_that_end_early(self, make: Make, data: Path) -> None:
        for kind, name in (("infrared", "rendered_0001"), ("labels", "rendered_0003")):  # not the first
            path = data / kind / f"{name}.png"
            path.write_bytes(path.read_bytes()[:-20])
        damaged = r"infrared/rendered_0001\.png: .*\. 2 of 4 pairs cannot be read \(rendered_0001, rendered_0003\)"
        with pytest.raises(OSError, match=damaged):
            make(model={"use_segmenter": False})
        (data / "labels" / "rendered_0003.png").write_bytes((data / "labels" / "rendered_0001.png").read_bytes())
        make(FusionDataset(data, CROP, read_options=ReadOptions(truncated="fill")), model={"use_segmenter": False})

    def test_crop_larger_than_an_image(self, make: Make, data: Path) -> None:
        shorten_one_pair(data)
        with pytest.raises(ValueError, match=r"cannot crop 40 x 40 .* from an image of 36 x 64"):
            make(RandomCrop(40))
        make(RandomCrop(32))

    def test_images_of_several_sizes(self, make: Make, data: Path) -> None:
        shorten_one_pair(data)
        with pytest.raises(ValueError, match="one size to form batches, got 36 x 64 and 48 x 64"):
            make(RandomFlip(0.5))
        make(Resize(40))

    def test_images_below_the_minimum(self, make: Make, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(FusionDataset, "read_sizes", pytest.fail)  # which takes minutes for large collections
            with pytest.raises(ValueError, match=r"Training images must measure at least 32 x 32 .* got 24 x 24"):
                make(RandomCrop(24))
        small = FusionDataset(data, Resize((40, 64)))
        with pytest.raises(ValueError, match=r"`eval_metrics` has VIF: .* at least 41 x 41 .* got 40 x 64"):
            make(evaluation=small, eval_metrics=["EN", "VIF"])
        make(evaluation=small, eval_metrics=["EN"])
        with pytest.raises(
            ValueError, match=r"Training images must measure at least 41 x 41 .* its losses, got 40 x 40"
        ):
            make(RandomCrop(40), model={"vif_weight": 0.1})
        with pytest.raises(
            ValueError, match=r"Evaluation images must measure at least 41 x 41 .* its losses, got 40 x 64"
        ):
            make(RandomCrop(41), evaluation=small, eval_metrics=["EN"], model={"vif_weight": 0.1})

    def test_classes_in_another_order(self, make: Make, data: Path, tiny_model: Callable) -> None:
        swapped = FusionDataset(data, class_names=["bicycle", "person", "car"])
        with pytest.raises(ValueError, match="Label 1 is 'person' in the training data, but 'bicycle' in the evalua"):
            make(evaluation=swapped)
        make(evaluation=FusionDataset(data, class_names=["Person", "bicycle", "car"]))
        model = tiny_model(paradigm="cascading", id2label={3: "car", 0: "sky", 1: "person", 2: "bicycle"})
        with pytest.raises(ValueError, match="Label 1 is 'bicycle' in the training data, but 'person' in the model"):
            make(FusionDataset(data, CROP, class_names=swapped.class_names), model=model)
        make(FusionDataset(data, CROP, class_names=["person", "bicycle", "car"]), model=model)

    def test_empty_evaluation_set(self, make: Make) -> None:
        for sets in ({"evaluation": []}, {"training": []}):
            with pytest.raises(ValueError, match="evaluation dataset is empty: add pairs"):
                make(**sets)

    def test_fewer_pairs_than_a_step_takes(self, make: Make) -> None:
        with pytest.raises(ValueError, match=r"A step takes 6 pairs .* the dataset has 4"):
            make(gradient_accumulation_steps=3)

    def test_foreign_data_sets_are_judged_by_their_first_item(self, make: Make, make_inputs: Callable) -> None:
        inputs = make_inputs(2, labels=True)
        items = [{name: value[index] for name, value in inputs.items()} for index in range(2)]
        counted = CountedList(items)
        make(counted)
        assert counted.reads == [0]
        make([item | {"labels": torch.full_like(item["labels"], 255)} for item in items])  # others can have objects
        with pytest.raises(ValueError, match=r"labels, but the model has one class .*: name at least two"):
            make(items, model={"num_labels": 1})
        items[0]["labels"] = items[0]["labels"] + 9
        with pytest.raises(ValueError, match=r"hold .* first in item 0"):
            make(items)


class TestModel:
    @pytest.mark.parametrize("labeled", [True, False])
    def test_parameters_to_train(self, make: Make, tiny_model: Callable, labeled: bool) -> None:
        model = tiny_model(paradigm="cascading", use_segmenter=labeled).requires_grad_(False)
        make = functools.partial(make, num_train_epochs=2)
        advice = "lower `head_start_epoch`" if labeled else r"`model\.funet`\.$"
        with pytest.raises(ValueError, match=f"There is no parameter to train: .*{advice}"):
            make(model=model, head_start_epoch=2)
        if labeled:  # the head alone
            make(model=model, head_start_epoch=1)
            with pytest.raises(ValueError, match=r"not train encoders, .* 'dinov2\..*`model\.freeze_backbones\(\)`"):
                make(model=model.requires_grad_(True), head_start_epoch=2)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("part", ["funet", "ssnet", "dinov2"])
    def test_half_precision(self, make: Make, tiny_model: Callable, dtype: torch.dtype, part: str) -> None:
        """Small steps would be lost in the weights that are trained; those of frozen parts have no steps."""
        model = tiny_model(paradigm="cascading")
        model.get_submodule(part).to(dtype).requires_grad_(part == "funet")  # labels train the head, frozen or not
        expected: Any = contextlib.nullcontext()
        if part != "dinov2":
            message = rf"got {dtype} \({part}\..*`dtype=torch\.float32`, .*`bf16=True`"
            expected = pytest.raises(ValueError, match=message)
        with expected:
            make(model=model)


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "values", "message"),
        [
            ("warmup_steps", (3, 4, 1000), "`warmup_steps` is {} and the run has 4 steps: the rates never reach"),
            (
                "head_start_epoch",
                (1, 2, 9),
                "(q) is {} and `num_train_epochs` is 2: rates and lambda stay constant, and the head is not trained",
            ),
        ],
    )
    def test_options_beyond_the_end_of_the_run(
        self, make: Make, caplog: pytest.LogCaptureFixture, option: str, values: tuple[int, ...], message: str
    ) -> None:
        """The first value is the last one without a warning."""
        for value in values:
            caplog.clear()
            with caplog.at_level(logging.WARNING, "gffusion"):
                make(num_train_epochs=2, **{option: value})
            assert (message.format(value) in caplog.text) == (value != values[0])

    @pytest.mark.parametrize(
        "folder", [".", "labels/..", "visible", "labels/../infrared/", "labels/runs/new", "link/new"]
    )
    @pytest.mark.parametrize("which", ["training", "evaluation"])
    def test_output_folder_in_a_folder_of_the_data(self, make: Make, data: Path, folder: str, which: str) -> None:
        (data / "link").symlink_to(data / "visible")
        before = sorted(data.rglob("*"))
        sets = {which: FusionDataset(data, CROP)}
        if which == "evaluation":
            sets["training"] = [FusionDataset(data, CROP)[0]] * 2  # type: ignore[assignment]
        with pytest.raises(
            ValueError, match=r"`output_dir` .* (is in a folder|holds folders) of the data, .*: choose another one"
        ):
            make(output_dir=str(data / folder), **sets)
        assert sorted(data.rglob("*")) == before
        make(output_dir=str(data / "visible_run"), **sets)  # beside them

    def test_unknown_tracker(self, make: Make) -> None:
        with pytest.raises(ValueError, match=r"`report_to` does not know 'blackboard'. Allowed are .*tensorboard"):
            make(report_to=["blackboard"])

    @pytest.mark.parametrize(("name", "package"), [("tensorboard", '"gffusion[tensorboard]"'), ("wandb", "wandb")])
    def test_tracker_that_is_not_installed(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, name: str, package: str
    ) -> None:
        monkeypatch.setattr("gffusion.training.trackers.get_available_trackers", lambda: [])
        with pytest.raises(ValueError, match=re.escape(f"pip install {package}") + "$"):
            make(report_to=[name])

    def test_unknown_metrics(self, make: Make) -> None:
        with pytest.raises(ValueError, match=r"`eval_metrics` has 'Q_abf'\. Did you mean Qabf\? Allowed are .*EN"):
            make(eval_metrics=["EN", "Q_abf"])
        with pytest.raises(ValueError, match=r"`metric_for_best_model` must be .*got 'SSIM'"):
            make(eval_metrics=["EN"], metric_for_best_model="SSIM")
        for name in ("miou", "iou"):
            with pytest.raises(
                ValueError, match=rf"has '{name}'\. .* A training measures mIoU by itself .* Allowed are"
            ):
                make(eval_metrics=[name])

    @pytest.mark.parametrize("term", ["vif", "qabf"])
    def test_best_loss_of_ours(self, make: Make, data: Path, term: str) -> None:
        """It is evaluated if it has a weight."""
        options = {"training": RandomCrop(41), "evaluation": FusionDataset(data)}
        options |= {"metric_for_best_model": f"loss_{term}"}
        with pytest.raises(ValueError, match=f"got 'loss_{term}'"):
            make(**options)
        trainer = make(model={f"{term}_weight": 1.0}, **options)
        assert math.isfinite(trainer.evaluate()[f"eval_loss_{term}"])

    @pytest.mark.parametrize("metric_for_best_model", ["mIoU", "loss_segmentation"])
    def test_best_metric_that_needs_labels(self, make: Make, data: Path, metric_for_best_model: str) -> None:
        make(evaluation=FusionDataset(data), metric_for_best_model=metric_for_best_model)
        (data / "labels").rename(data / "away")
        with pytest.raises(ValueError, match=f"got '{metric_for_best_model}'"):
            make(evaluation=FusionDataset(data), metric_for_best_model=metric_for_best_model)

    @pytest.mark.parametrize("place", ["run", "run/deeper"])
    def test_output_that_cannot_be_written(self, make: Make, tmp_path: Path, place: str) -> None:
        (tmp_path / "run").write_text("a file")
        with pytest.raises(OSError, match=r"Cannot write to the output folder .*run.*Choose another `output_dir`"):
            make(output_dir=str(tmp_path / place))

    def test_synchronized_statistics_on_the_cpu(self, make: Make) -> None:
        with pytest.raises(ValueError, match='"synchronized"` works on CUDA devices only, got cpu'):
            make(batch_normalization="synchronized")

    def test_half_precision_on_the_cpu(self) -> None:
        """Accelerate would compute in float32 and not say so."""
        arguments = FusionTrainingArguments("run", fp16=True)
        with pytest.raises(ValueError, match="`fp16` works on GPUs only, got cpu"):
            check_device(arguments, torch.device("cpu"))
        check_device(arguments, torch.device("cuda"))

    def test_precision_of_the_launcher(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
        with pytest.raises(ValueError, match=r"`--mixed_precision bf16`.*it is 'no': set `bf16`"):
            make(CROP)

    def test_accumulation_of_the_launcher(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not counted twice: the trainer divides the loss by the number itself."""
        monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
        with pytest.raises(
            ValueError, match=r"`--gradient_accumulation_steps 2`.*it is 1: set it to 2, or launch with"
        ):
            make(CROP)
        assert make(CROP, gradient_accumulation_steps=2).accelerator.gradient_accumulation_steps == 1

    def test_precision_of_an_earlier_run(self, make: Make) -> None:
        make(CROP)
        with pytest.raises(ValueError, match=r"precision of the first training of a process.*'bf16'"):
            make(CROP, bf16=True)

    def test_run_both_deleted_and_continued(self) -> None:
        with pytest.raises(ValueError, match=r"`overwrite_output_dir` deletes the run .*set one of them"):
            FusionTrainingArguments("run", overwrite_output_dir=True, resume_from_checkpoint=True)

    def test_one_pair_is_not_mixed(self, make: Make, data: Path) -> None:
        with pytest.raises(ValueError, match="`mixed_pairs` mixes the pairs of a batch"):
            FusionTrainingArguments("run", mixed_pairs=0.25, per_device_train_batch_size=1)
        with pytest.raises(ValueError, match="mixes the pairs of a batch, but the training dataset has only"):
            make([FusionDataset(data, CROP)[0]], mixed_pairs=0.5)

    @pytest.mark.parametrize(("share", "batch", "is_refused"), [(0.1, 2, True), (1, 4, True), (0.5, 3, False)])
    def test_mixed_pairs_that_leave_no_labels(
        self, make: Make, unlabeled_pairs: Path, share: float, batch: int, is_refused: bool
    ) -> None:
        options = {"mixed_pairs": share, "per_device_train_batch_size": batch}
        make(FusionDataset(unlabeled_pairs, CROP), **options)
        make(model={"use_segmenter": False}, **options)
        message = rf"`mixed_pairs` {share} mixes {batch} pairs of each batch of {batch}, .*use larger batches"
        with pytest.raises(ValueError, match=message) if is_refused else contextlib.nullcontext():
            make(**options)

    def test_cache_that_would_never_be_asked(self, make: Make, tmp_path: Path) -> None:
        cache = str(tmp_path / "tokens")
        with pytest.raises(ValueError, match="`token_cache` needs a transform with few different results"):
            make(Compose([RandomFlip(0.5), RandomCrop(32)]), model={"paradigm": "hybrid"}, token_cache=cache)
        for paradigm in ("cascading", "parallel"):
            with pytest.raises(ValueError, match=f'the paradigm "{paradigm}" uses none'):
                make(RandomFlip(0.5), model={"paradigm": paradigm}, token_cache=cache)


@pytest.mark.parametrize(
    ("values", "ignored", "warns"),
    [
        *(((0, 255), 255, True), ((255, 255), 255, True), ((0, 0), 255, False), ((0, 1), 255, False)),
        *(((1, 255), 255, False), ((0, 0), 0, False), ((0, -100), -100, False)),
    ],
)
def test_first_item_of_another_dataset_that_labels_no_object(
    make_trainer: Make, caplog: pytest.LogCaptureFixture, values: tuple[int, int], ignored: int, warns: bool
) -> None:
    item = {"visible_values": torch.zeros(3, 32, 32), "infrared_values": torch.zeros(1, 32, 32)}
    item["labels"] = torch.tensor(values).repeat(32, 16)
    make_trainer(training=[item] * 2, model={"ignore_index": ignored})
    assert ("label no object" in caplog.text) == warns
    assert ("but 255 means ignored, so they label no object: replace 255" in caplog.text) == warns


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_gradients(make_trainer: Callable[..., FusionTrainer], mode: Callable[[], Any], tmp_path: Path) -> None:
    trainer = make_trainer()
    with mode(), pytest.raises(ValueError, match="torch computes no gradients here: call `train"):
        trainer.train()
    assert not list(tmp_path.rglob("log.jsonl"))
