import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from metric_tester import Batches, Images
from torch import Tensor, nn
from torchmetrics import MetricCollection

from gffusion.metrics import (
    METRICS,
    PROTOCOLS,
    FusionMetric,
    compute_metrics,
    get_metric,
    list_metrics,
    register_metric,
)
from gffusion.metrics.protocols import find_minimum_size


def mean_error(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    return (fused - torch.maximum(visible, infrared)).abs().mean((1, 2, 3))


def erase(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Change the images in place, which must not reach other metrics."""
    for image in (fused, visible, infrared):
        image.zero_()
    return torch.ones(len(fused), dtype=torch.int32)


class Network(nn.Module):
    """A learned metric in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
        assert fused.shape == visible.shape == infrared.shape and fused.dim() == 4
        return self.scale * fused.float().amax((1, 2, 3))


class Error(FusionMetric):
    """Class without a metric."""


def define(source: str) -> Any:
    """Return the function of a cell of a notebook."""
    namespace: dict[str, Any] = {"__name__": "notebook", "torch": torch}
    exec(source, namespace)
    return namespace["measure"]


def test_is_computed_like_other_metrics(batches: Batches) -> None:
    register_metric("ME", mean_error, higher_is_better=False, minimum_size=20)
    fused, visible, infrared = (images.numpy() for images in batches["fusion"])
    expected = np.abs(fused - np.maximum(visible, infrared)).mean((1, 2, 3))
    for protocol in PROTOCOLS:
        scores = compute_metrics(*batches["fusion"], metrics=["ME", "EN"], protocol=protocol)
        assert list(scores) == ["ME", "EN"] and scores["ME"].dtype == torch.float64
        np.testing.assert_allclose(scores["ME"], expected, rtol=1e-12)
        assert find_minimum_size(protocol, "ME") == 20
    assert "ME" in list_metrics() and "ME" not in compute_metrics(*batches["fusion"], "all")
    assert list(compute_metrics(*batches["fusion"], ["ME", "all"]))[-1] == "ME"
    with pytest.raises(ValueError, match=r"^ME: Got images of 10x190 pixels. This metric needs 20x20"):
        compute_metrics(*(image[..., :10, :] for image in batches["fusion"]), metrics="ME")
    with pytest.raises(ValueError, match="Did you mean ME"):
        get_metric("m_e")


def test_is_averaged_like_other_metrics(batches: Batches) -> None:
    register_metric("ME", mean_error, higher_is_better=False)
    register_metric("ME2", mean_error, higher_is_better=False)
    expected = compute_metrics(*batches["fusion"], metrics="ME")["ME"].mean()
    metric = get_metric("ME", protocol="tang2022")
    collection = MetricCollection({name: get_metric(name) for name in ("ME", "ME2", "EN")})
    for measure in (metric.update, collection.update):
        measure(*(images[:2] for images in batches["fusion"]))
        measure(*(images[2:] for images in batches["fusion"]))
    assert isinstance(metric, FusionMetric) and metric.higher_is_better is False
    for copy in (metric, pickle.loads(pickle.dumps(metric))):
        torch.testing.assert_close(copy.compute(), expected)
    torch.testing.assert_close(collection.compute()["ME2"], expected)


@pytest.mark.parametrize(("function", "expected"), [(erase, [1, 1, 1]), (Network(), [510, 510, 254])])
def test_functions_may_change_their_images_and_return_other_numbers(
    batches: Batches, function: Callable[..., Tensor], expected: list[float]
) -> None:
    register_metric("own", function, higher_is_better=True)
    images = batches["fusion"]
    scores = compute_metrics(*images, metrics=["own", "SCD"])
    assert scores["own"].tolist() == expected
    assert torch.equal(scores["SCD"], compute_metrics(*images, metrics="SCD")["SCD"])
    assert not get_metric("own")(*images).requires_grad


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda fused: fused.mean(), r"torch.float64 of shape \(\)"),
        (lambda fused: fused.mean((2, 3)), r"torch.float64 of shape \(1, 1\)"),
        (lambda fused: fused.amax((1, 2, 3)) > 9, r"torch.bool of shape \(1,\)"),
        (lambda fused: fused.mean().item(), "float"),
        (lambda fused: None, "NoneType"),
    ],
)
def test_wrong_results_are_refused(pair: Images, result: Callable[[Tensor], Any], got: str) -> None:
    register_metric("own", lambda fused, visible, infrared: result(fused), higher_is_better=True)
    message = rf"^own: the function must return a tensor of real numbers of shape \(1,\), .* got {got}\.$"
    for measure in (lambda: compute_metrics(*pair, "own"), lambda: get_metric("own").update(*pair)):
        with pytest.raises(TypeError, match=message):
            measure()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("EN", mean_error, True), ValueError, "'EN' has another meaning already"),
        (("mIoU", mean_error, True), ValueError, "'mIoU' has another meaning already"),
        (("all", mean_error, True), ValueError, "'all' has another meaning already"),
        (("loss_ssim", mean_error, True), ValueError, "'loss_ssim' has another meaning already"),
        (("my error", mean_error, True), ValueError, "letters, digits .* got 'my error'"),
        (("a,b", mean_error, True), ValueError, "letters, digits .* got 'a,b'"),
        ((mean_error, "ME", True), TypeError, "`name` must be the name of a metric, got <function"),
        (("ME", "mean_error", True), TypeError, "`function` of ME must be a function .* got 'mean_error'"),
        (("ME", lambda fused: fused, True), TypeError, r"three arguments, .* its parameters are \(fused\)"),
        (("ME", mean_error, "lower"), TypeError, "`higher_is_better` must be True or False, got 'lower'"),
    ],
)
def test_wrong_registrations_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    before = dict(METRICS)
    with pytest.raises(error, match=message):
        register_metric(*arguments)
    assert before == METRICS


def test_only_the_same_function_is_registered_again(pair: Images) -> None:
    """Also after a change, as in a cell of a notebook that is edited and run again."""
    for value in (1, 2):
        cell = f"def measure(fused, visible, infrared):\n    return torch.full((len(fused),), {value})\n"
        register_metric("own", define(cell), higher_is_better=value == 2)
        assert compute_metrics(*pair, "own")["own"].tolist() == [value]
        assert METRICS["own"].higher_is_better == (value == 2)
    with pytest.raises(ValueError, match="'own' has another meaning already: choose another name"):
        register_metric("own", mean_error, higher_is_better=True)


def test_errors_about_functions_without_a_name_say_what_to_do(pair: Images) -> None:
    with pytest.raises(TypeError, match=r"got function; register .* gffusion\.metrics\.register_metric"):
        compute_metrics(*pair, [mean_error])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"^Error names no metric: .* gffusion\.metrics\.register_metric"):
        Error()
    with pytest.raises(ValueError, match=r"Unknown metric 'ME': register it with gffusion\.metrics\.register_metric"):
        type("Other", (FusionMetric,), {}, metric="ME")


def test_functions_without_a_source_or_a_signature(pair: Images) -> None:
    """Functions typed at a prompt have no source, and some written in C have no signature."""
    register_metric("own", define("measure = lambda f, v, i: f.amax((1, 2, 3))"), True, version=1)
    register_metric("sum", torch.addcmul, True)
    with pytest.raises(TypeError, match=r"^sum: the function must return"):
        compute_metrics(*pair, "sum")
    assert compute_metrics(*pair, "own")["own"] == pair[0].amax()
    former = METRICS["own"].version
    register_metric("own", define("measure = lambda f, v, i: f.amax((1, 2, 3))"), True, version=2)
    assert METRICS["own"].version != former
