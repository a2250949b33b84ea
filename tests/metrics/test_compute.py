import math
import pickle
import re
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metric_tester import Batches, Images, assert_close, make_metric
from pretended_devices import OnMps
from torchmetrics import Metric, MetricCollection

from gffusion import metrics
from gffusion.metrics import METRICS, PROTOCOLS, compute_metrics, functional, get_metric, list_metrics, to_luma8
from gffusion.metrics.classes import CLASSES
from gffusion.metrics.names import suggest
from gffusion.metrics.protocols import Protocol, find_minimum_size

TESTS = Path(__file__).parents[1]
# Imports everything once, and forks two processes.
COMPUTE = """
import sys
from pathlib import Path
import torch
from metric_tester import compute_in_process
torch.multiprocessing.start_processes(compute_in_process, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
"""


def test_lists() -> None:
    assert list_metrics("segmentation") == ["mIoU", "IoU", "Acc"]
    assert [*list_metrics(), *list_metrics("segmentation")] == list(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_imported_and_is_tested(name: str) -> None:
    """A tester names its metric, see `FusionMetricTester`."""
    assert name in CLASSES, f"add a class with metric={name!r} to gffusion/metrics/classes.py"
    names = CLASSES[name].__name__, METRICS[name].functional.__name__
    exported = zip((metrics, functional), names, strict=True)
    missing = [f"{module.__name__}.__all__: {item}" for module, item in exported if item not in module.__all__]
    assert not missing, f"add to {missing}"
    tested = {
        text
        for file in Path(__file__).parent.glob("test_*.py")
        for text in re.findall(r'^    name = "(.+)"$', file.read_text("utf-8"), re.MULTILINE)
    }
    assert name in tested, f"add a subclass of FusionMetricTester with name = {name!r} to a file in tests/metrics/"


def test_importing_loads_neither_torchmetrics_nor_transformers(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    script = (
        "import sys, gffusion.metrics; print({'torchmetrics', 'transformers', 'scipy', 'skimage'} & {*sys.modules})"
    )
    assert run_script(script).stdout == "set()\n"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_suite_equals_the_functional_forms(protocol: str, batches: Batches) -> None:
    batch = batches["fusion"]
    copies = [images.clone() for images in batch]
    scores = compute_metrics(*batch, protocol=protocol)
    assert list(scores) == list(PROTOCOLS[protocol].options)
    for name, values in scores.items():
        inputs = batch if METRICS[name].needs_sources else batch[:1]
        expected = METRICS[name].functional(*inputs, **PROTOCOLS[protocol].options[name])
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=0)
    assert all(map(torch.equal, batch, copies))


def test_standard_has_every_fusion_metric_with_its_defaults() -> None:
    assert PROTOCOLS["standard"].options == {name: {} for name in list_metrics()}


def test_tang2023_is_tang2022_in_double_precision(pair: Images) -> None:
    before, after, ours = (compute_metrics(*pair, protocol=name) for name in ("tang2022", "tang2023", "standard"))
    assert all(after[name] == ours[name] for name in ("SD", "SF", "VIF"))
    assert all(after[name] != before[name] for name in ("SD", "SF", "VIF", "Qabf"))
    assert all(after[name] == before[name] for name in ("EN", "AG", "MI", "CC", "SCD", "MSE", "PSNR"))


def test_images_on_mps(pair: Images) -> None:
    """It has no float64."""
    on_mps = tuple(image.float().as_subclass(OnMps) for image in pair)
    values = compute_metrics(*on_mps)
    for name, expected in compute_metrics(*pair).items():
        assert torch.equal(values[name], expected) and type(values[name]) is torch.Tensor
        metric = get_metric(name)
        metric.update(*on_mps)
        assert_close(metric.compute(), expected.mean())
    image = torch.rand(3, 9, 9)
    assert torch.equal(to_luma8(image.as_subclass(OnMps)), to_luma8(image))


def test_says_what_is_wrong(pair: Images) -> None:
    with pytest.raises(TypeError, match="the name of one metric, got"):
        get_metric(["EN"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`metrics` must be a name or a list of names, got 3"):
        compute_metrics(*pair, [3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"^visible is a tensor of layout torch\.sparse_coo"):
        compute_metrics(pair[0], pair[1].to_sparse(), pair[2])
    with pytest.raises(ValueError, match=r"protocol 'tang2022' has no fusion metric 'SSIM'. Allowed are EN"):
        compute_metrics(*pair, ["SSIM"], protocol="tang2022")
    with pytest.raises(ValueError, match="Allowed are standard, tang2022, tang2023, cddfuse"):
        compute_metrics(*pair, protocol="tang2024")
    with pytest.raises(ValueError, match="Unknown protocol 'xyz'"):
        get_metric("mIoU", protocol="xyz", num_classes=3)
    with pytest.raises(ValueError, match="Allowed are 'fusion' and 'segmentation'"):
        list_metrics("detection")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "option", "value", "allowed"),
    [
        ("SSIM", "window", "x", "'gaussian' or 'uniform'"),
        ("AG", "divisor", None, "'pixels' or 'intervals'"),
        ("MI", "unit", "bit", "'bits' or 'nats'"),
        ("VIF", "saturating", 1, "True or False"),
        ("SD", "saturating", "yes", "True or False"),
        ("SF", "data_range", 0, "a number greater than 0"),
        ("SSIM", "data_range", "255", "a number greater than 0"),
        ("MS-SSIM", "data_range", math.nan, "a number greater than 0"),
        ("MI", "saturating", None, "True or False"),
        ("MSE", "data_range", True, "a number greater than 0"),
        ("PSNR", "peak", "fuse", "a number greater than 0 or 'fused'"),
        ("Qabf", "tie_range", math.inf, "a number greater than 0 or None"),
        ("mIoU", "num_classes", "3", "an int of at least 2"),
        ("Acc", "num_classes", 3.5, "an int of at least 2"),
        ("IoU", "num_classes", 1, "an int of at least 2, the background included"),
    ],
)
def test_wrong_options_are_refused(name: str, option: str, value: Any, allowed: str) -> None:
    """When a metric is made, and by its function before the images are looked at."""
    message = rf"`{option}` must be {allowed}.*, got {value!r}\.$"
    with pytest.raises(ValueError, match=rf"^({name}: )?{message}"):
        get_metric(name, **{option: value})
    inputs = (None,) * (3 if METRICS[name].needs_sources else 2 if option == "num_classes" else 1)
    with pytest.raises(ValueError, match=rf"^{message}"):
        METRICS[name].functional(*inputs, **{option: value})


@pytest.mark.parametrize("metrics", [["EN"], ["SCD", "EN", "VIF"]])
@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, torch.uint16])
def test_warns_about_one_image_rounded_in_the_range_0_to_1(
    pair: Images, metrics: list[str], dtype: torch.dtype, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    visible, infrared = pair[1:]
    batch = [torch.stack([image, image])[:, None].to(dtype) for image in (visible, visible, infrared)]
    compute_metrics(*batch, metrics)
    assert not recwarn
    batch[0][1] = (visible / 255).round()
    compute_metrics(*batch, metrics)
    assert [str(warning.message)[:34] for warning in recwarn] == ["A fused image holds only 0 and 1, "]


def test_classes_and_functions_warn_about_the_range_0_to_1(pair: Images) -> None:
    binary = (pair[1] / 255).round()
    for measure in (get_metric("SCD").update, METRICS["SCD"].functional):
        with pytest.warns(UserWarning, match="holds only 0 and 1, but its sources are brighter"):
            measure(binary, *pair[1:])
        source = torch.zeros_like(binary)
        source[: len(source) // 20] = 100  # a small part, which is not white
        with pytest.warns(UserWarning, match="holds only 0 and 1, but its sources are brighter"):
            measure(binary, source, source)


@pytest.mark.parametrize("case", ["black", "dark sources", "binary sources", "a hot pixel"])
def test_images_of_0_and_1_that_may_be_right(pair: Images, case: str, recwarn: pytest.WarningsRecorder) -> None:
    binary = (pair[1] / 255).round()
    sources = {"black": pair[1], "dark sources": binary * 15, "binary sources": binary, "a hot pixel": binary.clone()}
    sources["a hot pixel"][0, 0] = 255
    compute_metrics(binary * (case != "black"), sources[case], binary, ["EN", "SCD"])
    assert not recwarn


def test_options_override_those_of_a_protocol(pair: Images) -> None:
    metric = get_metric("MI", protocol="cddfuse", unit="bits")
    torch.testing.assert_close(metric(*pair), compute_metrics(*pair, "MI")["MI"][0])
    qabf = get_metric("Qabf", protocol="cddfuse", tie_range=None)
    torch.testing.assert_close(qabf(*pair), compute_metrics(*pair, "Qabf")["Qabf"][0])
    assert get_metric("PSNR", data_range=np.float32(1), peak=255).settings == {"data_range": 1, "peak": 255}
    assert get_metric("MSE", data_range=torch.tensor(255.0)).settings == {"data_range": 255}


def test_plots_the_mean(pair: Images) -> None:
    metric = get_metric("EN")
    metric.update(*pair)
    _, axes = metric.plot()
    assert axes.lines[0].get_ydata()[0] == metric.compute()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("en", " Did you mean EN? Allowed are EN, SD"),
        ("Q_abf", " Did you mean Qabf?"),
        ("QAB/F", " Did you mean Qabf?"),
        ("N_abf", " Did you mean Nabf?"),
        ("MSSSIM", " Did you mean MS-SSIM?"),
        ("MS_SSIM", " Did you mean MS-SSIM?"),
        ("entropy", " Did you mean EN?"),
        ("XY", " Allowed are EN, SD"),
        (
            "FMI_pixel",
            " FMI is missing, because published programs use different features for it; MI and NMI are similar. Allowed are",
        ),
        ("miou", ' mIoU is a metric of label maps, .*get_metric."mIoU", num_classes=...\\)` creates\\. Allowed are'),
    ],
)
def test_hints_at_similar_names(pair: Images, name: str, hint: str) -> None:
    for measure in (get_metric, lambda name: compute_metrics(*pair, name)):
        with pytest.raises(ValueError, match=rf"has no fusion metric '{name}'\.{hint}".replace("?", r"\?")):
            measure(name)


def test_hint_at_a_new_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "FMI", METRICS["MI"])  # type: ignore[arg-type]  # a dict
    assert suggest("FMI_w", ["FMI"]) == " Did you mean FMI?"


def test_small_images(pair: Images) -> None:
    """The minimum is that of the protocol, and those metrics are named that a size suits."""
    small = [image[:8] for image in pair]
    with pytest.raises(ValueError, match=r"^VIF: .*8x252 pixels.* 41x41 .* suit the size: `metrics=\['EN', 'MI'\]`"):
        compute_metrics(*small, ["EN", "VIF", "MI", "SSIM"])
    with pytest.raises(ValueError, match=r"^VIF: .* `metrics=\['SSIM'\]`"):
        compute_metrics(*small, ["VIF", "SSIM"], protocol="cddfuse")
    assert compute_metrics(*small, "SSIM", protocol="cddfuse")["SSIM"].isfinite()


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "standard"])
def test_minimum_size_is_that_of_the_function(pair: Images, protocol: str) -> None:
    for name, options in PROTOCOLS[protocol].options.items():
        size = find_minimum_size(protocol, name)
        images = [image[:size, :size] for image in (pair if METRICS[name].needs_sources else pair[:1])]
        assert METRICS[name].functional(*images, **options).shape == (1,)
        if size > 1:
            with pytest.raises(ValueError, match=f"{size}x{size}"):
                METRICS[name].functional(*(image[1:] for image in images), **options)


def test_a_uniform_window_changes_the_minimum_only_of_metrics_that_declare_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, "new", Protocol("", {"VIF": {"window": "uniform"}}))  # type: ignore[arg-type]  # a dict
    assert find_minimum_size("new", "VIF") == 41


def test_one_name_and_all(pair: Images) -> None:
    assert compute_metrics(*pair, "EN") == compute_metrics(*pair, ["EN"])
    assert list(compute_metrics(*pair, "all", protocol="cddfuse")) == list(PROTOCOLS["cddfuse"].options)
    with pytest.raises(ValueError, match="no fusion metric 'all'"):
        get_metric("all")


def make_metrics(kind: str) -> dict[str, Metric]:
    """Create metrics that a collection could take for one."""
    if kind == "names":
        return {name: get_metric(name) for name in ("EN", "SD", "SF", "AG", "MI", "CC")}
    if kind == "protocols":
        return {protocol: get_metric("SD", protocol) for protocol in ("standard", "tang2022")}
    return {
        f"{name}{label}": get_metric(name, num_classes=3, ignore_index=label)
        for name in ("mIoU", "Acc")
        for label in (2, 9)
    }


@pytest.mark.parametrize("kind", ["names", "protocols", "ignored labels"])
def test_a_collection_keeps_metrics_apart_that_are_equal_after_the_first_batch(kind: str, pair: Images) -> None:
    metrics, collection = make_metrics(kind), MetricCollection(make_metrics(kind))
    first, second = (torch.zeros_like(pair[0]),) * 3, pair
    if kind == "ignored labels":
        first = torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]])
        second = torch.tensor([[[2, 1]]]), torch.tensor([[[2, 0]]])
    for batch in (first, second):
        collection.update(*batch)
        for metric in metrics.values():
            metric.update(*batch)
    expected = {name: metric.compute() for name, metric in metrics.items()}
    assert collection.compute() == expected
    assert len({value.item() for value in expected.values()}) == len(expected)
    merged = make_metrics(kind)
    for name, metric in merged.items():
        metric.update(*first)
        other = make_metrics(kind)[name]
        other.update(*second)
        metric.merge_state(other)
        assert pickle.loads(pickle.dumps(metric)).compute() == expected[name]
    with pytest.raises(ValueError, match=r"other settings cannot be merged|instance of"):
        merged[next(iter(merged))].merge_state(other)


@pytest.mark.slow
def test_two_processes_compute_the_metrics_of_all_batches(
    batches: Batches, fork_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    torch.save(batches, tmp_path / "batches.pt")
    done = fork_script(COMPUTE, tmp_path)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        values = torch.load(tmp_path / f"values{rank}.pt")
        for name, info in METRICS.items():
            metric = make_metric(name)
            metric.update(*batches[info.task])
            assert_close(values[name], metric.compute())
