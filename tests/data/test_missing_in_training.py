"""Trainings on pairs with missing infrared pixels: losses ask for the visible image there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from camera_files import render_pair

from gffusion.data import FusionDataset, write_image
from gffusion.data.transforms import Compose, Misalignment, Night, RandomFlip, ThermalGain, Transform
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.models.gffusion.losses import gradient_loss, intensity_loss, ssim_loss

VISIBLE, INFRARED = render_pair()
THERMAL = np.rint(100 + 150 * INFRARED).astype(np.uint8)
HOLE = np.s_[:, :40]  # of a registration
INNER = np.s_[..., 4:-4, 4:28]  # far enough from the step, which windows of losses contain


def read(root: Path, transform: Transform | None = None) -> dict[str, torch.Tensor]:
    (root / "visible").mkdir()
    (root / "infrared").mkdir()
    thermal = THERMAL.copy()
    thermal[HOLE] = 0
    write_image(root / "visible" / "0.png", VISIBLE)
    write_image(root / "infrared" / "0.png", thermal)
    item = FusionDataset(root, transform)[0]
    return {name: item[f"{name}_values"][None] for name in ("visible", "infrared")}


def test_the_visible_image_has_no_loss_in_holes(tmp_path: Path) -> None:
    """Losses are computed on luma, as by default."""
    values = {name: part[INNER] for name, part in read(tmp_path).items()}
    luma, infrared = rgb_to_luma(values["visible"]), values["infrared"]
    losses = intensity_loss, gradient_loss, ssim_loss
    assert [float(loss(luma, luma, infrared)) for loss in losses] == pytest.approx([0, 0, 0], abs=1e-6)
    # Filled from its neighbors, a hole would pull the image away from the visible one.
    filled = torch.full_like(infrared, THERMAL[:, 40:48].mean() / 255)
    assert min(intensity_loss(luma, luma, filled), ssim_loss(luma, luma, filled)) > 0.05


@pytest.mark.parametrize(
    "transform", [Night(1.0, (0.1, 0.1)), ThermalGain(0.3), Compose([RandomFlip(1), Misalignment(6)])]
)
def test_transforms_keep_holes(tmp_path: Path, transform: Transform) -> None:
    values = read(tmp_path, transform)
    inner = INNER if not isinstance(transform, Compose) else np.s_[..., 4:-4, -32:-4]
    assert torch.equal(values["infrared"][inner], rgb_to_luma(values["visible"])[inner])


def test_measured_pixels_stay(tmp_path: Path) -> None:
    values = read(tmp_path)
    np.testing.assert_array_equal(values["infrared"][0, 0, :, 44:] * 255, THERMAL[:, 44:])


@pytest.mark.parametrize(
    ("suffix", "values"),
    [(".tif", np.full(THERMAL.shape, np.nan, np.float32)), (".png", np.zeros(THERMAL.shape, np.uint16))],
)
def test_images_without_a_measured_pixel_are_found_before_a_training(
    tmp_path: Path, suffix: str, values: np.ndarray
) -> None:
    partial = values.copy()
    partial[:9, :9] = 0.5 if suffix == ".tif" else 7000
    for kind in ("visible", "infrared"):
        (tmp_path / kind).mkdir()
    for index, infrared in enumerate((partial, values)):
        write_image(tmp_path / "visible" / f"{index}.png", VISIBLE[:, :: 1 - 2 * index])
        write_image(tmp_path / "infrared" / f"{index}{suffix}", infrared)
    with pytest.raises(ValueError, match=rf"infrared/1\{suffix}: the infrared image has no measured pixel"):
        FusionDataset(tmp_path).read_sizes()
    write_image(tmp_path / "infrared" / f"1{suffix}", partial)
    assert len(FusionDataset(tmp_path).read_sizes()) == 2
