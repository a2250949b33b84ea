import pytest
import torch
from metric_tester import Batches

from gffusion.metrics import compute_metrics, filtering
from gffusion.metrics.filtering import local_covariance, strips


def test_saturating_products_end_at_255() -> None:
    image = torch.tensor([[[10.0, 20.0, 20.0]] * 3])
    # squares 100, 255, 255 of mean 610/3, less the square of the mean 50/3
    assert local_covariance(image, image, (1 / 3,) * 3, saturating=True).item() == pytest.approx(610 / 3 - 2500 / 9)


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
