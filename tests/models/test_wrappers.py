"""Models of which parts are wrapped, as by `torch.compile`, are saved and loaded as if they were not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from gffusion import GFFusionModel


def compile_part(part: nn.Module) -> Any:
    return torch.compile(part, backend="eager")


WRAPPED: dict[str, tuple[Callable[[nn.Module], Any], list[str]]] = {
    "encoder": (compile_part, ["clip"]),
    "networks": (compile_part, ["funet", "finet", "ssnet"]),
    "nested": (compile_part, ["clip.encoder", "clip", "funet.visible_encoder", "funet"]),
    "parallel": (nn.DataParallel, ["clip.encoder", "clip", "funet.visible_encoder"]),
}


@pytest.fixture(params=WRAPPED)
def wrap(request: pytest.FixtureRequest) -> Callable[[GFFusionModel], GFFusionModel]:
    """Wraps parts of a model."""
    wrapper, names = WRAPPED[request.param]

    def change(model: GFFusionModel) -> GFFusionModel:
        for name in names:
            parent, _, part = name.rpartition(".")
            owner = model.get_submodule(parent)
            setattr(owner, part, wrapper(getattr(owner, part)))
        return model

    return change


@pytest.mark.parametrize(("kind", "gives_weights"), [("slim", False), ("full", False), ("full", True)])
def test_saved_as_the_same_files(
    wrap: Callable[[GFFusionModel], GFFusionModel],
    kind: str,
    gives_weights: bool,
    tiny_model: Callable[..., GFFusionModel],
    tmp_path: Path,
) -> None:
    tiny_model().save_pretrained(tmp_path / "plain", include_backbones=kind == "full")
    model = GFFusionModel.from_pretrained(tmp_path / "plain")
    wrap(model).save_pretrained(tmp_path / "wrapped", state_dict=model.state_dict() if gives_weights else None)
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if "config" not in path.name}
        for name in ("plain", "wrapped")
    ]
    assert files[0] == files[1]
    GFFusionModel.from_pretrained(tmp_path / "wrapped")


def test_state_dicts(wrap: Callable[[GFFusionModel], GFFusionModel], tiny_model: Callable[..., GFFusionModel]) -> None:
    """Weights of a plain model can be loaded into a wrapped one and the other way round, also as parts of other modules."""
    saved = tiny_model().state_dict()
    for model in (wrap(tiny_model()), nn.ModuleList([wrap(tiny_model())])):
        with torch.no_grad():
            for value in model.parameters():
                value += 1
        prefix = "0." if isinstance(model, nn.ModuleList) else ""
        model.load_state_dict({f"{prefix}{name}": value for name, value in saved.items()})
        found = model.state_dict().values()
        assert all(torch.equal(value, expected) for value, expected in zip(found, saved.values(), strict=True))


def test_weights_have_the_names_of_torch(
    wrap: Callable[[GFFusionModel], GFFusionModel], tiny_model: Callable[..., GFFusionModel]
) -> None:
    """Names are those of `named_parameters`, as distributed checkpoints need, also with a part of TorchScript."""
    model = wrap(tiny_model())
    assert dict(model.named_parameters()).keys() <= model.state_dict().keys()
    assert len(get_model_state_dict(model)) == len(tiny_model().state_dict())


def test_part_of_torchscript(tiny_model: Callable[..., GFFusionModel]) -> None:
    model, saved = tiny_model(), tiny_model().state_dict()
    model.ssnet.classifier = torch.jit.script(model.ssnet.classifier)
    model.load_state_dict(saved)
    assert list(model.state_dict()) == list(saved)
