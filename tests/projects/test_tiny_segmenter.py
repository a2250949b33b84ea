"""projects/gffusion_tiny: the labeler, the segmenter that learns from it, and their views."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from read_back import read_log
from safetensors.torch import load_file
from transformers import Dinov2Model

from gffusion import GFFusionModel
from gffusion.data import FusionDataset
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target
from gffusion.training import load_head
from projects.gffusion_tiny import augmentation, labeler, scenes, segmenter, teacher, training

SMALL = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8]}
SIZE, SCENE_SIZE, WINDOW_SIZE = (32, 48), (96, 128), (48, 64)


@pytest.fixture(scope="module", autouse=True)
def small_views() -> Iterator[None]:
    """Views and grids for small encoders."""
    config = segmenter.MODEL_CONFIG | {"segmenter_layers": 2, "segmenter_image_size": list(SIZE)}
    with pytest.MonkeyPatch.context() as patch:
        for module in (scenes, labeler, segmenter):
            patch.setattr(module, "SIZE", SCENE_SIZE)
        patch.setattr(segmenter, "WINDOW_SIZE", WINDOW_SIZE)
        patch.setattr(segmenter, "MODEL_CONFIG", config)
        patch.setattr(segmenter, "SCALES", ([1], [1, 1.5]))
        patch.setattr(training, "LOG_STEPS", 1)
        patch.setattr(training, "WARMUP_STEPS", 2)
        yield


@pytest.fixture(scope="module")
def trained_labeler(small_views: None, labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a labeler trained for 12 steps from random weights."""
    folder = tmp_path_factory.mktemp("labeler")
    torch.manual_seed(0)
    torch.save(teacher.EfficientNetLite0().state_dict(), folder / "teacher.pth")
    files = ["--data", labeled, "--teacher", folder / "teacher.pth", "--output", folder, "--eval", labeled]
    labeler.main(list(map(str, [*files, "--steps", 12, "--batch_size", 2])))
    return folder


@pytest.fixture
def segment(
    trained_labeler: Path, labeled: Path, backbone_folders: dict[str, str], tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that trains a small encoder to segment, and returns its output folder."""

    def run(output: str, *words: object) -> Path:
        files = ["--data", labeled, "--labeler", trained_labeler / "labeler.safetensors", "--output", tmp_path / output]
        sizes = ["--start", backbone_folders["dinov2"], "--steps", 3, "--batch_size", 2]
        segmenter.main(list(map(str, [*files, *sizes, *words])))
        return tmp_path / output

    return run


def test_second_labeler_is_larger(tmp_path: Path) -> None:
    training.save_halves(labeler.Labeler(teacher.EfficientNetLite2()), tmp_path / "labeler.safetensors")
    loaded = labeler.load_labeler(tmp_path / "labeler.safetensors")
    assert isinstance(loaded.encoder, teacher.EfficientNetLite2)
    assert [level.shape[1] for level in loaded.features(torch.rand(1, 3, 64, 96))] == [48, 120, 352, 64]


def test_cut_and_blended_views_show_two_views() -> None:
    torch.manual_seed(0)
    fused = torch.arange(64.0).view(64, 1, 1, 1).expand(-1, 3, 24, 32) / 64
    views, targets = augmentation.cut(fused, fused)
    assert torch.equal(views, targets)
    changed = (views != fused).any(dim=1)
    assert 8 < changed.any(dim=(1, 2)).sum() < 32 and not changed.all(dim=(1, 2)).any()
    blended, is_blended = augmentation.blend(fused)
    assert torch.equal((blended != fused).any(dim=(1, 2, 3)), is_blended.flatten() > 0) and 10 < is_blended.sum() < 45


@pytest.fixture
def street(labeled: Path) -> scenes.Scenes:
    return scenes.Scenes([str(labeled)], "cpu")


@pytest.fixture
def network(backbone_folders: dict[str, str]) -> segmenter.Segmenter:
    torch.manual_seed(0)
    return segmenter.Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"]))


def read_losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_log(folder)]


def test_labeler_learns_and_is_loaded_unchanged(trained_labeler: Path) -> None:
    assert set(json.loads((trained_labeler / "iou.json").read_text())) == {"background", "person", "bicycle", "car"}
    losses = read_losses(trained_labeler)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    network = labeler.load_labeler(trained_labeler / "labeler.safetensors")
    state = load_file(trained_labeler / "labeler.safetensors")
    assert all(torch.equal(value.to(state[name].dtype), state[name]) for name, value in network.state_dict().items())
    image = torch.rand(2, 3, 64, 96)
    features = network.features(image)
    assert [tuple(level.shape[1:]) for level in features] == [(40, 8, 12), (112, 4, 6), (320, 2, 3), (64, 16, 24)]
    torch.testing.assert_close(network(image), network.read(features[-1], (64, 96)))
    assert network(image).shape == (2, 4, 64, 96)


def test_segmenter_becomes_that_of_a_model(segment: Callable[..., Path], network: segmenter.Segmenter) -> None:
    """A GFFusionModel with the trained encoder and head gives the same logits: layers, norms, sizes and classes agree."""
    folder = segment("run")
    network.load_state_dict(load_file(folder / "segmenter.safetensors"))
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
    torch.testing.assert_close(logits, output.logits, atol=2e-3, rtol=0)  # the head is stored in full precision


def test_windows_get_the_positions_of_their_place_in_the_scene(network: segmenter.Segmenter) -> None:
    """Before the first layer, the tokens of a window equal those of the whole scene at the same place."""
    network.eval()
    patch, (rows, columns), (top, left) = network.encoder.config.patch_size, network.window_grid, (1, 2)
    scene = torch.rand(1, 3, *(side * patch for side in network.grid))
    window = scene[..., top * patch : (top + rows) * patch, left * patch : (left + columns) * patch]
    grid = torch.tensor(network.grid)
    half = torch.tensor([rows, columns]) / grid
    places = torch.stack([(2 * torch.tensor([top, left]) + torch.tensor([rows, columns])) / grid - 1, half])[None]
    with torch.no_grad():
        whole = network._embed(scene, network.grid, None)[:, 1:].unflatten(1, network.grid)
        part = network._embed(window, network.window_grid, places)[:, 1:].unflatten(1, (rows, columns))
    torch.testing.assert_close(part, whole[:, top : top + rows, left : left + columns])


def test_segmenter_learns_and_is_trained_further(segment: Callable[..., Path], labeled: Path) -> None:
    first = segment("first", "--steps", 40, "--eval", labeled)
    losses = read_losses(first)
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert set(json.loads((first / "iou.json").read_text())) == {"[1]", "[1, 1.5]"}
    learned = load_file(first / "segmenter.safetensors")
    assert torch.equal(learned["head.classifier.weight"], load_file(first / "head.safetensors")["weight"].half())
    second = load_file(
        segment("second", "--after", first / "segmenter.safetensors", "--steps", 0) / "segmenter.safetensors"
    )
    assert all(torch.equal(second[name], value) for name, value in learned.items())


def test_scenes_get_the_mean_prediction_of_labelers(trained_labeler: Path, street: scenes.Scenes) -> None:
    network = labeler.load_labeler(trained_labeler / "labeler.safetensors")
    segmenter.teach(street, [network])
    visible, infrared = street.sources(torch.tensor([1]))
    fused = scenes.fuse({"visible": visible, "infrared": infrared, "contrast": torch.tensor(1.0)})
    expected, found = network(fused).softmax(dim=1)[0], street.targets[1, :-1] / 255
    assert street.targets[:, -1].min() == 255
    assert (found - expected).abs().mean() < 0.1
    assert found.sum(dim=0).sub(1).abs().max() < 0.01


def test_soft_loss_computed_in_another_way() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 5, 6), torch.randint(4, (2, 5, 6))
    labels[0, 0] = 255
    known = labels != 255
    classes = F.one_hot(torch.where(known, labels, 0), 4).permute(0, 3, 1, 2) * known[:, None]
    found = scenes.soft_loss(logits, torch.cat([classes, known[:, None]], dim=1).float(), (1.0, 2.0, 3.0, 4.0))
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(found["classes"], F.cross_entropy(logits, labels, weights, ignore_index=255))
    predicted = logits.softmax(dim=1).permute(1, 0, 2, 3)[:, known]
    dice = [
        2 * (predicted[k] * (labels[known] == k)).sum() / ((predicted[k] ** 2).sum() + (labels == k).sum())
        for k in (1, 2, 3)
    ]
    torch.testing.assert_close(found["overlap"], 1 - torch.stack(dice).mean())


def test_muon_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 24), (24, 8), (8, 24))]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    optimizers = (
        training.BatchedMuon(ours, 0.01, 0.1),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # of bfloat16


class TestScenes:
    def test_views_show_their_place(self, street: scenes.Scenes) -> None:
        """A view of half a scene equals a crop, and a mirrored one the mirrored crop."""
        half, center = torch.tensor([0.5, 0.5]), torch.tensor([-0.25, 0.25])  # y, x
        theta = torch.tensor([[[0.5, 0, 0.25], [0, 0.5, -0.25]], [[-0.5, 0, 0.25], [0, 0.5, -0.25]]])
        places = torch.stack([torch.stack([center, half]), torch.stack([center * torch.tensor([1, -1]), half])])
        images, targets = street.show(scenes.Windows(torch.tensor([0, 0]), theta, places), (48, 64))
        crop = street.images[0, :, 12:60, 48:112] / 255
        assert (images[0] - crop).abs().mean() < 0.02  # smoothed
        torch.testing.assert_close(images[0].flip(-1), images[1], atol=1e-5, rtol=0)
        assert targets.shape == (2, 5, 48, 64)

    def test_windows_lie_in_their_scene_and_mostly_show_objects(self, street: scenes.Scenes) -> None:
        torch.manual_seed(0)
        windows = street.choose(64, (24, 32), (0.5, 2.0))
        center, half = windows.places.abs().unbind(dim=1)
        assert (center <= (1 - half).abs() + 1e-6).all()
        torch.testing.assert_close(windows.theta[:, :, 2].flip(-1).abs(), center)
        assert 0.1 < half.min() < 0.2 and 0.4 < half.max() < 0.7
        _, targets = street.show(windows, (24, 32))
        assert (targets[:, 1:4].amax(dim=(1, 2, 3)) > 0.5).double().mean() > 0.6

    def test_native_sizes_are_drawn(self, street: scenes.Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scenes, "NATIVE_SHARE", 1.0)
        monkeypatch.setattr(scenes, "SIZE", (48, 64))
        torch.manual_seed(0)
        halves = street.choose(200, (24, 32), (2.0, 2.0), native=(1.0, 0.5)).places[:, 1].log2()
        assert (halves - halves.round()).abs().max() < 0.45
        assert 60 < (halves[:, 0] > -0.5).sum() < 140  # of whole scenes

    def test_views_show_images_fused_by_models(self, street: scenes.Scenes) -> None:
        model = GFFusionModel.from_backbones(**SMALL, paradigm="cascading", use_segmenter=False).eval()
        street.fuse_by([model])
        assert street.ready is not None
        windows = scenes.Windows(torch.tensor([1]), torch.eye(3)[None, :2], torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]))
        images, targets = street.show(windows, street.images.shape[-2:])
        assert images.shape[1] == 5 and targets.shape[1] == 5
        assert (images[0, 4] - street.ready[0, 1, 0] / 255).abs().mean() < 0.02  # smoothed

    def test_draws_are_reproducible(self, street: scenes.Scenes) -> None:
        draws = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            draws.append(street.draw(4, (24, 32), (0.5, 2.0))[0])
        assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
        assert draws[0].min() >= 0 and draws[0].max() <= 1

    def test_pasted_objects_bring_their_targets(self, street: scenes.Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(augmentation, "PASTE_SHARE", 1.0)
        images = torch.zeros(2, 4, 32, 64)
        targets = torch.zeros(2, 5, 32, 64)
        targets[:, [0, 4]] = 1
        images[1, :, 8:16, 4:12], targets[1, 0, 8:16, 4:12], targets[1, 2, 8:16, 4:12] = 1, 0, 1  # a bicycle
        pasted, taught = augmentation.paste(images, targets)
        assert taught[:, :4].sum(dim=1).min() == 1
        assert taught[0, 2].sum() >= targets[1, 2].sum() > 0 and pasted[0].max() > 0

    def test_fused_image_is_the_target_of_the_model(self, street: scenes.Scenes) -> None:
        visible, infrared = street.sources(torch.tensor([0]))
        expected = replace_luma(visible, two_scale_target(rgb_to_luma(visible), infrared, 0.7))
        batch = {"visible": visible, "infrared": infrared, "contrast": torch.tensor(0.7)}
        torch.testing.assert_close(scenes.fuse(batch), expected)

    def test_iou_of_constant_background(self, labeled: Path) -> None:
        labels = torch.cat([pair["labels"].flatten() for pair in FusionDataset(labeled)])
        known = labels[labels != 255]
        found = scenes.measure(lambda fused: torch.eye(4)[0].view(1, 4, 1, 1) + 0 * fused[:, :1], [str(labeled)])
        assert list(found) == ["background", "person", "bicycle", "car"]
        assert found["background"] == pytest.approx((known == 0).double().mean().item(), abs=6e-4)
        assert found["person"] == 0
