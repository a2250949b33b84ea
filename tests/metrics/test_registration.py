import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
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
    register_metric("ME", mean_error, higher_is_better=False, minimum_size=np.int64(20))  # type: ignore[arg-type]
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
    with pytest.raises(ValueError, match="This metric needs 20x20"):
        get_metric("ME").update(*(image[..., :10, :] for image in batches["fusion"]))
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
    assert scores["own"].tolist() == expected and scores["own"].dtype == torch.float64
    assert torch.equal(scores["SCD"], compute_metrics(*images, metrics="SCD")["SCD"])
    assert not get_metric("own")(*images).requires_grad


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda fused: fused.mean(), r"torch.float64 of shape \(\)"),
        (lambda fused: fused.mean((2, 3)), r"torch.float64 of shape \(1, 1\)"),
        (lambda fused: fused.amax((1, 2, 3)) > 9, r"torch.bool of shape \(1,\)"),
        (lambda fused: fused.mean((1, 2, 3)) + 1j, r"torch.complex128 of shape \(1,\)"),
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
        (("en", mean_error, True), ValueError, "'en' has another meaning already"),
        (("confusion", mean_error, True), ValueError, "'confusion' has another meaning already"),
        (("notes", mean_error, True), ValueError, "'notes' has another meaning already"),
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
    for size in (0, True, 2.5):
        with pytest.raises(ValueError, match=f"`minimum_size` must be an int of at least 1, got {size}"):
            register_metric("ME", mean_error, True, minimum_size=size)  # type: ignore[arg-type]
    assert before == METRICS


def test_only_the_same_function_is_registered_again(pair: Images) -> None:
    """Also after a change, as in a cell of a notebook that is edited and run again."""
    for value in (1, 2):
        cell = f"def measure(fused, visible, infrared):\n    return torch.full((len(fused),), {value})\n"
        register_metric("own", define(cell), higher_is_better=value == 2)
        assert compute_metrics(*pair, "own")["own"].tolist() == [value]
        assert METRICS["own"].higher_is_better == (value == 2)
    register_metric("partial", partial(mean_error), higher_is_better=True)
    register_metric("partial", partial(mean_error), higher_is_better=False)
    for name, other in (("own", mean_error), ("partial", partial(erase))):
        with pytest.raises(ValueError, match=f"'{name}' has another meaning already: choose another name"):
            register_metric(name, other, higher_is_better=True)


def test_errors_about_functions_without_a_name_say_what_to_do(pair: Images) -> None:
    with pytest.raises(TypeError, match=r"got function; register .* gffusion\.metrics\.register_metric"):
        compute_metrics(*pair, [mean_error])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"^Error names no metric: .* gffusion\.metrics\.register_metric"):
        Error()
    with pytest.raises(ValueError, match=r"Unknown metric 'ME': register it with gffusion\.metrics\.register_metric"):
        type("Other", (FusionMetric,), {}, metric="ME")


def test_functions_without_a_signature(pair: Images) -> None:
    """As some that are written in C."""
    register_metric("sum", torch.addcmul, True)
    with pytest.raises(TypeError, match=r"^sum: the function must return"):
        compute_metrics(*pair, "sum")


class Scaled:
    """A metric with a value of its own."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self, fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
        return self.value * fused.amax((1, 2, 3))


@pytest.mark.parametrize(
    "function",
    [
        lambda fused, visible, infrared: fused.amax((1, 2, 3)),
        partial(mean_error),
        define("def measure(fused, visible, infrared): ..."),
        (lambda value: lambda fused, visible, infrared: value * fused.amax((1, 2, 3)))(2),
        Scaled(2),
        Scaled(2).__call__,
        torch.addcmul,
    ],
)
def test_functions_that_others_can_equal_in_name_and_code_have_no_version(function: Any) -> None:
    with pytest.warns(
        UserWarning, match=r"^`version` of own has no effect, and every evaluation measures .* `def` at the top"
    ):
        register_metric("own", function, True, version=1)
    assert METRICS["own"].version is None


@pytest.mark.parametrize(
    "source",
    [
        "def measure(f, v, i): return f.new_full((1,), {})",
        "def measure(f, v, i): return [f.new_full((1,), {}) for _ in f]",
        "def measure(f, v, i, value={}): return f.new_full((1,), value)",
        "def measure(f, v, i, *, value={}): return f.new_full((1,), value)",
        "@decorate({})\ndef measure(f, v, i): return f.new_full((1,), 1)",
    ],
)
def test_the_version_changes_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """That of the function which is loaded, of which the file may have changed."""
    module, path, versions = ModuleType("own_metric"), tmp_path / "own_metric.py", []
    monkeypatch.setitem(sys.modules, "own_metric", module)
    module.__dict__["decorate"] = lambda value: (
        lambda function: wraps(function)(lambda *images: value * function(*images))
    )
    for loaded, stored in ((1, 1), (2, 2), (2, 2), (1, 2)):
        path.write_text(source.format(loaded))
        exec(compile(path.read_text(), path, "exec"), module.__dict__)
        path.write_text(source.format(stored))
        register_metric("own", module.__dict__["measure"], True, version=1)
        versions.append(METRICS["own"].version)
    first, second, again, edited = versions
    assert first != second == again and (edited != second or "@" in source)


def test_the_version_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Where sets have another order, and objects other addresses."""
    script = tmp_path / "own_metric.py"
    script.write_text(
        "import torch\nfrom gffusion.metrics import METRICS, register_metric\n"
        "def measure(f, v, i, loss=torch.nn.functional.l1_loss, names=frozenset('abcdef'), scales={'a': (1, torch.float)}):\n"
        "    return f.amax((1, 2, 3)) * ('x' in {'a', 'b', 'c', 'd', 'e', 'f', 'x'})\n"
        "register_metric('own', measure, True, version=1)\nprint(METRICS['own'].version)\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in "12"
    ]
    assert len({run.stdout for run in runs}) == 1 and len(runs[0].stdout.strip()) == 32


def test_decorators_without_source_have_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at a prompt, where nothing is known of their arguments."""
    module = ModuleType("typed")
    monkeypatch.setitem(sys.modules, "typed", module)
    decorator = "def double(function): return wraps(function)(lambda *images: 2 * function(*images))"
    metric = "@double\ndef measure(f, v, i): return f.amax((1, 2, 3))"
    exec(f"from functools import wraps\n{decorator}\n{metric}", module.__dict__)
    with pytest.warns(UserWarning, match=r"^`version` of own has no effect"):
        register_metric("own", module.__dict__["measure"], True, version=1)
