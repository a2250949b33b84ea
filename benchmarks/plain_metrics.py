"""The definitions of the fusion metrics in plain NumPy and SciPy, one image at a time: for `metric_suite.py` and the tests."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, sobel
from scipy.signal import convolve2d

Image = NDArray[np.float64]
# Weighted mean of an image in each window inside it, given the weights along one side of the window.
WindowMean = Callable[[Image, Image], Image]

EPSILON = 1e-10

# --- Windows: as in published programs, and the fastest that SciPy offers ---------------------------------------------


def whole_windows(image: Image, side: Image) -> Image:
    return convolve2d(image, np.outer(side, side), mode="valid")


def separable_windows(image: Image, side: Image) -> Image:
    margin = len(side) // 2
    rows = correlate1d(image, side, axis=0)[margin:-margin]
    return correlate1d(rows, side, axis=1)[:, margin:-margin]


def gaussian_side(size: int, sigma: float) -> Image:
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def moments(mean: WindowMean, first: Image, second: Image, side: Image) -> tuple[Image, Image, Image, Image, Image]:
    """Return the means, the variances and the covariance of both images in each window."""
    first_mean, second_mean = mean(first, side), mean(second, side)
    first_variance = mean(first**2, side) - first_mean**2
    second_variance = mean(second**2, side) - second_mean**2
    covariance = mean(first * second, side) - first_mean * second_mean
    return first_mean, second_mean, first_variance, second_variance, covariance


# --- The definitions, each on its own ---------------------------------------------------------------------------------


def entropy_of(counts: NDArray[np.float64]) -> float:
    probabilities = counts[counts > 0] / counts.sum()
    return float(-(probabilities * np.log2(probabilities)).sum())


def entropies(first: Image, second: Image) -> tuple[float, float, float]:
    """Return the entropy of each image, and their joint entropy, in bits."""
    joint, _, _ = np.histogram2d(first.ravel(), second.ravel(), bins=256, range=((0, 256), (0, 256)))
    return entropy_of(joint.sum(1)), entropy_of(joint.sum(0)), entropy_of(joint)


def en(fused: Image, visible: Image, infrared: Image) -> float:
    return entropy_of(np.histogram(fused, bins=256, range=(0, 256))[0].astype(np.float64))


def mi(fused: Image, visible: Image, infrared: Image) -> float:
    score = 0.0
    for source in (visible, infrared):
        of_fused, of_source, of_both = entropies(fused, source)
        score += of_fused + of_source - of_both
    return score


def nmi(fused: Image, visible: Image, infrared: Image) -> float:
    score = 0.0
    for source in (visible, infrared):
        of_fused, of_source, of_both = entropies(fused, source)
        score += 2 * (of_fused + of_source - of_both) / (of_fused + of_source)
    return score


def sd(fused: Image, visible: Image, infrared: Image) -> float:
    return float(fused.std())


def sf(fused: Image, visible: Image, infrared: Image) -> float:
    return math.sqrt((np.diff(fused, axis=0) ** 2).mean() + (np.diff(fused, axis=1) ** 2).mean())


def ag(fused: Image, visible: Image, infrared: Image) -> float:
    vertical, horizontal = np.gradient(fused)
    return float(np.sqrt((vertical**2 + horizontal**2) / 2).mean())


def correlation(first: Image, second: Image) -> float:
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def cc(fused: Image, visible: Image, infrared: Image) -> float:
    return (correlation(fused, visible) + correlation(fused, infrared)) / 2


def scd(fused: Image, visible: Image, infrared: Image) -> float:
    return correlation(fused - infrared, visible) + correlation(fused - visible, infrared)


def mse(fused: Image, visible: Image, infrared: Image) -> float:
    return float(((fused - visible) ** 2).mean() + ((fused - infrared) ** 2).mean()) / 2


def psnr(fused: Image, visible: Image, infrared: Image) -> float:
    return 10 * math.log10(255**2 / mse(fused, visible, infrared))


def fidelity_scales(*images: Image, mean: WindowMean) -> Iterator[tuple[Image, tuple[Image, ...]]]:
    """Yield the window and the images of the four scales of VIF."""
    for size in (17, 9, 5, 3):
        side = gaussian_side(size, size / 5)
        if size < 17:
            images = tuple(mean(image, side)[::2, ::2] for image in images)
        yield side, images


def channel(mean: WindowMean, source: Image, fused: Image, side: Image) -> tuple[Image, Image, Image, Image]:
    """Return gain, explained and residual variance of the model `fused = gain * source + residual`, and the variance of the source."""
    _, _, source_variance, fused_variance, covariance = moments(mean, source, fused, side)
    source_variance[source_variance < EPSILON] = 0
    fused_variance[fused_variance < EPSILON] = 0
    covariance[(covariance < EPSILON) | (source_variance == 0) | (fused_variance == 0)] = 0
    gain = covariance / (source_variance + EPSILON)
    explained = gain * covariance
    return gain, explained, np.maximum(fused_variance - explained, EPSILON), source_variance


def vif(fused: Image, visible: Image, infrared: Image, mean: WindowMean) -> float:
    score = 0.0
    for original in (visible, infrared):
        kept = available = 0.0
        for side, (source_level, fused_level) in fidelity_scales(original, fused, mean=mean):
            _, explained, residual, variance = channel(mean, source_level, fused_level, side)
            kept += np.log(1 + explained / (residual + 2)).sum()
            available += np.log(1 + variance / 2).sum()
        score += kept / available
    return score


def viff(fused: Image, visible: Image, infrared: Image, mean: WindowMean) -> float:
    noise, score = 0.005 * 255**2, 0.0
    scales = fidelity_scales(fused, visible, infrared, mean=mean)
    for weight, (side, (fused_level, *sources)) in zip((1, 0, 0.15, 1), scales, strict=True):
        if weight == 0:
            continue
        from_visible, from_infrared = (channel(mean, source, fused_level, side) for source in sources)
        takes_infrared = from_infrared[0] < from_visible[0]
        explained, residual, variance = (
            np.where(takes_infrared, infrared_part, visible_part)
            for visible_part, infrared_part in zip(from_visible[1:], from_infrared[1:], strict=True)
        )
        kept = (np.log(1 + explained / (residual + noise)) + 1e-7).sum()
        score += weight / 2.15 * kept / (np.log(1 + variance / noise) + 1e-7).sum()
    return float(score)


def edges(image: Image, border: Literal["constant", "mirror"]) -> tuple[Image, Image]:
    """Return the strength and angle of the Sobel edge at each pixel."""
    x, y = -sobel(image, axis=1, mode=border), sobel(image, axis=0, mode=border)
    vertical = x == 0
    angle = np.arctan(y / np.where(vertical, 1, x))
    angle[vertical] = math.pi / 2
    return np.sqrt(x**2 + y**2), angle


def strength_ratio(first: Image, second: Image) -> Image:
    stronger = np.maximum(first, second)
    return np.minimum(first, second) / np.where(stronger == 0, 1, stronger)


def logistic(slope: float, values: Image) -> Image:
    return 1 / (1 + np.exp(-slope * values))


def qabf(fused: Image, visible: Image, infrared: Image) -> float:
    kept = weights = 0.0
    fused_strength, fused_angle = edges(fused, "constant")
    for source in (visible, infrared):
        strength, angle = edges(source, "constant")
        agreement = 1 - np.abs(angle - fused_angle) / (math.pi / 2)
        of_strength = 0.9994 * logistic(15, strength_ratio(strength, fused_strength) - 0.5)
        quality = of_strength * 0.9879 * logistic(22, agreement - 0.8)
        kept += (quality * strength).sum()
        weights += strength.sum()
    return kept / weights


def nabf(fused: Image, visible: Image, infrared: Image) -> float:
    fused_strength, fused_angle = edges(fused, "mirror")
    artifacts, weights = np.ones_like(fused, dtype=bool), 0.0
    lost = np.zeros_like(fused)
    for source in (visible, infrared):
        strength, angle = edges(source, "mirror")
        agreement = np.abs(np.abs(angle - fused_angle) - math.pi / 2) / (math.pi / 2)
        of_strength = 0.9999 * logistic(19, strength_ratio(strength, fused_strength) - 0.5)
        quality = np.sqrt(of_strength * 0.9995 * logistic(22, agreement - 0.5))
        weight = np.where(strength / 8 < 2, 0.001, (strength / 8) ** 1.5)
        artifacts &= fused_strength > strength
        lost += (1 - quality) * weight
        weights += weight.sum()
    return float(lost[artifacts].sum()) / weights


def similarity(mean: WindowMean, first: Image, second: Image) -> tuple[float, float]:
    """Return the means over all windows of the SSIM and of its contrast-structure factor."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    side = gaussian_side(11, 1.5)
    first_mean, second_mean, first_variance, second_variance, covariance = moments(mean, first, second, side)
    luminance = (2 * first_mean * second_mean + c1) / (first_mean**2 + second_mean**2 + c1)
    structure = (2 * covariance + c2) / (first_variance + second_variance + c2)
    return float((luminance * structure).mean()), float(structure.mean())


def ssim(fused: Image, visible: Image, infrared: Image, mean: WindowMean) -> float:
    return similarity(mean, fused, visible)[0] + similarity(mean, fused, infrared)[0]


def halve(image: Image) -> Image:
    height, width = (length // 2 for length in image.shape)
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def ms_ssim(fused: Image, visible: Image, infrared: Image, mean: WindowMean) -> float:
    score = 0.0
    for source in (visible, infrared):
        first, second, term = fused, source, 1.0
        for weight in (0.0448, 0.2856, 0.3001, 0.2363):
            term *= max(similarity(mean, first, second)[1], 0) ** weight
            first, second = halve(first), halve(second)
        score += term * max(similarity(mean, first, second)[0], 0) ** 0.1333
    return score


PLAIN: Mapping[str, Callable[[Image, Image, Image], float]] = {
    "EN": en,
    "SD": sd,
    "SF": sf,
    "AG": ag,
    "MI": mi,
    "NMI": nmi,
    "CC": cc,
    "SCD": scd,
    "MSE": mse,
    "PSNR": psnr,
    "Qabf": qabf,
    "Nabf": nabf,
}
WINDOWED: Mapping[str, Callable[[Image, Image, Image, WindowMean], float]] = {
    "VIF": vif,
    "VIFF": viff,
    "SSIM": ssim,
    "MS-SSIM": ms_ssim,
}
