"""Reuse CLIP's tokens for several frames of a video."""

from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from gffusion.inference.interface import FusionModel
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.zoo.checks import is_exported

# Frames are compared as thumbnails: noise and small motions vanish, a cut or a pan does not. Their difference is a share of
# their contrast: 0.01 to 0.06 for noise of 2 %, 0.03 to 0.09 after a shift by 1 % of the width, 0.16 to 0.43 by 5 %, and
# between scenes 0.35 to 0.61 (rendered streets, which are alike) and 0.85 to 2.5 (MSRS).
_THUMBNAIL = (16, 16)
_CUT, _MIN_CONTRAST = 0.3, 0.02


class SemanticRefresh:
    """Tokens of CLIP that are computed for every n-th frame, and for frames that differ from the one they describe.

    Frames differ if the mean difference of their thumbnails, of either modality, exceeds a share of their contrast: after
    a scene cut, and after a pan or a change of light. Pass it to [`predict`] as `encode`, one frame or a batch of ordered frames at a
    time.

    Args:
        model: A model of the hybrid paradigm.
        every: Largest number of frames that share tokens; see [`check_refresh`].

    Attributes:
        refreshed: Number of frames for which tokens were computed.
    """

    def __init__(self, model: FusionModel, every: int) -> None:
        self._model, self._every = model, every
        self._tokens: Tensor | None = None
        self._thumbnail: Tensor | None = None
        self._age = 0
        self.refreshed = 0

    def reset(self) -> None:
        """Compute new tokens for the next frame."""
        self._tokens = None

    def __call__(self, visible_values: Tensor, infrared_values: Tensor) -> Tensor:
        """Return tokens for a batch of ordered frames: (B, 3, H, W) and (B, 1, H, W) in [0, 1] -> (B, L, N, D)."""
        images = zip(visible_values[:, None], infrared_values[:, None], strict=True)
        return torch.cat([self._follow(visible, infrared) for visible, infrared in images])

    def _follow(self, visible: Tensor, infrared: Tensor) -> Tensor:
        thumbnail = _shrink(visible, infrared)
        if self._tokens is None or self._thumbnail is None or self._age >= self._every or self._differs(thumbnail):
            self._tokens, self._thumbnail, self._age = self._model.encode_semantics(visible, infrared), thumbnail, 0
            self.refreshed += 1
        self._age += 1
        return self._tokens

    def _differs(self, thumbnail: Tensor) -> bool:
        assert self._thumbnail is not None
        contrast = torch.maximum(_measure_contrast(thumbnail), _measure_contrast(self._thumbnail))
        differences = (thumbnail - self._thumbnail).abs().mean(dim=(2, 3))  # (1, 2), of visible and infrared
        return bool((differences / contrast.clamp(min=_MIN_CONTRAST)).max() > _CUT)


def check_refresh(model: FusionModel, every: int) -> None:
    """Raise ValueError if `every` is no whole number of at least 1, or above 1 for a model that injects no tokens of CLIP."""
    if isinstance(every, bool) or not isinstance(every, Integral) or every < 1:
        raise ValueError(f"`semantic_every` (--semantic-every) must be a whole number of at least 1, got {every!r:.40}")
    if every > 1 and is_exported(model):
        raise ValueError("`semantic_every` (--semantic-every) cannot be used with an exported file: leave it out")
    if every > 1 and not model.config.needs_clip:
        raise ValueError(
            f"`semantic_every` (--semantic-every) needs a model that injects CLIP features (paradigm hybrid), but this one is "
            f"of the paradigm {model.config.paradigm}: leave it out"
        )


def _shrink(visible: Tensor, infrared: Tensor) -> Tensor:
    """Return thumbnails of both images, (1, 2, h, w)."""
    both = torch.cat([rgb_to_luma(visible).float(), infrared.float()], dim=1)
    # On MPS, only sides that are multiples of those of the thumbnail can be pooled.
    return F.adaptive_avg_pool2d(both.cpu() if both.device.type == "mps" else both, _THUMBNAIL)


def _measure_contrast(thumbnail: Tensor) -> Tensor:
    """Return the mean distance from the mean of both images, (1, 2, h, w) -> (1, 2)."""
    return (thumbnail - thumbnail.mean(dim=(2, 3), keepdim=True)).abs().mean(dim=(2, 3))
