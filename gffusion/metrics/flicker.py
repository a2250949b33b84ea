"""Flicker of fused videos: changes of brightness from frame to frame that the inputs do not have."""

from collections.abc import Iterable
from itertools import zip_longest

import torch
from torch import Tensor

from .images import gray_levels


class Flicker:
    """Flicker of a fused video, in gray levels per frame, from 0 to 255; lower is better. Holds one frame in memory.

    The metric is our own. For frames t = 1 ... T-1 and pixels p, with gray levels F, V and I of the fused, the visible
    and the infrared video,

        flicker = mean over t and p of max(0, |F_t - F_t-1| - max(|V_t - V_t-1|, |I_t - I_t-1|)).

    A change that one of the inputs has at the same pixel, such as motion or a light that is switched on, does not count.
    A change of the gray levels of all pixels because the infrared range is chosen anew for every frame does. Temporal
    metrics for processed videos compare frames along optical flow (Lai et al., Learning Blind Video Temporal
    Consistency, ECCV 2018); this one needs no flow, because the inputs show where the scene changes.

    Infrared frames must have gray levels of one range for the whole video: with the range of each frame, the input
    flickers, too, and hides the flicker of the result.

    Examples:
        >>> dark, light = torch.full((4, 6), 50.0), torch.full((4, 6), 60.0)
        >>> metric = Flicker()
        >>> for fused, visible in ((dark, dark), (light, light), (dark, light)):
        ...     metric.update(fused, visible, dark)
        >>> metric.steps, metric.compute()
        ([0.0, 10.0], 5.0)
    """

    def __init__(self) -> None:
        self.steps: list[float] = []
        """Flicker between each frame and the next."""
        self._last: list[Tensor] | None = None

    def update(self, fused: Tensor, visible: Tensor, infrared: Tensor) -> None:
        """Add the next frame: gray levels (H, W) of the three videos, as [`to_luma8`] returns them.

        Raises:
            ValueError: If sizes differ, also from the frame before, values are no gray levels, or there are several frames.
        """
        frames = gray_levels(1, fused=fused, visible=visible, infrared=infrared)
        if len(frames[0]) > 1:
            raise ValueError(
                f"Got a batch of {len(frames[0])} frames: call `update` with one frame at a time, in order."
            )
        if self._last is not None:
            if frames[0].shape != self._last[0].shape:
                sizes = ["x".join(map(str, batch.shape[-2:])) for batch in (self._last[0], frames[0])]
                raise ValueError(
                    f"The size of the frames changes from {sizes[0]} to {sizes[1]}: use one metric per size."
                )
            change, *of_inputs = ((new - old).abs() for new, old in zip(frames, self._last, strict=True))
            excess = (change - torch.maximum(*of_inputs)).clamp(min=0)
            self.steps.append(float(excess.mean()))
        self._last = frames

    def compute(self) -> float:
        """Return the mean over all steps.

        Raises:
            ValueError: If there are less than two frames.
        """
        if not self.steps:
            raise ValueError("Flicker is a change between frames: give at least two frames.")
        return sum(self.steps) / len(self.steps)

    def reset(self) -> None:
        """Start a new video."""
        self.steps, self._last = [], None


def flicker(fused: Iterable[Tensor], visible: Iterable[Tensor], infrared: Iterable[Tensor]) -> float:
    """Return the flicker of a fused video, see [`Flicker`].

    Args:
        fused: Gray levels (H, W) of the frames, or a tensor (T, H, W).
        visible: The same of the visible video.
        infrared: The same of the infrared video.

    Raises:
        ValueError: If the numbers of frames or their sizes differ, or there are less than two frames.

    Examples:
        >>> constant = torch.full((3, 4, 6), 80.0)
        >>> flicker(constant + 6 * torch.tensor([0, 1, 0])[:, None, None], constant, constant)
        6.0
    """
    metric = Flicker()
    for count, frames in enumerate(zip_longest(fused, visible, infrared)):
        if any(frame is None for frame in frames):
            counts = ", ".join(
                f"{name} {f'{count} frames' if frame is None else 'more'}"
                for name, frame in zip(("fused", "visible", "infrared"), frames, strict=True)
            )
            raise ValueError(f"The numbers of frames differ: {counts}. Give as many frames of each video.")
        metric.update(*frames)
    return metric.compute()
