"""Flicker of videos, against the formula by numpy."""

import numpy as np
import pytest
import torch

from gffusion.metrics import Flicker
from gffusion.metrics.functional import flicker


def videos(frames: int = 5) -> list[torch.Tensor]:
    return list(torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, frames, 8, 9))).double())


def test_formula() -> None:
    fused, visible, infrared = (video.numpy() for video in videos())
    change = [np.abs(video[1:] - video[:-1]) for video in (fused, visible, infrared)]
    expected = np.where(change[0] > np.maximum(change[1], change[2]), change[0] - np.maximum(change[1], change[2]), 0)
    metric = Flicker()
    for frames in zip(*videos(), strict=True):
        metric.update(*frames)
    assert np.allclose(metric.steps, expected.mean(axis=(1, 2)))
    assert metric.compute() == pytest.approx(expected.mean()) == flicker(*videos())
    metric.reset()
    with pytest.raises(ValueError, match="at least two frames"):
        metric.compute()


def test_changes_of_an_input_do_not_count() -> None:
    """Motion and lamps are in the inputs; the same image thrice has none, whatever it shows."""
    fused, visible, infrared = videos()
    assert flicker(visible, visible, infrared) == flicker(infrared, visible, infrared) == 0
    assert flicker(fused[:1].expand(5, -1, -1), visible, infrared) == 0


def test_wrong_inputs() -> None:
    fused, visible, infrared = videos()
    with pytest.raises(ValueError, match="numbers of frames differ: fused more, visible 4 frames, infrared more"):
        flicker(fused, visible[:-1], infrared)
    with pytest.raises(ValueError, match="fused 4 frames, visible more, infrared 4 frames"):
        flicker(iter(fused[:4]), visible, infrared[:4])
    metric = Flicker()
    metric.update(fused[0], visible[0], infrared[0])
    with pytest.raises(ValueError, match="changes from 8x9 to 4x9"):
        metric.update(fused[1, :4], visible[1, :4], infrared[1, :4])
    with pytest.raises(ValueError, match="a batch of 5 frames"):
        metric.update(fused[:, None], visible[:, None], infrared[:, None])
    with pytest.raises(ValueError, match="same size"):
        metric.update(fused[1], visible[1, :4], infrared[1])
