"""Common tests of metrics. A subclass names its metric and computes it by other means."""

import csv
import pickle
import re
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchmetrics import Metric

from gffusion import metrics
from gffusion.metrics import METRICS, PROTOCOLS, compute_metrics, functional, get_metric, to_luma8

Gray = NDArray[np.float64]
Images = tuple[Tensor, Tensor, Tensor]
Batches = dict[str, tuple[Tensor, ...]]

NUM_CLASSES = 5
PUBLISHED = {"published_tno": ("tang2022", 110), "cddfuse_evaluator": ("cddfuse", 90)}  # protocol and number of values
WITH_PUBLISHED = {"EN", "SD", "SF", "AG", "MI", "CC", "SCD", "MSE", "PSNR", "VIF", "Qabf", "SSIM"}


def make_metric(name: str) -> Metric:
    """Create a metric by name, with a number of classes where it needs one."""
    return get_metric(name, **{"num_classes": NUM_CLASSES} if METRICS[name].task == "segmentation" else {})


def compute_in_process(rank: int, folder: Path) -> None:
    """Compute all metrics in one of two processes, on its part of the batches in a folder, and save the values."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    batches, values = torch.load(folder / "batches.pt"), {}
    for name, info in METRICS.items():
        metric = make_metric(name)
        metric.update(*(tensor[rank::2] for tensor in batches[info.task]))
        values[name] = metric.compute()
    torch.save(values, folder / f"values{rank}.pt")
    dist.destroy_process_group()


@cache
def read_published(folder: Path) -> dict[tuple[str, str], list[tuple[Images, float]]]:
    """Return the values that others published, with their images, by protocol and metric."""
    values = defaultdict(list)
    for table, (protocol, count) in PUBLISHED.items():
        with (folder / f"{table}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count
        for row in rows:
            kinds = (f"fused/{row['method']}", "visible", "infrared")
            images = tuple(read(folder / kind / f"{row['image']}.png") for kind in kinds)
            values[protocol, row["metric"]].append((images, float(row["value"])))
    return values


@cache
def read(path: Path) -> Tensor:
    return to_luma8(np.asarray(Image.open(path)))


class MetricTester:
    """Tests of all metrics: the entry of `METRICS`, and the class over batches and pickles.

    Attributes:
        name: Name of the metric.
        task: What it evaluates.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    arguments: ClassVar[dict[str, Any]] = {}

    def function(self, *inputs: Any, **options: Any) -> Tensor:
        """Call the functional form."""
        return METRICS[self.name].functional(*inputs, **self.arguments, **options)

    def expect(self, *batch: Tensor) -> Tensor:
        """Compute what the class shall give for a batch."""
        raise NotImplementedError

    def test_entry(self) -> None:
        info, metric = METRICS[self.name], make_metric(self.name)
        assert (info.name, info.task) == (self.name, self.task)
        assert info.title
        doi = "name the paper, and end with its DOI, as in 'J. W. Roberts, Assessment of image fusion, 2008, doi:10.1117/1.2945910'"
        assert re.search(r"doi:10\.\d+/\S+$", info.reference), f"{self.name}: {doi}"
        assert getattr(metrics, type(metric).__name__) is type(metric)
        assert getattr(functional, info.functional.__name__) is info.functional
        assert metric.higher_is_better is info.higher_is_better

    def test_accumulates_batches(self, batches: Batches) -> None:
        batch = batches[self.task]
        parts = [tuple(tensor[[index]] for tensor in batch) for index in range(3)]
        single, whole, other = (make_metric(self.name) for _ in range(3))
        for part in parts[:2]:
            assert_close(single(*part), self.expect(*part))
        single = pickle.loads(pickle.dumps(single))
        other.update(*parts[2])
        single.merge_state(other)
        whole.update(*batch)
        for metric in (single, whole):
            assert_close(metric.compute(), self.expect(*batch))
        whole.reset()
        whole.update(*parts[2])
        assert_close(whole.compute(), other.compute())


class FusionMetricTester(MetricTester):
    """Tests of metrics of fused images.

    Attributes:
        variants: Options of the functional form for which `reference` is compared.
        tolerance: Relative difference from `reference` that is allowed.
        part: Part of the images that is compared, where `reference` is slow.
    """

    task = "fusion"
    variants: ClassVar[list[dict[str, Any]]] = [{}]
    tolerance = 1e-12
    part: ClassVar[Any] = np.s_[:]

    def reference(self, fused: Gray, visible: Gray, infrared: Gray, **options: Any) -> float:
        """Compute the metric by other means."""
        raise NotImplementedError

    def inputs(self, fused: Any, visible: Any, infrared: Any) -> tuple[Any, ...]:
        return (fused, visible, infrared) if METRICS[self.name].needs_sources else (fused,)

    def expect(self, *batch: Tensor) -> Tensor:
        return self.function(*self.inputs(*batch)).mean()

    def test_equals_reference(self, arrays: tuple[Gray, Gray, Gray]) -> None:
        arrays = tuple(image[self.part] for image in arrays)
        for options in self.variants:
            values = self.function(*self.inputs(*map(torch.from_numpy, arrays)), **options)
            assert values.shape == (1,) and values.dtype == torch.float64
            assert values.item() == pytest.approx(self.reference(*arrays, **options), rel=self.tolerance), options

    def test_published_values(self, data_dir: Path) -> None:
        folder = data_dir / "metrics_reference"
        if not folder.is_dir():
            pytest.skip(f"no reference values at {folder}")
        found = {protocol: read_published(folder)[protocol, self.name] for protocol in PROTOCOLS}
        assert any(found.values()) == (self.name in WITH_PUBLISHED)
        for protocol, values in found.items():
            for images, value in values:
                score = compute_metrics(*images, metrics=[self.name], protocol=protocol)[self.name]
                assert score.item() == pytest.approx(value, rel=2e-5), protocol

    def test_protocols(self, pair: Images) -> None:
        for name, protocol in PROTOCOLS.items():
            if self.name in protocol.options:
                metric = get_metric(self.name, name)
                metric.update(*pair)
                assert_close(metric.compute(), compute_metrics(*pair, [self.name], name)[self.name][0])
                assert metric.settings == protocol.options[self.name]

    def test_range(self, batches: Batches) -> None:
        low, high = METRICS[self.name].value_range
        black, white = torch.zeros(1, 1, 181, 180), torch.full((1, 1, 181, 180), 255)
        noise = torch.randint(0, 2, (1, 1, 181, 180), generator=torch.Generator().manual_seed(0)) * 255
        extremes = (noise, white, black), (white, black, noise), (black, noise, noise), (noise, noise, noise)
        for images in (batches["fusion"], *extremes):
            values = self.function(*self.inputs(*images))
            assert ((low <= values) & (values <= high + 1e-12)).all(), values

    def test_direction(self, pair: Images) -> None:
        _, visible, infrared = pair
        fused = ((visible + infrared) / 2).floor()
        noise = torch.randint(-60, 61, fused.shape, generator=torch.Generator().manual_seed(0))
        noisy = [(fused + part * noise).clamp(0, 255) for part in (0, 0.3, 1)]
        values = [self.function(*self.inputs(image, visible, infrared)) for image in noisy]
        # Metrics of the fused image alone take noise for detail.
        expected = METRICS[self.name].higher_is_better and METRICS[self.name].needs_sources
        assert all((less_noisy > noisier).item() == expected for less_noisy, noisier in pairwise(values))

    def test_minimum_size(self) -> None:
        size = METRICS[self.name].minimum_size
        image = torch.randint(0, 256, (size, size + 5), generator=torch.Generator().manual_seed(0))
        assert not self.function(*self.inputs(image, image, image)).isnan()
        if size > 1:
            with pytest.raises(ValueError, match=f"{size - 1}x{size + 5} pixels. This metric needs {size}x{size}"):
                self.function(*self.inputs(image[1:], image[1:], image[1:]))
            with pytest.raises(ValueError, match=f"{self.name}: Got images of {size - 1}x{size + 5} pixels"):
                compute_metrics(image[1:], image[1:], image[1:], self.name)

    def test_types_and_rounding(self) -> None:
        size = max(METRICS[self.name].minimum_size, 16)
        image = torch.randint(0, 100, (size, size), generator=torch.Generator().manual_seed(0)) * 2
        images = self.inputs(image, image // 2, image.flip(0))
        expected = self.function(*images)
        for dtype in (torch.uint8, torch.uint16, torch.float16, torch.float32):
            values = self.function(*(image.to(dtype) for image in images))
            assert values.dtype == torch.float64
            assert torch.equal(values, expected)
        assert torch.equal(self.function(*(image + 0.49 for image in images)), expected)  # fractions are rounded

    def test_outputs_of_networks_without_gradients(self, pair: Images) -> None:
        outputs = tuple(image.clone().requires_grad_() for image in pair)
        expected = self.function(*self.inputs(*pair))
        values = self.function(*self.inputs(*outputs)), compute_metrics(*outputs, self.name)[self.name]
        for value in (*values, get_metric(self.name)(*outputs).reshape(1)):
            assert_close(value, expected)
            assert not value.requires_grad

    def test_rejects(self) -> None:
        image = torch.zeros(180, 180)
        for fused, message in (
            (None, "fused must be a tensor, got NoneType"),
            (np.zeros((180, 180)), "fused must be a tensor, got ndarray"),
            (torch.zeros(1, 3, 180, 180), "convert color with `to_luma8`"),
            (torch.zeros(3, 180, 180), "convert color with `to_luma8`"),
            (torch.zeros(0, 1, 180, 180), "fused is empty"),
            (torch.full((180, 180), torch.nan), "fused holds NaN"),
            (torch.full((180, 180), torch.inf), "fused has values from inf to inf"),
            (torch.full((180, 180), -1.0), "from -1 to -1"),
            (torch.full((180, 180), 256), "from 256 to 256"),
            (torch.zeros(180, 180, dtype=torch.bool), "fused is torch.bool. Metrics take gray levels"),
            (torch.zeros(180, 180, dtype=torch.complex64), "fused is torch.complex64"),
            (torch.zeros(180, 180, 1), "fused has shape"),
            (torch.rand(180, 180), "fused has fractions between 0 and 1 only"),
        ):
            with pytest.raises(ValueError, match=message):
                self.function(*self.inputs(fused, image, image))
        if METRICS[self.name].needs_sources:
            with pytest.raises(ValueError, match="fused 2x180x180, visible 1x180x180, infrared 1x180x180"):
                self.function(torch.zeros(2, 1, 180, 180), image, image)
            with pytest.raises(ValueError, match=f"{self.name}: visible must be a tensor, got NoneType"):
                get_metric(self.name).update(image)
        with pytest.raises(ValueError, match=r"(?i)unexpected keyword"):
            get_metric(self.name, unknown=3)

    @pytest.mark.gpu
    def test_on_a_gpu(self, batches: Batches) -> None:
        images = self.inputs(*batches["fusion"])
        on_gpu = self.function(*(image.cuda() for image in images))
        torch.testing.assert_close(on_gpu.cpu(), self.function(*images), rtol=1e-9, atol=0)


class SegmentationMetricTester(MetricTester):
    """Tests of metrics of label maps."""

    task = "segmentation"
    arguments: ClassVar[dict[str, Any]] = {"num_classes": NUM_CLASSES}

    def reference(self, predicted: NDArray[np.int64], labels: NDArray[np.int64], ignore_index: int = 255) -> Any:
        """Compute the metric by other means."""
        raise NotImplementedError

    def expect(self, *batch: Tensor) -> Tensor:
        return self.function(*batch)

    def test_equals_reference(self, batches: Batches) -> None:
        logits, labels = batches["segmentation"]
        predicted = logits.argmax(1)
        for options in ({}, {"ignore_index": 1}):
            labels = labels.where(labels != 255, torch.tensor(options.get("ignore_index", 255)))
            expected = pytest.approx(self.reference(predicted.numpy(), labels.numpy(), **options), nan_ok=True)
            assert self.function(logits, labels, **options).tolist() == expected
            assert self.function(predicted, labels, **options).tolist() == expected

    @pytest.mark.parametrize(
        ("prediction", "labels", "message"),
        [
            (torch.zeros(1, 5, 4, 4), torch.zeros(1, 4, 4), "labels must be integers"),
            (torch.zeros(1, 5, 4, 4), torch.zeros(4, 4, dtype=torch.long), "labels must be integers of shape"),
            (torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), r"\(B, 5, H, W\), got \(1, 4, 4, 4\)"),
            (np.zeros((1, 4, 4), int), torch.zeros(1, 4, 4, dtype=torch.long), "logits must be a tensor .*, got int64"),
            (
                torch.zeros(1, 4, 4, dtype=torch.long),
                torch.zeros(1, 4, 4, dtype=torch.cfloat),
                "labels must be a tensor",
            ),
            (torch.zeros(1, 5, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long), "resize the logits to the labels"),
            (torch.full((1, 5, 4, 4), torch.nan), torch.zeros(1, 4, 4, dtype=torch.long), "NaN"),
            (torch.zeros(1, 5, 4, 4), torch.full((1, 4, 4), 5), "labels go from 5 to 5. Allowed are 0 to 4"),
            (torch.full((1, 4, 4), 5), torch.zeros(1, 4, 4, dtype=torch.long), "Predicted labels go from 5 to 5"),
        ],
    )
    def test_rejects(self, prediction: Tensor, labels: Tensor, message: str) -> None:
        for compute in (self.function, make_metric(self.name).update):
            with pytest.raises(ValueError, match=message):
                compute(prediction, labels)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(
        actual, expected, rtol=1e-6 if actual.dtype == torch.float32 else 1e-12, atol=0, equal_nan=True
    )
