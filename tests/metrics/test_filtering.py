import numpy as np
import pytest
import torch
from metric_tester import Batches
from scipy import ndimage, signal

from gffusion.metrics import compute_metrics, filtering
from gffusion.metrics.filtering import gaussian_taps, local_covariance, smooth, sobel, strips


@pytest.mark.parametrize("taps", [gaussian_taps(17, 3.4), gaussian_taps(3, 0.6), (1 / 7,) * 7])
def test_smooth_is_a_valid_convolution(taps: tuple[float, ...]) -> None:
    image = np.random.default_rng(0).random((2, 40, 33))
    window = np.outer(taps, taps)
    for stride in (1, 2):
        expected = np.stack([signal.convolve2d(plane, window, "valid")[::stride, ::stride] for plane in image])
        np.testing.assert_allclose(smooth(torch.from_numpy(image), taps, stride), expected, rtol=1e-12)


def test_local_covariance_is_that_of_each_window() -> None:
    first, second = np.random.default_rng(0).integers(0, 256, (2, 9, 9)).astype(float)
    ours = local_covariance(*torch.from_numpy(np.stack([first, second])[:, None]), (1 / 5,) * 5)
    window = np.cov(first[2:7, 1:6].ravel(), second[2:7, 1:6].ravel(), ddof=0)
    assert ours[0, 2, 1] == pytest.approx(window[0, 1])


def test_saturating_products_end_at_255() -> None:
    image = torch.tensor([[[10.0, 20.0, 20.0]] * 3])
    # squares 100, 255, 255 of mean 610/3, less the square of the mean 50/3
    assert local_covariance(image, image, (1 / 3,) * 3, saturating=True).item() == pytest.approx(610 / 3 - 2500 / 9)


def test_sobel_is_the_correlation_of_scipy() -> None:
    image = np.random.default_rng(0).random((20, 21))
    across, down = sobel(torch.from_numpy(image)[None])
    np.testing.assert_allclose(across[0], -ndimage.sobel(image, axis=1)[1:-1, 1:-1], atol=1e-14)
    np.testing.assert_allclose(down[0], ndimage.sobel(image, axis=0)[1:-1, 1:-1], atol=1e-14)


@pytest.mark.parametrize("window", [1, 3, 17])
def test_each_window_lies_in_one_strip(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "_STRIP_PIXELS", 0)
    monkeypatch.setattr(filtering, "_STRIP_ROWS", 4)
    image = torch.arange(30.0).view(1, 30, 1)
    tops = torch.cat([strip[0, : strip.shape[1] - window + 1, 0] for strip in strips(image, window)])
    assert tops.tolist() == list(range(30 - window + 1))


def test_strips_do_not_change_the_metrics(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "_STRIP_PIXELS", 10**9)
    whole = compute_metrics(*batches["fusion"])
    monkeypatch.setattr(filtering, "_STRIP_PIXELS", 0)
    monkeypatch.setattr(filtering, "_STRIP_ROWS", 7)
    for name, values in compute_metrics(*batches["fusion"]).items():
        torch.testing.assert_close(values, whole[name], rtol=1e-12, atol=0)
