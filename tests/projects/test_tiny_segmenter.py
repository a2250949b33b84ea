"""projects/gffusion_tiny: the labeler, what it teaches the segmenter, and the views both learn from."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import Dinov2Model

from gffusion import GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import segmentation_loss, two_scale_target
from gffusion.training import load_head

SMALL = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8]}
SIZE = (32, 48)


@pytest.fixture
def labelled(tiny: dict[str, ModuleType], scenes: Path, tmp_path: Path) -> Path:
    """Pairs with label maps."""
    tiny["prepare"].main([str(scenes), "--output", str(tmp_path / "labelled")])
    return tmp_path / "labelled" / scenes.name


@pytest.fixture
def small(tiny: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Views and grids for small encoders."""
    segmenter = tiny["segmenter"]
    config = segmenter.MODEL_CONFIG | {"segmenter_layers": 2, "segmenter_image_size": list(SIZE)}
    whole = Compose(RandomCrop(SIZE, scale=(0.4, 1.0)), RandomFlip())
    windows = Compose(RandomCrop((16, 24), scale=(0.4, 1.0)), RandomFlip())
    monkeypatch.setattr(tiny["labeler"], "WHOLE", whole)
    monkeypatch.setattr(segmenter, "VIEWS", {"whole": whole, "windows": windows, "gentle_windows": windows})
    monkeypatch.setattr(segmenter, "MODEL_CONFIG", config)
    monkeypatch.setattr(tiny["encoders"], "LOG_STEPS", 1)
    monkeypatch.setattr(tiny["encoders"], "CHECKPOINT_STEPS", 2)


@pytest.fixture
def label(tiny: dict[str, ModuleType], small: None, labelled: Path, tmp_path: Path) -> Callable[..., Path]:
    """Trains a labeler, from weights that know nothing."""
    torch.manual_seed(0)
    torch.save(tiny["teacher"].EfficientNetLite0().state_dict(), tmp_path / "teacher.pth")

    def run(output: str, *words: object) -> Path:
        files = ["--data", labelled, "--teacher", tmp_path / "teacher.pth", "--output", tmp_path / output]
        sizes = ["--steps", 4, "--batch_size", 2, "--threads", 1]
        tiny["labeler"].main(list(map(str, [*files, *sizes, *words])))
        return tmp_path / output

    return run


@pytest.fixture
def segment(
    tiny: dict[str, ModuleType],
    label: Callable[..., Path],
    labelled: Path,
    backbone_folders: dict[str, str],
    tmp_path: Path,
) -> Callable[..., Path]:
    """Trains a small encoder to segment."""
    weights = label("labeler") / "labeler.safetensors"

    def run(views: str, output: str, *words: object) -> Path:
        files = ["--data", labelled, "--labeler", weights, "--output", tmp_path / output]
        sizes = ["--start", backbone_folders["dinov2"], "--steps", 4, "--batch_size", 2, "--threads", 1]
        tiny["segmenter"].main(list(map(str, [views, *files, *sizes, *words])))
        return tmp_path / output

    return run


def test_labeler_learns_and_is_read_as_it_was(
    tiny: dict[str, ModuleType], label: Callable[..., Path], labelled: Path
) -> None:
    folder = label("run", "--steps", 12, "--eval", labelled)
    assert set(json.loads((folder / "iou.json").read_text())) == {"background", "person", "bicycle", "car"}
    log = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert sum(log[-3:]) < 0.9 * sum(log[:3])
    labeler = tiny["labeler"].load_labeler(folder / "labeler.safetensors")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["student"]
    assert all(torch.equal(value, state[name]) for name, value in labeler.state_dict().items())
    image = torch.rand(2, 3, 64, 96)
    features = labeler.features(image)
    assert [tuple(level.shape[1:]) for level in features] == [(40, 8, 12), (112, 4, 6), (320, 2, 3), (64, 16, 24)]
    torch.testing.assert_close(labeler(image), labeler.read(features[-1], (64, 96)))
    assert labeler(image).shape == (2, 4, 64, 96)


def test_labeler_learns_from_boxes_as_l_ss_says(tiny: dict[str, ModuleType], labelled: Path) -> None:
    labeler = tiny["labeler"].Labeler(tiny["teacher"].EfficientNetLite0()).eval()
    views = tiny["scenes"].Scenes([str(labelled)], RandomCrop(SIZE), 2, seed=0)
    batch = torch.utils.data.default_collate([views[0], views[1]])
    found = tiny["labeler"].losses(labeler, batch)["loss"]
    logits = labeler(tiny["scenes"].fuse(batch))
    torch.testing.assert_close(found, segmentation_loss(logits, batch["labels"], class_weights=[1.0, 4.0, 6.0, 2.0]))


def test_segmenter_is_what_the_model_becomes(
    tiny: dict[str, ModuleType], segment: Callable[..., Path], backbone_folders: dict[str, str]
) -> None:
    """A model with the trained encoder and head segments as they did: same layers, norms, sizes and classes."""
    folder = segment("whole", "run")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["student"]
    segmenter = tiny["segmenter"].Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"])).eval()
    segmenter.load_state_dict(state)
    names = tiny["segmenter"].MODEL_CONFIG["id2label"]
    model = GFFusionModel.from_backbones(
        dinov2=str(folder / "encoder"),
        **SMALL,
        paradigm="cascading",
        segmenter_image_size=list(SIZE),
        segmenter_windows=[2, 2],
        segmenter_layers=2,
        id2label=names,
    ).eval()
    assert load_head(model, folder / "head.safetensors").left == ()
    visible, infrared = torch.rand(2, 3, 40, 60), torch.rand(2, 1, 40, 60)
    with torch.no_grad():
        output = model(visible, infrared, segment=True)
        torch.testing.assert_close(segmenter(replace_luma(visible, output.fused_values))[0], output.logits)


def test_windows_stand_where_they_are_in_the_scene(
    tiny: dict[str, ModuleType], small: None, backbone_folders: dict[str, str]
) -> None:
    """Before the first layer, the tokens of a window are those of the scene that shows it there."""
    segmenter = tiny["segmenter"].Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"])).eval()
    patch = segmenter.encoder.config.patch_size
    rows, columns = segmenter.window_grid
    scene = torch.rand(1, 3, *(side * patch for side in segmenter.grid))
    top, left = 1, 2
    window = scene[..., top * patch : (top + rows) * patch, left * patch : (left + columns) * patch]
    with torch.no_grad():
        whole = segmenter._embed(scene, segmenter.grid, None)[:, 1:].unflatten(1, segmenter.grid)
        part = segmenter._embed(window, segmenter.window_grid, [(top, left)])[:, 1:].unflatten(1, (rows, columns))
    torch.testing.assert_close(part, whole[:, top : top + rows, left : left + columns])


def test_segmenter_is_taught_classes_and_features(
    tiny: dict[str, ModuleType], small: None, labelled: Path, backbone_folders: dict[str, str]
) -> None:
    """The parts of the loss, written again pixel by pixel."""
    torch.manual_seed(0)
    labeler = tiny["labeler"].Labeler(tiny["teacher"].EfficientNetLite0()).eval()
    segmenter = tiny["segmenter"].Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"]))
    views = tiny["scenes"].Scenes([str(labelled)], RandomCrop(SIZE), 2, seed=0)
    batch = torch.utils.data.default_collate([views[0], views[1]]) | {"step": 3}
    with torch.no_grad():
        found = tiny["segmenter"].losses(labeler, "whole", 0, segmenter, batch)
        fused = tiny["scenes"].reframe(tiny["scenes"].fuse(batch), np.random.default_rng((0, 3)))
        taught, (logits, read) = labeler(fused).softmax(dim=1), segmenter(fused)
        told = logits.softmax(dim=1)
        total = mass = 0.0
        for sample in range(2):
            for row in range(SIZE[0]):
                for column in range(SIZE[1]):
                    p, q = taught[sample, :, row, column], told[sample, :, row, column]
                    weight = p[0] + 4 * (1 - p[0])
                    total, mass = total - weight * (p * q.log()).sum(), mass + weight
        error = 0.0
        for level, target in zip(read, labeler.features(fused), strict=True):
            target = F.interpolate(target, level.shape[-2:], mode="bilinear", antialias=True)
            deviation, mean = torch.std_mean(target, dim=(0, 2, 3), keepdim=True, correction=0)
            error += ((level - (target - mean) / (deviation**2 + 1e-5).sqrt()) ** 2).mean() / 4
    assert found["classes"].item() == pytest.approx((total / mass).item(), rel=1e-4)
    assert found["features"].item() == pytest.approx(error.item(), rel=1e-4)
    assert found["loss"].item() == pytest.approx((found["classes"] + found["features"]).item())


@pytest.mark.parametrize(("views", "uses"), [("windows", 1), ("whole", 3)])
def test_segmenter_learns_and_resumes(
    tiny: dict[str, ModuleType],
    segment: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    views: str,
    uses: int,
) -> None:
    words = ["--steps", 30, "--uses", uses]
    whole = segment(views, "whole", *words)
    log = [json.loads(line)["loss"] for line in (whole / "log.jsonl").read_text().splitlines()]
    assert sum(log[-5:]) < 0.9 * sum(log[:5])

    losses, calls = tiny["segmenter"].losses, []

    def interrupted(*arguments: Any) -> dict[str, Tensor]:
        calls.append(arguments)
        if len(calls) == 28:
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tiny["segmenter"], "losses", interrupted)
        segment(views, "halves", *words)
    halves = segment(views, "halves", *words, "--resume")
    for file in ("log.jsonl", "encoder/model.safetensors"):
        assert (halves / file).read_bytes() == (whole / file).read_bytes(), file
    heads = [load_file(folder / "head.safetensors") for folder in (halves, whole)]  # metadata have no order
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())


def test_segmenter_goes_on_with_what_it_has_learned(
    tiny: dict[str, ModuleType], segment: Callable[..., Path], labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segment("windows", "first", "--eval", labelled)
    assert (first / "iou.json").is_file()
    seen: list[dict[str, Tensor]] = []
    monkeypatch.setattr(tiny["segmenter"], "train", lambda student, *_: seen.append(student.state_dict()))
    segment("gentle_windows", "second", "--after", first / "checkpoint.pt")
    learned = torch.load(first / "checkpoint.pt", weights_only=True)["student"]
    assert seen[0].keys() == learned.keys()
    assert all(torch.equal(seen[0][name], value) for name, value in learned.items())
    assert torch.equal(learned["head.classifier.weight"], load_file(first / "head.safetensors")["weight"])


class TestScenes:
    def test_take_turns(self, tiny: dict[str, ModuleType], labelled: Path) -> None:
        views = tiny["scenes"].Scenes([str(labelled)], RandomCrop(SIZE), 6, seed=0)
        turns = [views.turn(draw) for draw in range(6)]
        assert all({index for _, index in turns[at : at + 2]} == {0, 1} for at in (0, 2, 4))
        assert [epoch for epoch, _ in turns] == [0, 0, 1, 1, 2, 2]
        first, again, later = views[0], views[0], views[turns.index((1, turns[0][1]))]
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["visible"], later["visible"])

    def test_want_labels(self, tiny: dict[str, ModuleType], scenes: Path, tmp_path: Path) -> None:
        for name in ("visible", "infrared"):
            shutil.copytree(scenes / name, tmp_path / "plain" / name)
        with pytest.raises(ValueError, match=r"plain: there are no label maps. prepare\.py"):
            tiny["scenes"].Scenes([str(tmp_path / "plain")], RandomCrop(SIZE), 1, seed=0)

    def test_are_fused_as_the_model_is_taught_to(self, tiny: dict[str, ModuleType], labelled: Path) -> None:
        view = tiny["scenes"].Scenes([str(labelled)], RandomCrop(SIZE), 2, seed=0)[1]
        batch = torch.utils.data.default_collate([view])
        visible, contrast = batch["visible"], view["contrast"].item()
        assert 0.5 <= contrast <= 1.25
        expected = replace_luma(visible, two_scale_target(rgb_to_luma(visible), batch["infrared"], contrast))
        torch.testing.assert_close(tiny["scenes"].fuse(batch), expected)

    def test_are_measured_by_iou(self, tiny: dict[str, ModuleType], labelled: Path) -> None:
        """Who always says background has the IoU of its share."""
        labels = torch.cat([pair["labels"].flatten() for pair in FusionDataset(labelled)])
        known = labels[labels != 255]
        found = tiny["scenes"].measure(
            lambda fused: torch.eye(4)[0].view(1, 4, 1, 1) + 0 * fused[:, :1], [str(labelled)]
        )
        assert list(found) == ["background", "person", "bicycle", "car"]
        assert found["background"] == pytest.approx((known == 0).double().mean().item(), abs=6e-4)
        assert found["person"] == 0

    def test_seek_objects(self, tiny: dict[str, ModuleType]) -> None:
        """A crop with one is taken, and the last try where there is none."""
        sample = {name: np.zeros((64, 64, depth), np.float32) for name, depth in (("visible", 3), ("infrared", 1))}
        labels = np.zeros((64, 64), np.int64)
        labels[:, 40:] = 1
        labels[:, :8] = 255  # not known is no object
        seek = tiny["scenes"].SeekObjects(RandomCrop(16))
        rng = np.random.default_rng(0)
        shares = [tiny["scenes"].share_of_objects(seek(sample | {"labels": labels}, rng)["labels"]) for _ in range(60)]
        plain = [
            tiny["scenes"].share_of_objects(RandomCrop(16)(sample | {"labels": labels}, rng)["labels"])
            for _ in range(60)
        ]
        assert np.mean(np.array(shares) > 0.004) > np.mean(np.array(plain) > 0.004) + 0.1
        assert seek(sample | {"labels": np.full_like(labels, 255)}, rng)["labels"].shape == (16, 16)

    def test_frames_keep_what_they_show(self, tiny: dict[str, ModuleType]) -> None:
        """Brightness that is linear in place tells which part is shown: of both axes the same, and inside or around."""
        rows, columns = torch.meshgrid(torch.linspace(0.3, 0.7, 64), torch.linspace(0.3, 0.7, 64), indexing="ij")
        image = torch.stack([rows, columns])[None].repeat(40, 1, 1, 1)
        framed = tiny["scenes"].reframe(image, np.random.default_rng(0))
        middle = framed[:, :, 31:33, 31:33]
        steepness = torch.stack(
            [middle[:, 0, 1, 0] - middle[:, 0, 0, 0], middle[:, 1, 0, 1] - middle[:, 1, 0, 0]], dim=1
        )
        side = steepness / (0.4 / 63)
        torch.testing.assert_close(side[:, 0], side[:, 1].abs(), atol=1e-3, rtol=0)
        assert 0.6 <= side[:, 0].min() < 0.7 and 1.15 < side[:, 0].max() <= 1.2501
        assert 8 < (side[:, 1] < 0).sum() < 32
        assert framed.min() >= 0.299 and framed.max() <= 0.701
