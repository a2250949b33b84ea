"""The common tests of models: every paradigm with and without a segmenter, and in each both color spaces and all ways of merging."""

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


class TestParallelGroupConvRgb(TestParallel):
    choices = TestParallel.choices | {"merging": "group_conv", "color_space": "rgb"}


class TestParallelMeanWithoutSegmenter(ModelTester):
    choices = TestParallel.choices | {"merging": "mean", "use_segmenter": False}
    networks = {"funet", "finet"}
    encoders = {"dinov2"}


class TestHybrid(ModelTester):
    choices = {"paradigm": "hybrid", "merging": "weighted_sum"}
    networks = {"funet", "finet", "ssnet"}
    encoders = {"clip", "dinov2"}
    taught = networks


class TestHybridMeanRgb(TestHybrid):
    choices = TestHybrid.choices | {"merging": "mean", "color_space": "rgb"}


class TestHybridGroupConvWithoutSegmenter(ModelTester):
    choices = TestHybrid.choices | {"merging": "group_conv", "use_segmenter": False}
    sizes = [*ModelTester.sizes, (256, 192)]
    networks = {"funet", "finet"}
    encoders = {"clip"}


@torch.no_grad()
def test_torch_export(tiny_model: Callable, make_inputs: Callable, paradigm: str) -> None:
    model, inputs = tiny_model(paradigm=paradigm).eval(), make_inputs() | {"segment": True, "return_dict": False}
    exported = torch.export.export(model, (), inputs).module()
    torch.testing.assert_close(exported(**inputs), model(**inputs))
