"""The steps of a pair are those of `predict`, and what is measured is undone."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.inference import large_images
from gffusion.inference.cpu_funet import get_cpu_funet
from gffusion.inference.measuring import measure_pair


@pytest.mark.parametrize("paradigm", ["cascading", "parallel", "hybrid"])
def test_steps_parameters_and_flop(tiny_model: Callable[..., GFFusionModel], paradigm: str) -> None:
    model = tiny_model(paradigm=paradigm, use_segmenter=False).eval()
    measured = measure_pair(model, GFFusionImageProcessor(), (33, 48), repeats=1)
    encoder = [] if paradigm == "cascading" else ["encoder"]
    names = ["read", "prepare", *encoder, "FuNet", "decode", "restore", "write"]
    assert [step.name for step in measured.steps] == names
    for step in measured.steps:
        assert step.seconds > 0
        assert (step.limit is None) == (step.name in ("read", "write"))
    assert min(vars(measured.rates).values()) > 1e6
    with torch.no_grad():
        form = get_cpu_funet(model)
    assert form is not None and not {"encode", "decode"} & {*vars(form), *vars(model.funet)}
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    frozen = sum(size for name, size in sizes.items() if name.startswith(("clip.", "dinov2.")))
    assert measured.parameters == {"trained": sum(sizes.values()) - frozen, "frozen": frozen}
    assert (frozen > 0) == (paradigm != "cascading")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, 33, 48), torch.rand(1, 1, 33, 48))
    # Two images, three layers of 16 patches and the class token, 32 channels; the counter omits attention on CPUs.
    attention = 0 if paradigm == "cascading" else 2 * 3 * 2 * (2 * 17 * 17 * 32)
    counted = sum(flop for name, flop in counter.get_flop_counts()["Global"].items() if "attention" not in str(name))
    assert measured.flop == counted + attention
    convolutions = [part for part in model.funet.modules() if isinstance(part, torch.nn.Conv2d)]
    by_hand = sum(
        2 * part.weight.numel() * 33 * 48 for part in convolutions
    )  # a multiply-add for each weight and pixel
    by_step = {step.name: step.flop for step in measured.steps if step.flop is not None}
    if paradigm == "cascading":
        assert measured.flop == by_hand
    assert sum(by_step.values()) == measured.flop and by_step["FuNet"] + by_step["decode"] >= by_hand


def test_pairs_that_are_fused_in_tiles_are_refused(
    tiny_model: Callable[..., GFFusionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models of the parallel paradigm fuse pairs of every size without them."""
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1)
    with pytest.raises(ValueError, match="A pair of 33x48 is fused in tiles"):
        measure_pair(tiny_model().eval(), GFFusionImageProcessor(), (33, 48))
    measured = measure_pair(tiny_model(paradigm="parallel").eval(), GFFusionImageProcessor(), (33, 48), repeats=1)
    names = ["read", "prepare", "encoder", "FuNet", "decode", "restore", "write"]  # also of models with a segmenter
    assert [step.name for step in measured.steps] == names


def test_wrong_arguments(tiny_model: Callable[..., GFFusionModel]) -> None:
    with pytest.raises(ValueError, match="`repeats` at least 1"):
        measure_pair(tiny_model().eval(), GFFusionImageProcessor(), (32, 32), repeats=0)
