"""projects/gffusion_tiny: the teacher's targets, views that stay aligned with them, training, resuming and probing."""

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
from torch import Tensor
from torch.utils.data import ConcatDataset
from transformers import CLIPVisionModel, Dinov2Model

from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose


@pytest.fixture
def train(
    tiny: dict[str, ModuleType], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Trains a small encoder for four steps with a teacher that knows nothing."""
    encoders = tiny["encoders"]
    torch.manual_seed(0)
    torch.save(tiny["teacher"].EfficientNetLite0().state_dict(), tmp_path / "teacher.pth")
    monkeypatch.setattr(tiny["teacher"], "TEACHER_SIZE", (64, 96))
    monkeypatch.setattr(encoders, "COMMON", encoders.COMMON | {"hidden_size": 16, "num_attention_heads": 2})
    monkeypatch.setattr(encoders, "TARGET_CHANNELS", 5)
    monkeypatch.setattr(encoders, "LOG_STEPS", 1)
    monkeypatch.setattr(encoders, "CHECKPOINT_STEPS", 2)

    def run(kind: str, output: str, *words: object) -> None:
        files = ["--teacher", tmp_path / "teacher.pth", "--targets", tmp_path / "targets.pt"]
        sizes = ["--steps", 4, "--batch_size", 2, "--threads", 1]
        arguments = [kind, "--data", scenes, *files, "--output", tmp_path / output, *sizes, *words]
        encoders.main(list(map(str, arguments)))

    return run


def test_features_lie_where_their_cells_do(tiny: dict[str, ModuleType]) -> None:
    """What a cell reads is centered on it, though the padding is not symmetrical."""
    torch.manual_seed(0)
    teacher = tiny["teacher"].EfficientNetLite0().eval()
    image = torch.rand(1, 3, 320, 320, requires_grad=True)
    features = teacher.features(image)
    assert features.shape == (1, tiny["teacher"].FEATURE_CHANNELS, 10, 10)
    for channels in (slice(0, 112), slice(112, None)):  # of stride 16, of stride 32
        centres = []
        for channel in torch.eye(432)[channels][::8]:
            (gradient,) = torch.autograd.grad((features[0, :, 5, 4] * channel).sum(), image, retain_graph=True)
            weight = gradient[0].square().sum(dim=0)
            places = torch.arange(320.0) + 0.5
            total = weight.sum()
            centres.append(torch.stack([weight.sum(dim=1) @ places, weight.sum(dim=0) @ places]) / total)
        row, column = torch.stack(centres).mean(dim=0).tolist()
        assert (row, column) == pytest.approx((5.5 * 32, 4.5 * 32), abs=6)


def test_teacher_takes_all_weights_or_none(tiny: dict[str, ModuleType], tmp_path: Path) -> None:
    network = tiny["teacher"].EfficientNetLite0
    weights = network().state_dict()
    torch.save(weights, tmp_path / "whole.pth")
    assert network.from_file(tmp_path / "whole.pth")(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    del weights["_blocks.3._bn1.running_mean"]
    torch.save(weights, tmp_path / "part.pth")
    with pytest.raises(RuntimeError, match="running_mean"):
        network.from_file(tmp_path / "part.pth")


def test_targets_are_principal_components(tiny: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against NumPy's decomposition: uncorrelated, of variance 1, the same up to signs."""
    monkeypatch.setattr(tiny["teacher"], "TEACHER_SIZE", (64, 96))
    torch.manual_seed(0)
    pairs = [{"visible_values": torch.rand(3, 48, 64), "infrared_values": torch.rand(1, 48, 64)} for _ in range(4)]
    features = torch.randn(4, 2, tiny["teacher"].FEATURE_CHANNELS, 2, 3)
    features[:, :, 7] *= 50  # a channel's unit must not matter
    features[:, :, :5] += 9 * features[:, :1, 5:6]  # what both modalities share comes first
    teacher = tiny["teacher"].EfficientNetLite0()
    remaining = iter(features)
    monkeypatch.setattr(teacher, "features", lambda images: next(remaining))
    targets = tiny["teacher"].joint_targets(teacher, pairs, 3).float()
    assert targets.shape == (4, 3, 2, 3)

    cells = features.half().double().numpy().transpose(0, 3, 4, 1, 2).reshape(24, 2, -1)
    flat = (cells - cells.mean(axis=0)) / cells.std(axis=0)
    left, *_ = np.linalg.svd(flat.reshape(24, -1), full_matrices=False)
    found = targets.permute(0, 2, 3, 1).reshape(24, 3).numpy()
    assert np.abs(found.T @ left[:, :3]) == pytest.approx(np.sqrt(24) * np.eye(3), abs=0.05)


def ramp_pair(height: int = 96, width: int = 128) -> dict[str, Tensor]:
    """A picture whose first channel tells the column and whose second tells the row; a box filled with white infrared."""
    column = ((torch.arange(width) + 0.5) / width).expand(height, width)
    row = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    infrared = torch.zeros(1, height, width)
    infrared[:, 24:72, 40:88] = 1
    return {
        "visible_values": torch.stack([column, row, torch.zeros(height, width)]),
        "infrared_values": infrared,
        "boxes": torch.tensor([[40.0, 24.0, 88.0, 72.0]]),
        "box_classes": torch.tensor([2]),
    }


def test_views_and_targets_stay_aligned(tiny: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    views = tiny["views"]
    geometry = Compose(*views.AUGMENTATION.transforms[:4])
    monkeypatch.setattr(views, "AUGMENTATION", geometry)
    column, row = ((torch.arange(side) + 0.5) / side for side in (30, 22))
    target = torch.stack([column.expand(22, 30), row[:, None].expand(22, 30)])[None]
    drawn = views.Views(ConcatDataset([[ramp_pair()]]), target, grid=14, length=12, seed=0)
    seen = []
    for draw in range(len(drawn)):
        view = drawn[draw]
        shown = F.adaptive_avg_pool2d(view["visible"], 14)[:2]
        inner = (shown > 0.03) & (shown < 0.97)  # beyond the outermost cells the targets are constant
        assert view["target"][inner].numpy() == pytest.approx(shown[inner].numpy(), abs=0.01)
        covered = F.adaptive_avg_pool2d(view["infrared"], 14)[0]
        assert view["coverage"][3].numpy() == pytest.approx(covered.numpy(), abs=0.15)
        assert view["coverage"].sum(dim=0).numpy() == pytest.approx(1)
        seen.append(shown[0, 0, 0].item())
    assert len(set(seen)) == len(seen)
    again = drawn[3]["visible"]
    assert torch.equal(again, drawn[3]["visible"])


def test_views_without_boxes_teach_no_classes(tiny: dict[str, ModuleType]) -> None:
    pair = {name: ramp_pair()[name] for name in ("visible_values", "infrared_values")}
    drawn = tiny["views"].Views(ConcatDataset([[pair]]), torch.zeros(1, 2, 22, 30), grid=16, length=1, seed=0)
    assert drawn[0]["coverage"].count_nonzero() == 0
    with pytest.raises(ValueError, match="2 pairs"):
        tiny["views"].Views(ConcatDataset([[pair, pair]]), torch.zeros(1, 2, 22, 30), grid=16, length=1, seed=0)


@pytest.mark.parametrize(("kind", "network"), [("clip", CLIPVisionModel), ("dinov2", Dinov2Model)])
def test_training_resumes_as_if_uninterrupted(
    tiny: dict[str, ModuleType],
    train: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    network: type,
) -> None:
    train(kind, "whole")
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [1, 2, 3, 4]

    losses, calls = tiny["encoders"].losses, []

    def interrupted(*arguments: Any) -> dict[str, Tensor]:
        calls.append(arguments)
        if len(calls) == 4:  # after the checkpoint of step 2 and the log of step 3
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tiny["encoders"], "losses", interrupted)
        train(kind, "halves")
    train(kind, "halves", "--resume")
    for file in ("log.jsonl", "encoder/model.safetensors"):
        assert (tmp_path / "halves" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    encoder, report = network.from_pretrained(tmp_path / "whole" / "encoder", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert encoder.config.hidden_size == 16


def test_training_learns(train: Callable, tmp_path: Path) -> None:
    train("clip", "run", "--steps", 30)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for part in ("loss", "unexplained", "boxes"):
        first, last = (sum(record[part] for record in records) for records in (log[:5], log[-5:]))
        assert last < 0.95 * first, part


def test_the_second_encoder_starts_from_the_first(tiny: dict[str, ModuleType], train: Callable, tmp_path: Path) -> None:
    train("clip", "clip")
    folder = tmp_path / "clip" / "encoder"
    trained = CLIPVisionModel.from_pretrained(folder)
    encoder = tiny["encoders"].build_encoder("dinov2")
    tiny["encoders"].start_from(encoder, folder)
    pairs = zip(encoder.encoder.layer, trained.encoder.layers, strict=True)
    for mine, its in pairs:
        assert torch.equal(mine.attention.q_proj.weight, its.self_attn.q_proj.weight)
        assert torch.equal(mine.attention.o_proj.bias, its.self_attn.out_proj.bias)
        assert torch.equal(mine.norm2.weight, its.layer_norm2.weight)
        assert torch.equal(mine.mlp.fc1.weight, its.mlp.fc1.weight)
    assert encoder.embeddings.position_embeddings.shape == (1, 257, 16)
    train("dinov2", "dinov2", "--start", folder)
    with pytest.raises(SystemExit):
        train("clip", "other", "--start", folder)


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_rescaling_changes_nothing_but_the_unit(
    tiny: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    encoders = tiny["encoders"]
    monkeypatch.setattr(encoders, "COMMON", encoders.COMMON | {"hidden_size": 32, "num_attention_heads": 2})
    torch.manual_seed(0)
    encoder = encoders.build_encoder(kind).double().eval()
    images = torch.rand(2, 3, 60, 80, dtype=torch.float64)

    def states() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            outputs = encoder(encoders.to_pixel_values(images, encoder), output_hidden_states=True)
        last = outputs.hidden_states[-1]
        return outputs.hidden_states[-2][:, 1:], F.layer_norm(last, last.shape[-1:])

    _, before = states()
    encoders.rescale(encoder, images)
    read, after = states()
    assert read.std().item() == pytest.approx(1)
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)  # layer norms add a little to small variances


def test_fused_views_take_the_place_of_one_image(tiny: dict[str, ModuleType]) -> None:
    rng = np.random.default_rng(0)
    visible, infrared = (rng.random((8, 9, channels), dtype=np.float32) for channels in (3, 1))
    luma = visible @ np.float32([[0.299], [0.587], [0.114]])
    kept = set()
    for _ in range(40):
        sample = tiny["views"].FuseOne()({"visible": visible, "infrared": infrared}, rng)
        for name, image in (("visible", visible), ("infrared", infrared)):
            if sample[name] is image:
                kept.add(name)
                continue
            low, high = np.minimum(luma, infrared), np.maximum(luma, infrared)
            fused = sample[name] @ np.float32([[0.299], [0.587], [0.114]])
            inside = (sample[name] > 0).all(axis=2) & (sample[name] < 1).all(axis=2)
            assert (fused[inside] >= low[inside] - 1e-5).all() and (fused[inside] <= high[inside] + 1e-5).all()
    assert kept == {"visible", "infrared"}


def test_prepared_data_can_be_joined(tiny: dict[str, ModuleType], scenes: Path, tmp_path: Path) -> None:
    """Pairs with boxes get objects, those without are ignored, and the originals are left alone."""
    plain = tmp_path / "plain"
    for name in ("visible", "infrared"):
        shutil.copytree(scenes / name, plain / name)
    before = sorted(scenes.rglob("*"))
    output = tmp_path / "prepared"
    tiny["prepare"].main([str(scenes), str(plain), "--output", str(output)])
    dataset = FusionDataset([output / scenes.name, output / "plain"])
    assert dataset.class_names == ("person", "bicycle", "car")
    counted = [set(dataset[index]["labels"].unique().tolist()) for index in range(4)]
    assert all(len(values & {0, 1, 2, 3}) > 1 for values in counted[:2])
    assert counted[2:] == [{255}, {255}]
    assert sorted(scenes.rglob("*")) == before


def test_probe_of_a_trained_encoder(tiny: dict[str, ModuleType], train: Callable, scenes: Path, tmp_path: Path) -> None:
    train("dinov2", "run")
    options = ["--train", scenes, "--eval", scenes, "--output", tmp_path / "probe", "--threads", 1]
    tiny["probe"].main(list(map(str, [tmp_path / "run" / "encoder", *options])))
    report = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert report.keys() == {"trained", "random"}
    for settings in report.values():
        assert settings.keys() == tiny["probe"].SETTINGS.keys()
        assert all(0 <= found["balanced_accuracy"] <= 1 for found in settings.values())
        assert all(len(found["of_seeds"]) == 3 for found in settings.values())
    assert (tmp_path / "probe" / "tokens.png").stat().st_size > 10_000


def test_probe_reads_what_tokens_tell(tiny: dict[str, ModuleType]) -> None:
    """Tokens that hold the class are read without a mistake in their own modality, and by chance in one that holds noise."""
    torch.manual_seed(0)
    classes = torch.arange(4).repeat(50)
    telling, noise = (torch.randn(200, 8) for _ in range(2))
    telling[torch.arange(200), classes] += 20
    found = ({"visible": telling, "infrared": noise}, classes)
    assert set(tiny["probe"].recalls(found, found, ("visible", "visible")).values()) == {1.0}
    across = tiny["probe"].recalls(found, found, ("visible", "infrared"))
    assert sum(across.values()) / 4 == pytest.approx(0.25, abs=0.15)


def test_pooling_over_boxes(tiny: dict[str, ModuleType]) -> None:
    tokens = torch.arange(12.0).reshape(1, 3, 4)  # patches of 10 x 10 pixels
    boxes = torch.tensor([[10.0, 0.0, 20.0, 10.0], [5.0, 10.0, 20.0, 20.0], [0.0, 0.0, 40.0, 30.0]])
    pooled = tiny["probe"].pool(tokens, boxes, (30, 40))
    assert pooled[:, 0].tolist() == pytest.approx([1, (0.5 * 4 + 5) / 1.5, 5.5])


def test_windows_of_the_background_touch_no_box(tiny: dict[str, ModuleType]) -> None:
    boxes = torch.tensor([[10.0, 10.0, 40.0, 60.0], [50.0, 20.0, 90.0, 50.0]])
    windows = tiny["probe"].windows_beside(boxes, (100, 200), np.random.default_rng(0))
    torch.testing.assert_close(windows[:, 2:] - windows[:, :2], boxes[:, 2:] - boxes[:, :2])
    inside = torch.zeros(100, 200)
    for left, top, right, bottom in boxes.int().tolist():
        inside[top:bottom, left:right] = 1
    for left, top, right, bottom in windows.tolist():
        assert left >= 0 and right <= 200 and top >= 0 and bottom <= 100
        assert inside[int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)].sum() == 0
