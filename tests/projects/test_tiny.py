"""projects/gffusion_tiny: targets of the teacher, views aligned with them, training, resuming and probing."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
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
from projects.gffusion_tiny import encoders, prepare, probe, teacher, views


@pytest.fixture(scope="module")
def train(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Return a function that trains a small encoder with a random teacher, and returns its output folder."""
    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    torch.save(teacher.EfficientNetLite0().state_dict(), folder / "teacher.pth")

    def run(kind: str, output: str, *words: object) -> Path:
        files = ["--teacher", folder / "teacher.pth", "--targets", folder / "targets.pt", "--output", folder / output]
        arguments = [kind, "--data", pairs, *files, "--steps", 4, "--batch_size", 2, "--threads", 1, *words]
        encoders.main(list(map(str, arguments)))
        return folder / output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "TEACHER_SIZE", (64, 96))
        patch.setattr(encoders, "COMMON", encoders.COMMON | {"hidden_size": 16, "num_attention_heads": 2})
        patch.setattr(encoders, "TARGET_CHANNELS", 5)
        patch.setattr(encoders, "LOG_STEPS", 1)
        patch.setattr(encoders, "CHECKPOINT_STEPS", 2)
        yield run


@pytest.fixture(scope="module")
def clip_run(train: Callable[..., Path]) -> Path:
    return train("clip", "clip", "--steps", 30)


@pytest.fixture(scope="module")
def dinov2_run(train: Callable[..., Path], clip_run: Path) -> Path:
    return train("dinov2", "dinov2", "--start", clip_run / "encoder")


def test_features_are_centered_on_their_cells() -> None:
    """The padding is asymmetric, but the receptive field of a cell is centered on it."""
    torch.manual_seed(0)
    network = teacher.EfficientNetLite0().eval()
    image = torch.rand(1, 3, 320, 320, requires_grad=True)
    features = network.features(image)
    assert features.shape == (1, teacher.FEATURE_CHANNELS, 10, 10)
    places = torch.arange(320.0) + 0.5
    for channels in (range(0, 112, 20), range(112, 432, 60)):  # of stride 16, of stride 32
        centers = []
        for channel in channels:
            (gradient,) = torch.autograd.grad(features[0, channel, 5, 4], image, retain_graph=True)
            weight = gradient[0].square().sum(dim=0)
            centers.append(torch.stack([weight.sum(dim=1) @ places, weight.sum(dim=0) @ places]) / weight.sum())
        row, column = torch.stack(centers).mean(dim=0).tolist()
        assert (row, column) == pytest.approx((5.5 * 32, 4.5 * 32), abs=6)


def test_teacher_needs_all_weights(tmp_path: Path) -> None:
    network = teacher.EfficientNetLite0
    weights = network().state_dict()
    torch.save(weights, tmp_path / "whole.pth")
    assert network.from_file(tmp_path / "whole.pth")(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    del weights["_blocks.3._bn1.running_mean"]
    torch.save(weights, tmp_path / "part.pth")
    with pytest.raises(RuntimeError, match="running_mean"):
        network.from_file(tmp_path / "part.pth")


def test_targets_are_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with NumPy's decomposition: uncorrelated, of variance 1, equal up to signs."""
    monkeypatch.setattr(teacher, "TEACHER_SIZE", (64, 96))
    torch.manual_seed(0)
    pairs = [{"visible_values": torch.rand(3, 48, 64), "infrared_values": torch.rand(1, 48, 64)} for _ in range(4)]
    features = torch.randn(4, 2, teacher.FEATURE_CHANNELS, 2, 3)
    features[:, :, 7] *= 50  # the unit of a channel must not matter
    features[:, :, :5] += 9 * features[:, :1, 5:6]  # shared by both modalities: comes first
    network = teacher.EfficientNetLite0()
    remaining = iter(features)
    monkeypatch.setattr(network, "features", lambda images: next(remaining))
    targets = teacher.joint_targets(network, pairs, 3).float()
    assert targets.shape == (4, 3, 2, 3)

    cells = features.half().double().numpy().transpose(0, 3, 4, 1, 2).reshape(24, 2, -1)
    flat = (cells - cells.mean(axis=0)) / cells.std(axis=0)
    left, *_ = np.linalg.svd(flat.reshape(24, -1), full_matrices=False)
    found = targets.permute(0, 2, 3, 1).reshape(24, 3).numpy()
    assert np.abs(found.T @ left[:, :3]) == pytest.approx(np.sqrt(24) * np.eye(3), abs=0.05)


def ramp_pair(height: int = 96, width: int = 128) -> dict[str, Tensor]:
    """Return a pair whose first channel is the column and whose second is the row; infrared is white in a box."""
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


def test_views_and_targets_stay_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = Compose([*views.AUGMENTATION.transforms[:4]])
    monkeypatch.setattr(views, "AUGMENTATION", geometry)
    column, row = ((torch.arange(side) + 0.5) / side for side in (30, 22))
    target = torch.stack([column.expand(22, 30), row[:, None].expand(22, 30)])[None]
    drawn = views.Views(ConcatDataset([[ramp_pair()]]), target, grid=14, length=12, seed=0)
    seen = []
    for draw in range(len(drawn)):
        view = drawn[draw]
        shown = F.adaptive_avg_pool2d(view["visible"], 14)[:2]
        inner = (shown > 0.03) & (shown < 0.97)  # targets are constant beyond the outermost cells
        assert view["target"][inner].numpy() == pytest.approx(shown[inner].numpy(), abs=0.01)
        covered = F.adaptive_avg_pool2d(view["infrared"], 14)[0]
        assert view["coverage"][3].numpy() == pytest.approx(covered.numpy(), abs=0.15)
        assert view["coverage"].sum(dim=0).numpy() == pytest.approx(1)
        seen.append(shown[0, 0, 0].item())
    assert len(set(seen)) == len(seen)
    assert torch.equal(drawn[3]["visible"], drawn[3]["visible"])


def test_views_without_boxes_have_no_coverage() -> None:
    pair = {name: ramp_pair()[name] for name in ("visible_values", "infrared_values")}
    drawn = views.Views(ConcatDataset([[pair]]), torch.zeros(1, 2, 22, 30), grid=16, length=1, seed=0)
    assert drawn[0]["coverage"].count_nonzero() == 0
    with pytest.raises(ValueError, match="2 pairs"):
        views.Views(ConcatDataset([[pair, pair]]), torch.zeros(1, 2, 22, 30), grid=16, length=1, seed=0)


@pytest.mark.slow
def test_training_learns_and_writes_an_encoder(clip_run: Path) -> None:
    log = [json.loads(line) for line in (clip_run / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == list(range(1, 31))
    for part in ("loss", "unexplained", "boxes"):
        first, last = (sum(record[part] for record in records) for records in (log[:5], log[-5:]))
        assert last < 0.95 * first, part
    encoder, report = CLIPVisionModel.from_pretrained(clip_run / "encoder", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert encoder.config.hidden_size == 16


@pytest.mark.slow
def test_training_resumes_exactly(train: Callable[..., Path], clip_run: Path, dinov2_run: Path) -> None:
    losses, calls = encoders.losses, []

    def interrupted(*arguments: Any) -> dict[str, Tensor]:
        calls.append(arguments)
        if len(calls) == 4:  # after the checkpoint of step 2 and the log of step 3
            raise KeyboardInterrupt
        return losses(*arguments)

    words = ("dinov2", "halves", "--start", clip_run / "encoder")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoders, "losses", interrupted)
        train(*words)
    halves = train(*words, "--resume")
    for file in ("log.jsonl", "encoder/model.safetensors"):
        assert (halves / file).read_bytes() == (dinov2_run / file).read_bytes(), file
    _, report = Dinov2Model.from_pretrained(halves / "encoder", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


@pytest.mark.slow
def test_dinov2_starts_from_clip(train: Callable[..., Path], clip_run: Path) -> None:
    trained = CLIPVisionModel.from_pretrained(clip_run / "encoder")
    encoder = encoders.build_encoder("dinov2")
    encoders.start_from(encoder, clip_run / "encoder")
    for new, old in zip(encoder.encoder.layer, trained.encoder.layers, strict=True):
        assert torch.equal(new.attention.q_proj.weight, old.self_attn.q_proj.weight)
        assert torch.equal(new.attention.o_proj.bias, old.self_attn.out_proj.bias)
        assert torch.equal(new.norm2.weight, old.layer_norm2.weight)
        assert torch.equal(new.mlp.fc1.weight, old.mlp.fc1.weight)
    assert encoder.embeddings.position_embeddings.shape == (1, 257, 16)
    with pytest.raises(SystemExit):
        train("clip", "other", "--start", clip_run / "encoder")


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_rescaling_only_changes_the_unit(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
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


def test_fused_image_replaces_one_modality() -> None:
    rng = np.random.default_rng(0)
    visible, infrared = (rng.random((8, 9, channels), dtype=np.float32) for channels in (3, 1))
    luma = visible @ np.float32([[0.299], [0.587], [0.114]])
    kept = set()
    for _ in range(40):
        sample = views.FuseOne()({"visible": visible, "infrared": infrared}, rng)
        for name, image in (("visible", visible), ("infrared", infrared)):
            if sample[name] is image:
                kept.add(name)
                continue
            low, high = np.minimum(luma, infrared), np.maximum(luma, infrared)
            fused = sample[name] @ np.float32([[0.299], [0.587], [0.114]])
            inside = (sample[name] > 0).all(axis=2) & (sample[name] < 1).all(axis=2)
            assert (fused[inside] >= low[inside] - 1e-5).all() and (fused[inside] <= high[inside] + 1e-5).all()
    assert kept == {"visible", "infrared"}


def test_prepared_datasets_can_be_joined(pairs: Path, tmp_path: Path) -> None:
    """Pairs with boxes get objects, those without boxes are ignored, and the source is left unchanged."""
    plain = tmp_path / "plain"
    for name in ("visible", "infrared"):
        shutil.copytree(pairs / name, plain / name)
    before = sorted(pairs.rglob("*"))
    prepare.main([str(pairs), str(plain), "--output", str(tmp_path / "prepared")])
    dataset = FusionDataset([tmp_path / "prepared" / pairs.name, tmp_path / "prepared" / "plain"])
    assert dataset.class_names == ("person", "bicycle", "car")
    found = [set(dataset[index]["labels"].unique().tolist()) for index in range(4)]
    assert all(len(values & {0, 1, 2, 3}) > 1 for values in found[:2])
    assert found[2:] == [{255}, {255}]
    assert sorted(pairs.rglob("*")) == before


@pytest.mark.parametrize("first", [[], ["--webp_quality", "85"]])
def test_links_and_copies_are_not_mixed(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: list[str]
) -> None:
    """Copies would be written through the links, to the source."""
    data, output = tmp_path / "data", tmp_path / "output"
    shutil.copytree(pairs, data)
    before = {path: path.read_bytes() for path in data.rglob("*.*")}
    second = [] if first else ["--webp_quality", "85"]
    for _ in range(2):  # again, with the same options
        prepare.main([str(data), "--output", str(output), *first])
    mixed = [str(data), "--output", str(output), *second]
    for words in (mixed, [str(data), "--output", str(tmp_path)], [str(data), str(data), "--output", str(output)]):
        with pytest.raises(SystemExit):
            prepare.main(words)
    errors = capsys.readouterr().err
    assert f"{output / 'data' / 'visible'} {'exists' if first else 'is a link'}" in errors
    assert f"{data} is the dataset itself" in errors and "have one name" in errors
    assert {path: path.read_bytes() for path in data.rglob("*.*")} == before


@pytest.mark.slow
def test_probe_of_a_trained_encoder(
    dinov2_run: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SEEDS", (0, 1))
    options = ["--train", pairs, "--eval", pairs, "--output", tmp_path, "--threads", 1]
    probe.main(list(map(str, [dinov2_run / "encoder", *options])))
    report = json.loads((tmp_path / "probe.json").read_text())
    assert report.keys() == {"trained", "random"}
    for settings in report.values():
        assert settings.keys() == probe.SETTINGS.keys()
        assert all(0 <= found["balanced_accuracy"] <= 1 for found in settings.values())
        assert all(len(found["of_seeds"]) == 2 for found in settings.values())
    assert (tmp_path / "tokens.png").stat().st_size > 10_000


def test_probe_recognizes_classes_in_tokens() -> None:
    """Tokens that contain the class are classified perfectly; in a modality of noise, accuracy is at chance."""
    torch.manual_seed(0)
    classes = torch.arange(4).repeat(50)
    informative, noise = (torch.randn(200, 8) for _ in range(2))
    informative[torch.arange(200), classes] += 20
    found = ({"visible": informative, "infrared": noise}, classes)
    assert set(probe.recalls(found, found, ("visible", "visible")).values()) == {1.0}
    across = probe.recalls(found, found, ("visible", "infrared"))
    assert sum(across.values()) / 4 == pytest.approx(0.25, abs=0.15)


def test_pooling_over_boxes() -> None:
    tokens = torch.arange(12.0).reshape(1, 3, 4)  # patches of 10 x 10 pixels
    boxes = torch.tensor([[10.0, 0.0, 20.0, 10.0], [5.0, 10.0, 20.0, 20.0], [0.0, 0.0, 40.0, 30.0]])
    pooled = probe.pool(tokens, boxes, (30, 40))
    assert pooled[:, 0].tolist() == pytest.approx([1, (0.5 * 4 + 5) / 1.5, 5.5])


def test_background_windows_touch_no_box() -> None:
    boxes = torch.tensor([[10.0, 10.0, 40.0, 60.0], [50.0, 20.0, 90.0, 50.0]])
    windows = probe.windows_beside(boxes, (100, 200), np.random.default_rng(0))
    torch.testing.assert_close(windows[:, 2:] - windows[:, :2], boxes[:, 2:] - boxes[:, :2])
    inside = torch.zeros(100, 200)
    for left, top, right, bottom in boxes.int().tolist():
        inside[top:bottom, left:right] = 1
    for left, top, right, bottom in windows.tolist():
        assert left >= 0 and right <= 200 and top >= 0 and bottom <= 100
        assert inside[int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)].sum() == 0
