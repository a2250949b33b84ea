"""The steps of a pair are those of `predict`, and what is measured is undone."""

from collections.abc import Callable

import pytest

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.inference import large_images
from gffusion.inference.cpu_funet import get_cpu_funet
from gffusion.inference.measuring import measure_pair


@pytest.mark.parametrize("paradigm", ["cascading", "parallel", "hybrid"])
def test_steps(tiny_model: Callable[..., GFFusionModel], paradigm: str) -> None:
    model = tiny_model(paradigm=paradigm).eval()
    measured = measure_pair(model, GFFusionImageProcessor(), (33, 48), repeats=1)
    encoder = [] if paradigm == "cascading" else ["encoder"]
    assert [step.name for step in measured.steps] == [
        "read",
        "prepare",
        *encoder,
        "FuNet",
        "decode",
        "restore",
        "write",
    ]
    for step in measured.steps:
        assert step.seconds > 0
        assert (step.limit is None) == (step.name in ("read", "write"))
    assert min(vars(measured.rates).values()) > 1e6
    form = get_cpu_funet(model.funet)
    assert form is not None and not {"encode", "decode"} & {*vars(form), *vars(model.funet)}


def test_pairs_that_are_fused_in_tiles_are_refused(
    tiny_model: Callable[..., GFFusionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models of the parallel paradigm fuse pairs of every size without them."""
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1)
    with pytest.raises(ValueError, match="A pair of 33x48 is fused in tiles"):
        measure_pair(tiny_model().eval(), GFFusionImageProcessor(), (33, 48))
    assert measure_pair(tiny_model(paradigm="parallel").eval(), GFFusionImageProcessor(), (33, 48), repeats=1).steps


def test_wrong_arguments(tiny_model: Callable[..., GFFusionModel]) -> None:
    with pytest.raises(ValueError, match="`repeats` at least 1"):
        measure_pair(tiny_model().eval(), GFFusionImageProcessor(), (32, 32), repeats=0)
