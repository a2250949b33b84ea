"""projects/gffusion_tiny: the labeler, the segmenter that learns from it, and their views."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import default_collate
from transformers import Dinov2Model

from gffusion import GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, Transform
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import segmentation_loss, two_scale_target
from gffusion.training import load_head
from projects.gffusion_tiny import encoders, labeler, scenes, segmenter, teacher

SMALL = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8]}
SIZE = (32, 48)


@pytest.fixture(scope="module", autouse=True)
def small_views() -> Iterator[None]:
    """Views and grids for small encoders."""
    config = segmenter.MODEL_CONFIG | {"segmenter_layers": 2, "segmenter_image_size": list(SIZE)}
    whole = Compose(RandomCrop(SIZE, scale=(0.4, 1.0)), RandomFlip())
    windows = Compose(RandomCrop((16, 24), scale=(0.4, 1.0)), RandomFlip())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labeler, "WHOLE", whole)
        patch.setattr(segmenter, "VIEWS", {"whole": whole, "windows": windows, "gentle_windows": windows})
        patch.setattr(segmenter, "MODEL_CONFIG", config)
        patch.setattr(encoders, "LOG_STEPS", 1)
        patch.setattr(encoders, "CHECKPOINT_STEPS", 2)
        yield


@pytest.fixture(scope="module")
def trained_labeler(small_views: None, labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a labeler trained for 12 steps from random weights."""
    folder = tmp_path_factory.mktemp("labeler")
    torch.manual_seed(0)
    torch.save(teacher.EfficientNetLite0().state_dict(), folder / "teacher.pth")
    files = ["--data", labeled, "--teacher", folder / "teacher.pth", "--output", folder, "--eval", labeled]
    labeler.main(list(map(str, [*files, "--steps", 12, "--batch_size", 2, "--threads", 1])))
    return folder


@pytest.fixture
def segment(
    trained_labeler: Path, labeled: Path, backbone_folders: dict[str, str], tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that trains a small encoder to segment, and returns its output folder."""

    def run(views: str, output: str, *words: object) -> Path:
        files = ["--data", labeled, "--labeler", trained_labeler / "labeler.safetensors", "--output", tmp_path / output]
        sizes = ["--start", backbone_folders["dinov2"], "--steps", 4, "--batch_size", 2, "--threads", 1]
        segmenter.main(list(map(str, [views, *files, *sizes, *words])))
        return tmp_path / output

    return run


@pytest.fixture
def batch(labeled: Path) -> dict[str, Tensor]:
    views = scenes.Scenes([str(labeled)], RandomCrop(SIZE), 2, seed=0)
    return default_collate([views[0], views[1]])


@pytest.fixture
def network(backbone_folders: dict[str, str]) -> segmenter.Segmenter:
    torch.manual_seed(0)
    return segmenter.Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"]))


def read_losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_labeler_learns_and_is_loaded_unchanged(trained_labeler: Path) -> None:
    assert set(json.loads((trained_labeler / "iou.json").read_text())) == {"background", "person", "bicycle", "car"}
    losses = read_losses(trained_labeler)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    network = labeler.load_labeler(trained_labeler / "labeler.safetensors")
    state = torch.load(trained_labeler / "checkpoint.pt", weights_only=True)["student"]
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    image = torch.rand(2, 3, 64, 96)
    features = network.features(image)
    assert [tuple(level.shape[1:]) for level in features] == [(40, 8, 12), (112, 4, 6), (320, 2, 3), (64, 16, 24)]
    torch.testing.assert_close(network(image), network.read(features[-1], (64, 96)))
    assert network(image).shape == (2, 4, 64, 96)


def test_labeler_loss_is_that_of_the_paper(batch: dict[str, Tensor]) -> None:
    network = labeler.Labeler(teacher.EfficientNetLite0()).eval()
    expected = segmentation_loss(network(scenes.fuse(batch)), batch["labels"], class_weights=[1.0, 4.0, 6.0, 2.0])
    torch.testing.assert_close(labeler.losses(network, batch)["loss"], expected)


def test_segmenter_becomes_that_of_a_model(segment: Callable[..., Path], network: segmenter.Segmenter) -> None:
    """A GFFusionModel with the trained encoder and head gives the same logits: layers, norms, sizes and classes agree."""
    folder = segment("whole", "run")
    network.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["student"])
    model = GFFusionModel.from_backbones(
        dinov2=str(folder / "encoder"),
        **SMALL,
        paradigm="cascading",
        segmenter_image_size=list(SIZE),
        segmenter_windows=[2, 2],
        segmenter_layers=2,
        id2label=segmenter.MODEL_CONFIG["id2label"],
    ).eval()
    assert load_head(model, folder / "head.safetensors").left == ()
    visible, infrared = torch.rand(2, 3, 40, 60), torch.rand(2, 1, 40, 60)
    with torch.no_grad():
        output = model(visible, infrared, segment=True)
        logits, _ = network.eval()(replace_luma(visible, output.fused_values))
    torch.testing.assert_close(logits, output.logits)


def test_windows_get_the_positions_of_their_place_in_the_scene(network: segmenter.Segmenter) -> None:
    """Before the first layer, the tokens of a window equal those of the whole scene at the same place."""
    network.eval()
    patch, (rows, columns), (top, left) = network.encoder.config.patch_size, network.window_grid, (1, 2)
    scene = torch.rand(1, 3, *(side * patch for side in network.grid))
    window = scene[..., top * patch : (top + rows) * patch, left * patch : (left + columns) * patch]
    with torch.no_grad():
        whole = network._embed(scene, network.grid, None)[:, 1:].unflatten(1, network.grid)
        part = network._embed(window, network.window_grid, [(top, left)])[:, 1:].unflatten(1, (rows, columns))
    torch.testing.assert_close(part, whole[:, top : top + rows, left : left + columns])


def test_segmenter_losses(batch: dict[str, Tensor], network: segmenter.Segmenter) -> None:
    """Both parts of the loss, computed in another way."""
    guide = labeler.Labeler(teacher.EfficientNetLite0()).eval()
    with torch.no_grad():
        found = segmenter.losses(guide, "whole", 0, network, batch | {"step": 3})
        fused = scenes.reframe(scenes.fuse(batch), np.random.default_rng((0, 3)))
        taught, (logits, read) = guide(fused).softmax(dim=1).numpy(), network(fused)
        predicted = logits.softmax(dim=1).numpy()
        weights = taught[:, 0] + 4 * (1 - taught[:, 0])
        classes = -(weights * (taught * np.log(predicted)).sum(axis=1)).sum() / weights.sum()
        error = 0.0
        for level, target in zip(read, guide.features(fused), strict=True):
            target = F.interpolate(target, level.shape[-2:], mode="bilinear", antialias=True)
            deviation, mean = torch.std_mean(target, dim=(0, 2, 3), keepdim=True, correction=0)
            error += ((level - (target - mean) / (deviation**2 + 1e-5).sqrt()) ** 2).mean().item() / 4
    assert found["classes"].item() == pytest.approx(classes, rel=1e-4)
    assert found["features"].item() == pytest.approx(error, rel=1e-4)
    assert found["loss"].item() == pytest.approx((found["classes"] + found["features"]).item())


def test_segmenter_learns(segment: Callable[..., Path]) -> None:
    losses = read_losses(segment("windows", "run", "--steps", 30))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_segmenter_resumes_within_the_steps_of_a_batch(
    segment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--steps", 8, "--uses", 3]
    whole = segment("whole", "whole", *words)
    losses, calls = segmenter.losses, []

    def interrupted(*arguments: Any) -> dict[str, Tensor]:
        calls.append(arguments)
        if len(calls) == 6:  # after the checkpoint of step 4
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(segmenter, "losses", interrupted)
        segment("whole", "halves", *words)
    halves = segment("whole", "halves", *words, "--resume")
    for file in ("log.jsonl", "encoder/model.safetensors"):
        assert (halves / file).read_bytes() == (whole / file).read_bytes(), file
    heads = [load_file(folder / "head.safetensors") for folder in (halves, whole)]  # the order of metadata varies
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())


def test_segmenter_continues_an_earlier_run(
    segment: Callable[..., Path], labeled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segment("windows", "first", "--eval", labeled)
    assert (first / "iou.json").is_file()
    seen: list[dict[str, Tensor]] = []
    monkeypatch.setattr(segmenter, "train", lambda student, *_: seen.append(student.state_dict()))
    segment("gentle_windows", "second", "--after", first / "checkpoint.pt")
    learned = torch.load(first / "checkpoint.pt", weights_only=True)["student"]
    assert seen[0].keys() == learned.keys()
    assert all(torch.equal(seen[0][name], value) for name, value in learned.items())
    assert torch.equal(learned["head.classifier.weight"], load_file(first / "head.safetensors")["weight"])


class TestScenes:
    def test_every_pair_occurs_once_per_epoch(self, labeled: Path) -> None:
        views = scenes.Scenes([str(labeled)], RandomCrop(SIZE), 6, seed=0)
        turns = [views.turn(draw) for draw in range(6)]
        assert all({index for _, index in turns[at : at + 2]} == {0, 1} for at in (0, 2, 4))
        assert [epoch for epoch, _ in turns] == [0, 0, 1, 1, 2, 2]
        first, again, later = views[0], views[0], views[turns.index((1, turns[0][1]))]
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["visible"], later["visible"])

    def test_label_maps_are_required(self, pairs: Path, tmp_path: Path) -> None:
        for name in ("visible", "infrared"):
            shutil.copytree(pairs / name, tmp_path / "plain" / name)
        with pytest.raises(ValueError, match=r"no label maps in .*plain.*prepare"):
            scenes.Scenes([str(tmp_path / "plain")], RandomCrop(SIZE), 1, seed=0)

    def test_fused_image_is_the_target_of_the_model(self, batch: dict[str, Tensor]) -> None:
        assert ((batch["contrast"] >= 0.5) & (batch["contrast"] <= 1.25)).all()
        visible, infrared, contrast = (batch[name][:1] for name in ("visible", "infrared", "contrast"))
        expected = replace_luma(visible, two_scale_target(rgb_to_luma(visible), infrared, contrast.item()))
        torch.testing.assert_close(scenes.fuse(batch)[:1], expected)

    def test_iou_of_constant_background(self, labeled: Path) -> None:
        labels = torch.cat([pair["labels"].flatten() for pair in FusionDataset(labeled)])
        known = labels[labels != 255]
        found = scenes.measure(lambda fused: torch.eye(4)[0].view(1, 4, 1, 1) + 0 * fused[:, :1], [str(labeled)])
        assert list(found) == ["background", "person", "bicycle", "car"]
        assert found["background"] == pytest.approx((known == 0).double().mean().item(), abs=6e-4)
        assert found["person"] == 0

    def test_crops_with_objects_are_preferred(self) -> None:
        sample = {name: np.zeros((64, 64, depth), np.float32) for name, depth in (("visible", 3), ("infrared", 1))}
        labels = np.zeros((64, 64), np.int64)
        labels[:, 40:] = 1
        labels[:, :8] = 255  # unknown pixels are not objects
        rng = np.random.default_rng(0)

        def share_with_objects(crop: Transform) -> float:
            crops = [crop(sample | {"labels": labels}, rng)["labels"] for _ in range(60)]
            return float(np.mean([scenes.share_of_objects(cropped) > 0.004 for cropped in crops]))

        seek = scenes.SeekObjects(RandomCrop(16))
        assert share_with_objects(seek) > share_with_objects(RandomCrop(16)) + 0.1
        assert seek(sample | {"labels": np.full_like(labels, 255)}, rng)["labels"].shape == (16, 16)

    def test_reframed_images_are_scaled_and_flipped(
        self,
    ) -> None:
        """Linear ramps reveal the scale of both axes, the flip, and that nothing is invented outside the image."""
        rows, columns = torch.meshgrid(torch.linspace(0.3, 0.7, 64), torch.linspace(0.3, 0.7, 64), indexing="ij")
        image = torch.stack([rows, columns])[None].repeat(40, 1, 1, 1)
        framed = scenes.reframe(image, np.random.default_rng(0))
        middle = framed[:, :, 31:33, 31:33]
        steepness = torch.stack(
            [middle[:, 0, 1, 0] - middle[:, 0, 0, 0], middle[:, 1, 0, 1] - middle[:, 1, 0, 0]], dim=1
        )
        side = steepness / (0.4 / 63)
        torch.testing.assert_close(side[:, 0], side[:, 1].abs(), atol=1e-3, rtol=0)
        assert 0.6 <= side[:, 0].min() < 0.7 and 1.15 < side[:, 0].max() <= 1.2501
        assert 8 < (side[:, 1] < 0).sum() < 32
        assert framed.min() >= 0.299 and framed.max() <= 0.701
