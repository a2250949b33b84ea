"""What evaluations compute, draw and track."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import read_image
from gffusion.inference.predict import predict
from gffusion.metrics import compute_metrics, register_metric, to_luma8
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.losses import label_mass
from gffusion.training.validation import draw_pairs, evaluate

CPU = torch.device("cpu")
Items = list[dict[str, Any]]


@pytest.fixture
def items(make_inputs: Callable[..., dict[str, Tensor]]) -> Items:
    """Labeled pairs of different sizes; of the second nothing is labeled."""
    sizes = ((48, 64), (64, 44), (52, 52))
    items = [{name: value[0] for name, value in make_inputs(1, *size, labels=True).items()} for size in sizes]
    items[1]["labels"] = torch.full_like(items[1]["labels"], 255)
    return items


def fuse(model: GFFusionModel, item: dict[str, Any]) -> Tensor:
    """Return the fused image (1, 3, H, W) as users get it, in color."""
    visible = item["visible_values"].permute(1, 2, 0).numpy()  # (H, W, 3)
    pair = visible, item["infrared_values"][0].numpy()
    fused = predict(model, GFFusionImageProcessor(), [pair], row_bands=False)[0].fused
    return torch.from_numpy(fused).permute(2, 0, 1)[None]


class TestEvaluate:
    def test_registered_metric_chooses_the_best_weights(self, make_trainer: Callable[..., FusionTrainer]) -> None:
        values = iter([5.0, 3.0, 4.0])  # by epoch; each of the 4 pairs has the same

        def measure(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
            calls.append(len(fused))
            if len(calls) % len(trainer.eval_dataset) == 1:
                current[0] = next(values)
            return torch.tensor(current)

        calls: list[int] = []
        current = [0.0]
        register_metric("own", measure, higher_is_better=False)
        options = {"eval_metrics": ["own"], "metric_for_best_model": "own", "eval_on_start": False}
        trainer = make_trainer(evaluation=True, **options)
        trainer.train()
        log = [record["eval_own"] for record in trainer.folder.read_log() if "eval_own" in record]
        assert log == [5.0, 3.0, 4.0] and trainer.progress.best == 3.0

    def test_means_over_pairs(self, tiny_model: Callable[..., GFFusionModel], items: Items) -> None:
        model = tiny_model(paradigm="cascading").eval()
        found = evaluate(model, items, ["EN", "SSIM"], Accelerator())  # type: ignore[arg-type]
        scores, losses = [], []
        index = MulticlassJaccardIndex(4, ignore_index=255)
        for item in items:
            batch = {name: value[None] for name, value in item.items()}
            with torch.no_grad():
                output = model(**batch)
            images = [to_luma8(image) for image in (fuse(model, item), *list(batch.values())[:2])]
            scores.append(compute_metrics(*images, ["EN", "SSIM"]))
            losses.append(output.loss_structural.item())
            index.update(output.logits.argmax(1), batch["labels"])
        assert found["EN"] == pytest.approx(np.mean([score["EN"].item() for score in scores]))
        assert found["SSIM"] == pytest.approx(np.mean([score["SSIM"].item() for score in scores]))
        assert found["loss_structural"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert found["mIoU"] == pytest.approx(index.compute().item(), rel=1e-5)

    @pytest.mark.parametrize(("labeled", "use_segmenter"), [(False, True), (True, False)])
    def test_without_labels_or_segmenter(
        self, tiny_model: Callable, items: Items, labeled: bool, use_segmenter: bool
    ) -> None:
        if not labeled:
            items = [{name: value for name, value in item.items() if name != "labels"} for item in items]
        model = tiny_model(paradigm="cascading", use_segmenter=use_segmenter)
        found = evaluate(model, items, [], Accelerator())  # type: ignore[arg-type]
        assert found.keys() == {"loss", "loss_structural", "loss_ssim", "loss_gradient", "loss_intensity"}
        assert found["loss"] == found["loss_structural"]

    def test_labels_of_some_pairs(self, tiny_model: Callable, items: Items) -> None:
        model = tiny_model(paradigm="cascading")
        whole = evaluate(model, items[:1], [], Accelerator())  # type: ignore[arg-type]
        del items[1]["labels"]
        part = evaluate(model, items[:2], [], Accelerator())  # type: ignore[arg-type]
        assert part["loss_segmentation"] == whole["loss_segmentation"]
        assert part["mIoU"] == whole["mIoU"]

    def test_labeled_pixels_have_the_same_weight(self, tiny_model: Callable, items: Items) -> None:
        """Cut in half or not, and beside pairs without labeled pixels."""
        model = tiny_model(paradigm="cascading", class_weights=[1, 2, 0.5, 1], segmentation_weight=0.5).eval()
        items[0]["labels"][:, 20:] = 255
        losses, masses = [], []
        for item in items:
            output = model(**{name: value[None] for name, value in item.items()})
            losses.append(output.loss_segmentation.item())
            masses.append(label_mass(item["labels"], 255, model.config.class_weights).item())
        found = evaluate(model, items, [], Accelerator())  # type: ignore[arg-type]
        assert masses[1] == 0 and found["loss_segmentation"] == pytest.approx(np.average(losses, weights=masses))
        assert found["loss"] == pytest.approx(found["loss_structural"] + 0.5 * found["loss_segmentation"])

    def test_infrared_targets(self, tiny_model: Callable, items: Items) -> None:
        """Losses and metrics are those of the target, not of the degraded image that the model reads."""
        model, item = tiny_model(paradigm="cascading", use_segmenter=False).eval(), items[0]
        item["infrared_targets"] = 1 - item["infrared_values"]
        found = evaluate(model, [item], ["CC"], Accelerator())  # type: ignore[arg-type]
        batch = {name: value[None] for name, value in item.items() if name != "labels"}
        output = model(**batch, return_loss=True)
        images = (fuse(model, item), batch["visible_values"], batch["infrared_targets"])
        assert found["loss"] == pytest.approx(output.loss.item())
        assert found["CC"] == pytest.approx(compute_metrics(*map(to_luma8, images), ["CC"])["CC"].item())

    def test_model_with_one_class(self, tiny_model: Callable, items: Items) -> None:
        model = tiny_model(paradigm="cascading", num_labels=1)
        unlabeled = [{name: value for name, value in item.items() if name != "labels"} for item in items]
        assert "loss" in evaluate(model, unlabeled, [], Accelerator())  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="`num_classes` must be an int of at least 2"):
            evaluate(model, [item | {"labels": item["labels"] * 0} for item in items[:1]], [], Accelerator())  # type: ignore[arg-type]

    def test_leaves_no_gradients_and_no_weights_changed(self, tiny_model: Callable, items: Items) -> None:
        model = tiny_model(paradigm="cascading").train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        evaluate(model, items, [], Accelerator())  # type: ignore[arg-type]
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())

    @pytest.mark.parametrize("precision", ["no", "bf16"])
    def test_after_training_in_the_same_precision(self, tiny_model: Callable, items: Items, precision: str) -> None:
        """During training, Accelerate wraps the model's `forward`."""
        AcceleratorState._reset_state()
        try:
            accelerator = Accelerator(cpu=True, mixed_precision=precision)
            model = tiny_model()
            wrapped = accelerator.prepare(model)
            logged = evaluate(model, items, ["SSIM"], accelerator)  # type: ignore[arg-type]
            accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
            assert evaluate(model, items, ["SSIM"], accelerator) == logged  # type: ignore[arg-type]
        finally:
            AcceleratorState._reset_state()

    def test_trainer_without_evaluation_set(self, tiny_model: Callable, items: Items, tmp_path: Path) -> None:
        arguments = FusionTrainingArguments(str(tmp_path), num_train_epochs=1)
        with pytest.raises(ValueError, match="give the trainer an `eval_dataset`"):
            FusionTrainer(tiny_model(paradigm="cascading"), arguments, items[:1]).evaluate()  # type: ignore[arg-type]


class TestDrawPairs:
    """Rows of tiles that are 240 pixels high, with a heading above and gaps of 12 pixels."""

    @staticmethod
    def cut_tile(sheet: NDArray[np.uint8], column: int, width: int = 320) -> NDArray[np.uint8]:
        left = 12 + column * (width + 12)
        return sheet[44 : 44 + 240, left : left + width]

    @pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
    def test_shows_sources_fused_and_classes(self, tiny_model: Callable, items: Items, color_space: str) -> None:
        for name, value in (("visible_values", 0.2), ("infrared_values", 1.0)):
            items[0][name] = torch.full_like(items[0][name], value)
        sheet = draw_pairs(tiny_model(paradigm="cascading", color_space=color_space), items[:2], CPU)
        assert sheet.shape == (2 * (44 + 240 + 2 * 12), 5 * (320 + 12) + 12, 3)
        assert sheet.dtype == np.uint8
        assert (self.cut_tile(sheet, 0) == 51).all()
        assert (self.cut_tile(sheet, 1) == 255).all()

    def test_true_classes_are_drawn_over_the_fused_image(self, tiny_model: Callable, items: Items) -> None:
        model = tiny_model(paradigm="cascading")
        sheets: list[NDArray[np.uint8]] = []
        for value in (255, 2):
            items[0]["labels"] = torch.full_like(items[0]["labels"], value)
            sheets.append(draw_pairs(model, items[:1], CPU))
        unknown, known = sheets
        for column in range(4):
            assert np.array_equal(self.cut_tile(unknown, column), self.cut_tile(known, column))
        assert np.array_equal(self.cut_tile(unknown, 4), self.cut_tile(unknown, 2))  # ignored pixels are not colored
        assert not np.array_equal(self.cut_tile(known, 4), self.cut_tile(known, 2))

    @pytest.mark.parametrize("labeled", [True, False])
    def test_pairs_without_labels_or_segmenter_have_three_tiles(
        self, tiny_model: Callable, items: Items, labeled: bool
    ) -> None:
        if not labeled:
            del items[0]["labels"]
        model = tiny_model(paradigm="cascading", use_segmenter=not labeled)
        assert draw_pairs(model, items[:1], CPU).shape == (308, 3 * (320 + 12) + 12, 3)


@pytest.mark.slow
def test_images_and_trackers(make_trainer: Callable[..., FusionTrainer]) -> None:
    """Images before the first step and at each evaluation; TensorBoard gets the same images, losses and metrics."""
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    seen: dict[int, bool] = {}

    class Watched(FusionTrainer):
        def _after_step(self, *arguments: Any) -> None:
            seen[self.progress.step] = (self.output_dir / "images" / "step-00000000.png").exists()
            super()._after_step(*arguments)

    options = {"eval_strategy": "steps", "eval_steps": 3, "num_eval_images": 2, "report_to": ["tensorboard"]}
    trainer = make_trainer(kind=Watched, evaluation=True, num_train_epochs=2, logging_steps=1, **options)
    trainer.train()
    assert seen == {1: True, 2: True, 3: True, 4: True}
    images = sorted((trainer.output_dir / "images").iterdir())
    assert [path.name for path in images] == [f"step-0000000{step}.png" for step in (0, 3, 4)]

    (folder,) = (trainer.output_dir / "trackers").iterdir()
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    assert {"loss", "loss_structural", "loss_segmentation", "learning_rate", "eval_SSIM", "eval_mIoU"} <= set(
        events.Tags()["scalars"]
    )
    losses = [event.value for event in events.Scalars("loss")]
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    log = trainer.folder.read_log()
    assert sum(losses[:2]) / 2 == pytest.approx(next(record["loss"] for record in log if record["step"] == 2))
    scores = {event.step: event.value for event in events.Scalars("eval_SSIM")}
    assert scores == pytest.approx({record["step"]: record["eval_SSIM"] for record in log if "eval_SSIM" in record})
    tracked = events.Images("evaluation pairs")
    assert [image.step for image in tracked] == [0, 3, 4]
    shape = read_image(images[0]).shape
    assert [(image.height, image.width) for image in tracked] == [shape[:2]] * 3
