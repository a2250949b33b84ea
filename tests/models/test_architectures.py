"""The common tests of models for every architecture that differs in its networks."""

from collections.abc import Callable

import torch
from model_tester import ModelTester


class TestCascading(ModelTester):
    choices = {"paradigm": "cascading"}
    networks = {"funet", "ssnet"}
    encoders = {"dinov2"}
    taught = {"funet", "ssnet"}  # through the frozen DINOv2


class TestCascadingRgb(TestCascading):
    choices = TestCascading.choices | {"color_space": "rgb"}


class TestCascadingWithoutSegmenter(ModelTester):
    choices = TestCascading.choices | {"use_segmenter": False}
    networks = {"funet"}
    encoders = set()


class TestParallel(ModelTester):
    choices = {"paradigm": "parallel", "merging": "weighted_sum"}
    networks = {"funet", "finet", "ssnet"}
    encoders = {"dinov2"}
    taught = {"ssnet"}  # the sources are segmented


class TestParallelMean(TestParallel):
    choices = TestParallel.choices | {"merging": "mean"}


class TestParallelGroupConv(TestParallel):
    choices = TestParallel.choices | {"merging": "group_conv"}


class TestParallelRgb(TestParallel):
    choices = TestParallelGroupConv.choices | {"color_space": "rgb"}


class TestParallelWithoutSegmenter(ModelTester):
    choices = TestParallelGroupConv.choices | {"use_segmenter": False}
    networks = {"funet", "finet"}
    encoders = {"dinov2"}


class TestHybrid(ModelTester):
    choices = {"paradigm": "hybrid", "merging": "weighted_sum"}
    networks = {"funet", "finet", "ssnet"}
    encoders = {"clip", "dinov2"}
    taught = networks


class TestHybridMean(TestHybrid):
    choices = TestHybrid.choices | {"merging": "mean"}


class TestHybridGroupConv(TestHybrid):
    choices = TestHybrid.choices | {"merging": "group_conv"}
    sizes = [*ModelTester.sizes, (256, 192)]


class TestHybridRgb(TestHybrid):
    choices = TestHybridGroupConv.choices | {"color_space": "rgb"}


class TestHybridWithoutSegmenter(ModelTester):
    choices = TestHybridGroupConv.choices | {"use_segmenter": False}
    networks = {"funet", "finet"}
    encoders = {"clip"}


@torch.no_grad()
def test_torch_export(tiny_model: Callable, make_inputs: Callable, paradigm: str) -> None:
    model, inputs = tiny_model(paradigm=paradigm).eval(), make_inputs() | {"segment": True, "return_dict": False}
    exported = torch.export.export(model, (), inputs).module()
    torch.testing.assert_close(exported(**inputs), model(**inputs))
