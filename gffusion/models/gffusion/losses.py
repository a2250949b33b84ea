"""The losses of GFFusion: structure (Eq. 10), segmentation (Eq. 11) and their sum (Eq. 12)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .image_ops import gaussian_matrix, rgb_to_luma, sobel_magnitude

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5

# Blur of `two_scale_target` in pixels, within the receptive field of FuNet (13 pixels).
BASE_SIGMA, ENERGY_SIGMA = 4.0, 2.0


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Return the SSIM (Wang et al., 2004) of lumas (B, 1, H, W) in [0, 1] -> (B,) in [-1, 1].

    Equal to `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`: the
    mean over the pixels whose window lies inside the image. Differentiable, and computed at least in float32.

    Raises:
        ValueError: If a side is shorter than the window.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    image, reference = image.to(dtype), reference.to(dtype)
    planes = torch.stack([image, reference, image * image, reference * reference, image * reference])
    for size in image.shape[-2:]:
        if size < SSIM_WINDOW:
            raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW} pixels per side, got {size}.")
    # Two products with banded matrices are much faster than a separable convolution for training crops on CPUs.
    rows, columns = (gaussian_matrix(size, SSIM_WINDOW, SSIM_SIGMA, image) for size in image.shape[-2:])
    with torch.autocast(image.device.type, enabled=False):
        mean_x, mean_y, square_x, square_y, product = rows @ planes @ columns.mT  # each (B, 1, H - 10, W - 10)

    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return similarity.mean(dim=(1, 2, 3))


def ssim_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Compute the first two terms of Eq. (10): `(1 - SSIM(f, rgb)) / 2 + (1 - SSIM(f, ir)) / 2`, on luma.

    Images in [0, 1], (B, 1 or 3, H, W), and (B, 1, H, W) for infrared -> ().
    """
    luma = rgb_to_luma(fused)
    return ((1 - ssim(luma, rgb_to_luma(visible))) / 2 + (1 - ssim(luma, infrared)) / 2).mean()


def gradient_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Compute the last term of Eq. (10): L1 distance between the fused gradient and the larger source gradient.

    Images in [0, 1], (B, C, H, W), and (B, 1, H, W) for infrared -> ().
    """
    target = torch.maximum(sobel_magnitude(infrared), sobel_magnitude(visible))
    return F.l1_loss(sobel_magnitude(fused), target)


def intensity_loss(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    target: str = "maximum",
    contrast: float = 1.0,
    floor: float = 0.0,
    undershoot: float = 1.0,
) -> Tensor:
    """Compute the L1 distance between the fused image and an intensity target (ours, not in the paper).

    The target is the element-wise `"maximum"` of both sources, or `"two_scale"`, see [`two_scale_target`]. Images are in
    [0, 1], (B, C, H, W), and (B, 1, H, W) for infrared -> ().

    Raises:
        ValueError: If the target is unknown.
    """
    if target not in ("maximum", "two_scale"):
        raise ValueError(f'`target` must be "maximum" or "two_scale", got {target!r}.')
    if target == "two_scale":
        return F.l1_loss(fused, two_scale_target(visible, infrared, contrast, floor, undershoot))
    return F.l1_loss(fused, torch.maximum(visible, infrared))


def two_scale_target(
    visible: Tensor, infrared: Tensor, contrast: float = 1.0, floor: float = 0.0, undershoot: float = 1.0
) -> Tensor:
    """Fuse smooth parts by brightness and contrast, and details by their energy (ours, a classical target).

    Let B_v and B_i be the images blurred by a Gaussian of sigma 4, and D_v and D_i the remaining details. The target is

        (max(B_v, B_i) + m + contrast * (B_v + B_i - 2 m)) / 2  +  w D_v + (1 - w) D_i

    where m is the mean of B_v and B_i over the image, and w = e_v^2 / (e_v^2 + e_i^2) compares local energies e of the
    details. With contrast 1/2, the second half of the smooth part is the mean of both; with 1, it is their centered sum. The
    smooth part is raised to at least `floor` times the mean of B_v and B_i, because a high contrast turns dark areas black. No
    pixel is darker by more than `undershoot` than the smooth part of images that are not blurred, because blur makes
    dark rims around hot objects.

    (B, C, H, W) and (B, 1 or C, H, W) for infrared -> (B, C, H, W), all in [0, 1].
    """
    smooth_visible, smooth_infrared = _blur(visible, BASE_SIGMA), _blur(infrared, BASE_SIGMA)
    total = smooth_visible + smooth_infrared
    mean = total.mean(dim=(-2, -1), keepdim=True) / 2

    def base_of(first: Tensor, second: Tensor) -> Tensor:
        return (torch.maximum(first, second) + mean + contrast * (first + second - 2 * mean)) / 2

    base = base_of(smooth_visible, smooth_infrared)
    if floor:
        base = torch.maximum(base, floor * total / 2)
    visible_detail, infrared_detail = visible - smooth_visible, infrared - smooth_infrared
    visible_energy, infrared_energy = (_blur(part**2, ENERGY_SIGMA) ** 2 for part in (visible_detail, infrared_detail))
    share = visible_energy / (visible_energy + infrared_energy).clamp(min=1e-12)
    target = base + share * visible_detail + (1 - share) * infrared_detail
    if undershoot < 1:
        target = torch.maximum(target, base_of(visible, infrared).clamp(0, 1) - undershoot)
    return target.clamp(0, 1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian that is renormalized at the border: (B, C, H, W) -> (B, C, H, W)."""
    rows, columns = (_square_gaussian_matrix(size, sigma, image) for size in image.shape[-2:])
    with torch.autocast(image.device.type, enabled=False):
        return rows @ image @ columns.mT


def _square_gaussian_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    position = torch.arange(size, dtype=like.dtype, device=like.device)
    weights = torch.exp(-((position - position[:, None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)


def segmentation_loss(
    logits: Tensor, labels: Tensor, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Compute L_ss, Eq. (11): pixel-wise cross-entropy, with weights of the classes as an option (ours).

    Logits (B, num_labels, H, W), integer labels (B, H, W) -> (): weighted mean; 0, not NaN as in torch, if all pixels are
    ignored.
    """
    labels = labels.long()
    weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32, device=logits.device)
    total = F.cross_entropy(logits.float(), labels, weights, ignore_index=ignore_index, reduction="sum")
    mass = label_mass(labels, ignore_index, class_weights)
    return total / mass.where(mass > 0, 1)


def label_mass(labels: Tensor, ignore_index: int = 255, class_weights: Sequence[float] | None = None) -> Tensor:
    """Return the divisor of [`segmentation_loss`]: the number of labeled pixels, or the sum of their weights."""
    counted = labels != ignore_index
    if class_weights is None:
        return counted.sum()
    weights = torch.tensor(class_weights, dtype=torch.float32, device=labels.device)
    return (weights[labels.where(counted, 0).long()] * counted).sum()


def total_loss(structural: Tensor, segmentation: Tensor | None, segmentation_weight: float) -> Tensor:
    """Compute L_total, Eq. (12): `L_st + lambda * L_ss`; L_st alone without labels."""
    return structural if segmentation is None else structural + segmentation_weight * segmentation
