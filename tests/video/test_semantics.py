"""CLIP's tokens are computed for every n-th frame and after cuts."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pretended_devices import OnMps
from torch import Tensor

from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.synthetic.rendering import render_scene
from gffusion.video.semantics import SemanticRefresh


def scene(seed: int, noise: int = 0) -> tuple[Tensor, Tensor]:
    """Return a rendered street as model inputs, with noise of a camera."""
    rendered = render_scene(seed, 64, 96)
    rng = np.random.default_rng(noise)
    visible, infrared = (
        torch.from_numpy((image / 255 + rng.normal(0, 0.02, image.shape)).clip(0, 1).astype(np.float32))
        for image in (rendered.visible, rendered.infrared)
    )
    return visible.movedim(-1, 0)[None], infrared[None, None]


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., GFFusionModel]) -> GFFusionModel:
    return tiny_model(paradigm="hybrid", use_segmenter=False).eval()


def refreshed_at(refresh: SemanticRefresh, frames: list[tuple[Tensor, Tensor]], batch_size: int = 1) -> list[int]:
    """Return the frames at which tokens were computed."""
    tokens = []
    for start in range(0, len(frames), batch_size):
        batch = frames[start : start + batch_size]
        tokens += refresh(*(torch.cat(images) for images in zip(*batch, strict=True))).split(1)
    return [index for index in range(len(tokens)) if index == 0 or not torch.equal(tokens[index], tokens[index - 1])]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_nth_frame(model: GFFusionModel, batch_size: int) -> None:
    """Noise is no cut; the size of batches does not matter."""
    frames = [scene(0, noise) for noise in range(9)]
    refresh = SemanticRefresh(model, 4)
    assert refreshed_at(refresh, frames, batch_size) == [0, 4, 8]
    assert refresh.refreshed == 3


def test_cut(model: GFFusionModel) -> None:
    """Another street refreshes at once, and starts the count anew; so does a change of one modality."""
    frames = [scene(0, noise) for noise in range(3)] + [scene(5, noise) for noise in range(6)]
    assert refreshed_at(SemanticRefresh(model, 5), frames) == [0, 3, 8]
    visible, infrared = scene(0)
    inverted = [(visible, infrared), (visible, infrared), (visible, 1 - infrared)]
    assert refreshed_at(SemanticRefresh(model, 5), inverted) == [0, 2]


@pytest.mark.parametrize("second", range(1, 12))
def test_streets_are_different_scenes(model: GFFusionModel, second: int) -> None:
    assert refreshed_at(SemanticRefresh(model, 100), [scene(0), scene(second)]) == [0, 1]


def test_slow_pan(model: GFFusionModel) -> None:
    """Frames are compared with the one that the tokens describe, so that small motions add up."""
    visible, infrared = scene(0)
    frames = [tuple(image.roll(2 * index, -1) for image in (visible, infrared)) for index in range(20)]
    assert len(refreshed_at(SemanticRefresh(model, 100), frames)) > 1  # type: ignore[arg-type]


def test_tokens_are_those_of_the_model(model: GFFusionModel) -> None:
    frames = scene(0)
    refresh = SemanticRefresh(model, 3)
    assert torch.equal(refresh(*frames), model.encode_semantics(*frames))
    refresh.reset()
    refresh(*frames)
    assert refresh.refreshed == 2


def test_compiled_models_have_tokens(model: GFFusionModel) -> None:
    frames = scene(0)
    refresh = SemanticRefresh(torch.compile(model, backend="eager"), 2)
    assert torch.equal(refresh(*frames), model.encode_semantics(*frames))


def test_frames_of_any_size_on_mps(model: GFFusionModel) -> None:
    frames = [tuple(image[..., :60, :75] for image in scene(seed)) for seed in (0, 0, 5)]
    on_mps = [tuple(image.as_subclass(OnMps) for image in frame) for frame in frames]
    assert refreshed_at(SemanticRefresh(model, 5), on_mps) == [0, 2]  # type: ignore[arg-type]
