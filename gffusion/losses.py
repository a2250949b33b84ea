"""The losses of GFFusion: structure (Eq. 10), segmentation (Eq. 11) and their sum (Eq. 12)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .functional import rgb_to_luma, sobel_magnitude

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def ssim(image: Tensor, reference: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity (Wang et al., 2004) with a separable 11-tap Gaussian window of sigma 1.5.

    Equals `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`: the
    mean over the pixels whose window lies inside the image. Differentiable, and computed in float32 at least.

    Args:
        image (`Tensor` of shape `(B, 1, H, W)`): Luma in [0, `data_range`].
        reference (`Tensor` of shape `(B, 1, H, W)`): Luma to compare with.
        data_range (`float`, *optional*, defaults to 1.0): Distance of the largest from the smallest possible value.

    Returns:
        `Tensor` of shape `(B,)` with values in [-1, 1].

    Raises:
        ValueError: If a side is shorter than the window.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    image, reference = image.to(dtype), reference.to(dtype)
    planes = torch.stack([image, reference, image * image, reference * reference, image * reference])
    # A separable filter as two products with banded matrices: on training crops far faster than a convolution on CPUs.
    rows, columns = (_gaussian_matrix(size, dtype, image.device) for size in image.shape[-2:])
    with torch.autocast(image.device.type, enabled=False):
        mean_x, mean_y, square_x, square_y, product = rows @ planes @ columns.mT  # each (B, 1, H - 10, W - 10)

    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return similarity.mean(dim=(1, 2, 3))


def _gaussian_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix (size - 10, size) whose rows hold the window at every position inside `size` pixels."""
    if size < SSIM_WINDOW:
        raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW} pixels a side, got {size}.")
    centre = SSIM_WINDOW // 2
    position = torch.arange(size, dtype=dtype, device=device)
    offset = position - position[: size - 2 * centre, None] - centre
    weights = torch.exp(-(offset**2) / (2 * SSIM_SIGMA**2)).masked_fill(offset.abs() > centre, 0)
    return weights / weights[0].sum()


def ssim_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """First two terms of Eq. (10): `(1 - SSIM(f, rgb)) / 2 + (1 - SSIM(f, ir)) / 2`, on luma.

    Args:
        fused (`Tensor` of shape `(B, 1 or 3, H, W)`): Fused image in [0, 1].
        visible (`Tensor` of shape `(B, 1 or 3, H, W)`): Visible image in [0, 1].
        infrared (`Tensor` of shape `(B, 1, H, W)`): Infrared image in [0, 1].

    Returns:
        `Tensor` of shape `()`.
    """
    luma = rgb_to_luma(fused)
    return ((1 - ssim(luma, rgb_to_luma(visible))) / 2 + (1 - ssim(luma, infrared)) / 2).mean()


def gradient_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Last term of Eq. (10): L1 distance of the fused gradient from the larger one of both sources.

    Args:
        fused (`Tensor` of shape `(B, C, H, W)`): Fused image in [0, 1].
        visible (`Tensor` of shape `(B, C, H, W)`): Visible image in [0, 1], with the channels of `fused`.
        infrared (`Tensor` of shape `(B, 1, H, W)`): Infrared image in [0, 1].

    Returns:
        `Tensor` of shape `()`.
    """
    target = torch.maximum(sobel_magnitude(infrared), sobel_magnitude(visible))
    return F.l1_loss(sobel_magnitude(fused), target)


def intensity_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """L1 distance of the fused image from the element-wise maximum of both sources (ours, not in the paper).

    Args:
        fused (`Tensor` of shape `(B, C, H, W)`): Fused image in [0, 1].
        visible (`Tensor` of shape `(B, C, H, W)`): Visible image in [0, 1], with the channels of `fused`.
        infrared (`Tensor` of shape `(B, 1, H, W)`): Infrared image in [0, 1].

    Returns:
        `Tensor` of shape `()`.
    """
    return F.l1_loss(fused, torch.maximum(visible, infrared))


def segmentation_loss(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """L_ss, Eq. (11): pixel-wise cross-entropy.

    Args:
        logits (`Tensor` of shape `(B, num_labels, H, W)`): Class logits.
        labels (`Tensor` of shape `(B, H, W)`, integer): Class of every pixel.
        ignore_index (`int`, *optional*, defaults to 255): Label of pixels that do not count.

    Returns:
        `Tensor` of shape `()`; 0 where all pixels are ignored (torch's own mean would be NaN).
    """
    labels = labels.long()
    counted = (labels != ignore_index).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), labels, ignore_index=ignore_index, reduction="sum") / counted


def total_loss(structural: Tensor, segmentation: Tensor | None, segmentation_weight: float) -> Tensor:
    """L_total, Eq. (12): `L_st + lambda * L_ss`; L_st alone where there are no labels.

    Args:
        structural (`Tensor` of shape `()`): L_st.
        segmentation (`Tensor` of shape `()`, *optional*): L_ss.
        segmentation_weight (`float`): Lambda.

    Returns:
        `Tensor` of shape `()`.
    """
    return structural if segmentation is None else structural + segmentation_weight * segmentation
