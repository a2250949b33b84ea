import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gffusion import metrics
from gffusion.metrics import METRICS, PROTOCOLS, FusionMetric, compute_metrics, get_metric, list_metrics, to_luma8

Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

FUSION = list_metrics()


class TestPublishedValues:
    """Every value that others published for the images of the reference folder."""

    @pytest.fixture(scope="class")
    def folder(self, data_dir: Path) -> Path:
        folder = data_dir / "metrics_reference"
        if not folder.is_dir():
            pytest.skip(f"no reference values at {folder}")
        return folder

    @pytest.mark.parametrize(
        ("table", "protocol", "metrics"), [("published_tno", "tang2022", 11), ("cddfuse_evaluator", "cddfuse", 9)]
    )
    @pytest.mark.parametrize("method", ["SeAFusion", "U2Fusion"])
    @pytest.mark.parametrize("image", ["05", "10", "16", "23", "34"])
    def test_are_reproduced(
        self, folder: Path, table: str, protocol: str, metrics: int, method: str, image: str
    ) -> None:
        with (folder / f"{table}.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if (row["image"], row["method"]) == (image, method)]
        assert len(rows) == metrics
        images = (
            to_luma8(np.asarray(Image.open(folder / kind / f"{image}.png")))
            for kind in (f"fused/{method}", "visible", "infrared")
        )
        scores = compute_metrics(*images, metrics=[row["metric"] for row in rows], protocol=protocol)
        for row in rows:
            assert scores[row["metric"]].item() == pytest.approx(float(row["value"]), rel=2e-5), row["metric"]


class TestProtocols:
    def test_standard_has_every_fusion_metric_with_its_defaults(self) -> None:
        assert PROTOCOLS["standard"].options == {name: {} for name in FUSION}

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_classes_and_suite_follow_the_protocol(self, protocol: str, batch: Images) -> None:
        scores = compute_metrics(*batch, protocol=protocol)
        assert list(scores) == list(PROTOCOLS[protocol].options)
        for name, values in scores.items():
            metric = get_metric(name, protocol)
            metric.update(*batch)
            assert metric.compute().item() == pytest.approx(values.mean().item(), rel=1e-12)

    def test_tang2023_is_tang2022_in_double_precision(self, pair: Images) -> None:
        before, after, ours = (compute_metrics(*pair, protocol=name) for name in ("tang2022", "tang2023", "standard"))
        assert all(after[name] == ours[name] for name in ("SD", "SF", "VIF"))
        assert all(after[name] != before[name] for name in ("SD", "SF", "VIF", "Qabf"))
        assert all(after[name] == before[name] for name in ("EN", "AG", "MI", "CC", "SCD", "MSE", "PSNR"))

    def test_the_same_name_has_several_definitions(self, pair: Images) -> None:
        bits, nats = (compute_metrics(*pair, ["MI"], name)["MI"] for name in ("standard", "cddfuse"))
        assert (bits / nats).item() == pytest.approx(1 / math.log(2))


class TestEntries:
    @pytest.mark.parametrize("name", METRICS)
    def test_are_complete(self, name: str) -> None:
        entry = METRICS[name]
        assert entry.name == name
        assert entry.title and "doi:" in entry.reference
        assert entry.higher_is_better in (True, False)
        assert entry.value_range[0] < entry.value_range[1]
        assert getattr(metrics, entry.__name__) is entry

    @pytest.mark.parametrize("name", FUSION)
    def test_values_are_in_range(self, name: str, batch: Images) -> None:
        low, high = METRICS[name].value_range
        black, white = torch.zeros(1, 1, 181, 180), torch.full((1, 1, 181, 180), 255)
        noise = torch.randint(0, 2, (1, 1, 181, 180), generator=torch.Generator().manual_seed(0)) * 255
        for images in (
            batch,
            (noise, white, black),
            (white, black, noise),
            (black, noise, noise),
            (noise, noise, noise),
        ):
            values = compute_metrics(*images, metrics=[name])[name]
            assert ((low <= values) & (values <= high + 1e-12)).all(), values

    @pytest.mark.parametrize("name", FUSION)
    def test_least_size(self, name: str) -> None:
        size = METRICS[name].minimum_size
        image = torch.randint(0, 256, (size, size + 5), generator=torch.Generator().manual_seed(0))
        assert not compute_metrics(image, image, image, [name])[name].isnan()
        if size > 1:
            with pytest.raises(ValueError, match=f"needs {size}x{size}"):
                compute_metrics(image[1:], image[1:], image[1:], [name])

    @pytest.mark.parametrize("name", [name for name in FUSION if METRICS[name].needs_sources])
    def test_direction(self, name: str, pair: Images) -> None:
        _, visible, infrared = pair
        fused = ((visible + infrared) / 2).floor()
        noise = torch.randint(-60, 61, fused.shape, generator=torch.Generator().manual_seed(0))
        values = [
            compute_metrics((fused + part * noise).clamp(0, 255), visible, infrared, [name])[name]
            for part in (0, 0.3, 1)
        ]
        assert all((better > worse).item() == METRICS[name].higher_is_better for better, worse in pairwise(values))

    def test_lists(self) -> None:
        assert list_metrics("segmentation") == ["mIoU", "IoU", "Acc"]
        assert [*FUSION, *list_metrics("segmentation")] == list(METRICS)


@pytest.mark.parametrize("name", FUSION)
class TestClasses:
    def test_states_of_two_processes_add_up(self, name: str, batch: Images) -> None:
        whole, first, second = (get_metric(name) for _ in range(3))
        whole.update(*batch)
        first.update(*(images[:2] for images in batch))
        second.update(*(images[2:] for images in batch))
        first.merge_state(second)
        assert first.compute().item() == pytest.approx(whole.compute().item(), rel=1e-12)
        states = {state: reduction.__name__ for state, reduction in first._reductions.items()}
        assert states == {"total": "dim_zero_sum", "count": "dim_zero_sum"}

    def test_forward_gives_the_batch_and_keeps_the_mean(self, name: str, batch: Images) -> None:
        metric = get_metric(name)
        values = [metric(*(images[index : index + 1] for images in batch)).item() for index in range(3)]
        assert values == pytest.approx(compute_metrics(*batch, [name])[name].tolist(), rel=1e-12)
        assert metric.compute().item() == pytest.approx(np.mean(values))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_on_a_gpu(self, name: str, batch: Images) -> None:
        on_gpu = compute_metrics(*(images.cuda() for images in batch), [name])[name]
        torch.testing.assert_close(on_gpu.cpu(), compute_metrics(*batch, [name])[name], rtol=1e-9, atol=0)


class TestSuite:
    def test_equals_the_functional_forms(self, batch: Images) -> None:
        for name, values in compute_metrics(*batch).items():
            metric = METRICS[name]
            assert issubclass(metric, FusionMetric)
            expected = metric.functional(*(batch if metric.needs_sources else batch[:1]))
            torch.testing.assert_close(values, expected, rtol=1e-12, atol=0)

    def test_takes_single_images(self, pair: Images) -> None:
        assert compute_metrics(*pair, metrics=["SCD"])["SCD"].shape == (1,)

    def test_leaves_its_inputs_alone(self, batch: Images) -> None:
        copies = [images.clone() for images in batch]
        compute_metrics(*batch)
        assert all(map(torch.equal, batch, copies))


def test_says_what_is_wrong(pair: Images) -> None:
    fused, visible, infrared = pair
    with pytest.raises(ValueError, match=r"no fusion metric 'FMI'. It has EN, SD"):
        get_metric("FMI")
    with pytest.raises(ValueError, match=r"protocol 'tang2022' has no fusion metric 'SSIM'. It has EN"):
        compute_metrics(fused, visible, infrared, ["SSIM"], protocol="tang2022")
    with pytest.raises(ValueError, match="Allowed are standard, tang2022, tang2023, cddfuse"):
        compute_metrics(fused, visible, infrared, protocol="tang2024")
    with pytest.raises(ValueError, match="Allowed are 'fusion' and 'segmentation'"):
        list_metrics("detection")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="visible must be a tensor, got NoneType"):
        get_metric("SCD").update(fused)
    with pytest.raises(ValueError, match=r"(?i)unexpected keyword"):
        get_metric("SSIM", sigma=3)
