"""Properties of all transforms, and their composition."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from gffusion.data.transforms import (
    Compose,
    Glare,
    Misalignment,
    Night,
    RandomCrop,
    RandomFlip,
    Resize,
    Sample,
    ThermalArtifacts,
    ThermalGain,
    Transform,
    VisiblePhotometric,
)
from gffusion.data.transforms.base import describe_transform

MakeSample = Callable[[int, int], Sample]
INFINITY, NAN = float("inf"), float("nan")

IDLE = [
    RandomFlip(0, 0),
    Resize((8, 9)),
    VisiblePhotometric(),
    ThermalGain(),
    Misalignment(),
    Night(probability=0),
    Glare(probability=0),
]
ACTIVE = [
    RandomCrop((4, 5)),
    RandomCrop((4, 5), scale=(0.5, 2.0)),
    RandomFlip(1, 1),
    RandomFlip(0.5, 0.0),
    RandomFlip(0.5, 0.5),
    Resize((5, 13)),
    VisiblePhotometric(0.5, 0.5, 0.5),
    ThermalGain(0.5, 0.5),
    Misalignment(shift=2, rotation=10, scale=0.1),
    Night(probability=1),
    Glare(probability=1),
    Compose([RandomCrop(4, scale=(0.8, 1.5)), RandomFlip()]),
    Compose([RandomFlip(), Resize(6)]),
]


def forget(sample: Sample, rng: np.random.Generator) -> None:
    sample["infrared"] = 1 - sample["infrared"]


def cut(sample: Sample, rng: np.random.Generator) -> Sample:
    return sample | {"infrared": sample["infrared"][..., 0]}


def fail(sample: Sample, rng: np.random.Generator) -> Sample:
    return len(3)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        (forget, ValueError, r"forget must be a function \(sample, rng\) -> sample, but returns a NoneType"),
        (lambda sample: sample, ValueError, "<lambda> must be .*, but does not take both: .* 2 were given"),
        (cut, ValueError, r"cut must be .* as 'infrared', got a ndarray \(8, 9\)"),
        (fail, TypeError, r"'int' has no len\(\)"),
    ],
)
def test_own_transforms_that_break_the_contract(
    sample: Sample, transform: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Compose([transform])(sample, np.random.default_rng(0))


@pytest.fixture
def sample(noise: MakeSample) -> Sample:
    """A sample of 8 x 9 pixels with labels and boxes."""
    labels = np.random.default_rng(6).integers(0, 9, (8, 9))
    boxes = np.array([[0, 0, 9, 8], [2, 1, 5, 7], [7.5, 0.5, 9, 2]], np.float32)
    return noise(8, 9) | {"labels": labels, "boxes": boxes, "box_classes": np.array([2, 0, 1])}


@pytest.mark.parametrize("transform", IDLE + ACTIVE, ids=lambda transform: type(transform).__name__)
class TestEveryTransform:
    def test_reproducible_and_without_side_effects(self, sample: Sample, transform: Transform) -> None:
        original = {name: array.copy() for name, array in sample.items()}
        for array in sample.values():
            array.flags.writeable = False
        for seed in range(10):
            results = [transform(sample, np.random.default_rng(seed)) for _ in range(2)]
            for name, array in original.items():
                np.testing.assert_array_equal(results[0][name], results[1][name])
                np.testing.assert_array_equal(sample[name], array)

    def test_shapes_dtypes_and_ranges(self, sample: Sample, transform: Transform) -> None:
        for seed in range(10):
            result = transform(sample, np.random.default_rng(seed))
            assert result.keys() == sample.keys()
            height, width = result["visible"].shape[:2]
            for name, channels in (("visible", (3,)), ("infrared", (1,)), ("labels", ())):
                assert result[name].shape == (height, width, *channels)
                assert result[name].dtype == sample[name].dtype
            assert min(result["visible"].min(), result["infrared"].min()) >= 0
            assert max(result["visible"].max(), result["infrared"].max()) <= 1
            assert (result["boxes"].dtype, result["box_classes"].dtype) == (np.float32, np.int64)
            assert result["boxes"].shape == (len(result["box_classes"]), 4)
            assert (result["boxes"][:, :2] < result["boxes"][:, 2:]).all()
            assert 0 <= result["boxes"].min(initial=0) <= result["boxes"].max(initial=0) <= max(height, width)

    def test_pairs_without_labels_and_boxes(self, noise: MakeSample, transform: Transform) -> None:
        assert transform(noise(8, 9), np.random.default_rng(0)).keys() == {"visible", "infrared"}

    def test_variants_is_the_number_of_different_results(self, sample: Sample, transform: Transform) -> None:
        results = (transform(sample, np.random.default_rng(seed)) for seed in range(60))
        different = len({b"".join(array.tobytes() for array in result.values()) for result in results})
        if transform.variants is None:
            assert different > 20
        else:
            assert different == transform.variants


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (VisiblePhotometric, ("brightness", "contrast", "gamma")),
        (ThermalGain, ("gain", "offset")),
        (Misalignment, ("shift", "rotation", "scale")),
    ],
)
def test_each_strength_alone_is_random(noise: MakeSample, kind: Any, names: tuple[str, ...]) -> None:
    """Evaluations leave such transforms out."""
    for name in names:
        transform = kind(**{name: 0.5})
        first, second = (transform(noise(8, 9), np.random.default_rng(seed)) for seed in range(2))
        assert transform.variants is None
        assert any((first[image] != second[image]).any() for image in ("visible", "infrared")), name


@pytest.mark.parametrize("transform", IDLE, ids=lambda transform: type(transform).__name__)
def test_zero_strength_changes_nothing(sample: Sample, transform: Transform) -> None:
    assert transform.variants == 1
    result = transform(sample, np.random.default_rng(0))
    for name, array in sample.items():
        np.testing.assert_allclose(result[name], array, atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "changed"),
    [
        (VisiblePhotometric(0.2, 0.2, 0.2), "visible"),
        (ThermalGain(0.2, 0.1), "infrared"),
        (Misalignment(3, 5, 0.1), "infrared"),
        (Night(1), "visible"),
        (Glare(1), "visible"),
    ],
)
def test_only_one_image_changes(sample: Sample, transform: Transform, changed: str) -> None:
    result = transform(sample, np.random.default_rng(0))
    assert all(result[name] is sample[name] for name in sample if name != changed)
    assert np.abs(result[changed] - sample[changed]).mean() > 0.01


@pytest.mark.parametrize("transform", [Night(0.3), Glare(0.3)])
def test_probability(sample: Sample, transform: Transform) -> None:
    rng = np.random.default_rng(0)
    changed = [transform(sample, rng)["visible"] is not sample["visible"] for _ in range(1000)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("transform", "argument", "values"),
    [
        (RandomCrop, "size", [0, -1, (4, 0)]),
        (partial(RandomCrop, 4), "scale", [(0, 1), (-1, 1), (2, 1), (1, INFINITY), (NAN, 1)]),
        (Resize, "size", [0, (4, -1)]),
        (RandomFlip, "horizontal", [1.5]),
        (RandomFlip, "vertical", [-0.1]),
        (VisiblePhotometric, "brightness", [-0.1]),
        (VisiblePhotometric, "contrast", [1.1]),
        (VisiblePhotometric, "gamma", [1.0]),
        (ThermalGain, "gain", [-0.1, 1.1]),
        (ThermalGain, "offset", [2]),
        (Misalignment, "shift", [-1, INFINITY]),
        (Misalignment, "rotation", [-1, 181]),
        (Misalignment, "scale", [1]),
        (ThermalArtifacts, "probability", [2]),
        (ThermalArtifacts, "quality", [(0, 50), (60, 50)]),
        (ThermalArtifacts, "shift", [-1, 3]),
        (Night, "probability", [1.1]),
        (Night, "exposure", [(0, 1), (0.5, 0.2), (0.5, 2)]),
        (Night, "color_loss", [-0.1]),
        (Night, "full_well", [0]),
        (Night, "read_noise", [-1, NAN]),
        (Glare, "probability", [-0.1]),
        (Glare, "lamps", [0]),
        (Glare, "radius", [(0, 0.1), (0.2, 0.1), (0.1, 2)]),
    ],
)
def test_wrong_arguments(transform: Callable[..., Transform], argument: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"{argument} (must|is).*got {re.escape(str(value))}"):
            transform(**{argument: value})


class TestCompose:
    def test_applies_in_order(self, coordinates: MakeSample) -> None:
        sample = coordinates(8, 8)
        enlarge, crop = RandomCrop(16, scale=(2, 2)), RandomCrop(10)
        assert Compose([enlarge, crop])(sample, np.random.default_rng(0))["labels"].shape == (10, 10)
        with pytest.raises(ValueError, match="crop"):
            Compose([crop, enlarge])(sample, np.random.default_rng(0))

    def test_variants_multiply(self) -> None:
        assert Compose([RandomFlip(0.5, 0.5), Resize(4), RandomFlip()]).variants == 8
        assert Compose([RandomFlip(), ThermalGain(0.1)]).variants is None
        assert Compose([]).variants == 1
        assert len(Compose(RandomFlip() for _ in range(2)).transforms) == 2

    def test_plain_functions(self, noise: MakeSample) -> None:
        swap = Compose([Resize(4), lambda sample, rng: sample | {"infrared": 1 - sample["infrared"]}])
        assert swap(noise(4, 4), np.random.default_rng(0))["visible"].shape == (4, 4, 3)
        assert swap.variants is None


def test_descriptions_are_the_same_in_every_process() -> None:
    """Resumed runs compare them: no addresses of objects, nor arrays."""
    own = partial(forget)
    own.__dict__ |= {"share": 0.5, "range": (1, 2.0), "generator": object(), "table": [np.zeros(9)]}
    assert describe_transform(own) == "partial(share=0.5, range=(1, 2.0))"
