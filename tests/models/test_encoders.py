"""Which encoders a model takes and of what type, and which sources of encoders are published."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_tester import assert_same
from safetensors.torch import load_file
from torch import Tensor, nn

from gffusion import GFFusionModel


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("clip", kind) for kind in ("siglip_vision_model", "siglip", "clip_text_model", "dinov2")),
        # With registers, it has all weights of one without, but its features depend on the registers.
        *(("dinov2", kind) for kind in ("dinov2_with_registers", "dinov3_vit", "clip")),
        *(("dinov2", kind) for kind in (None, "", "vit")),
    ],
)
def test_other_kinds(backbone_folders: dict[str, str], tmp_path: Path, name: str, kind: str | None) -> None:
    folder = tmp_path / "other"
    shutil.copytree(backbone_folders[name], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": kind}))
    found = f"the `model_type` '{kind}'" if kind else "no `model_type`, as those of timm"
    allowed = "'clip' or 'clip_vision_model': CLIPModel" if name == "clip" else "'dinov2': Dinov2Model"
    message = f"other' cannot be the {name} encoder: its config.json has {found}. Allowed is {allowed}"
    with pytest.raises(ValueError, match=message):
        GFFusionModel.from_backbones(**backbone_folders | {name: str(folder)}, segmenter_image_size=[32, 32])
    (folder / "config.json").unlink()
    with pytest.raises(OSError, match=f"{name} encoder .* has no config.json"):
        GFFusionModel.from_backbones(**backbone_folders | {name: str(folder)}, segmenter_image_size=[32, 32])


@pytest.mark.parametrize(
    "entry",
    [
        {"attn_implementation": "stranger/kernel"},
        {"_attn_implementation": "kernels-community/kernel@main"},
        {"_attn_implementation": {"": "stranger/kernel"}},
        {"experts_implementation": "stranger/kernel"},
        {"vision_config": {"_attn_implementation": "stranger/kernel"}},
    ],
)
def test_code_that_a_configuration_selects(
    backbone_folders: dict[str, str], tmp_path: Path, entry: dict[str, Any]
) -> None:
    """It would be downloaded and run; attention of PyTorch is allowed."""
    folder = shutil.copytree(backbone_folders["clip"], tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    if "vision_config" in entry:
        config = {"model_type": "clip", "vision_config": config | {"_attn_implementation": "eager"}}
        entry = {"vision_config": config["vision_config"] | entry["vision_config"]}
    (folder / "config.json").write_text(json.dumps(config | entry))
    arguments = backbone_folders | {"clip": str(folder), "segmenter_image_size": [32, 32]}
    message = r"config\.json: `_?(attn|experts)_implementation` may only be eager or sdpa or flex_attention, got "
    with pytest.raises(ValueError, match=message):
        GFFusionModel.from_backbones(**arguments)
    (folder / "config.json").write_text(json.dumps({"_attn_implementation": "sdpa"} | config))
    GFFusionModel.from_backbones(**arguments)


def test_without_effect(tiny_model: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_model().save_pretrained(tmp_path / "slim")
    GFFusionModel.from_pretrained(tmp_path / "slim", dinov2_name_or_path="gone", use_segmenter=False)
    assert "`dinov2_name_or_path` has no effect: the model has no dinov2 encoder" in caplog.text


@pytest.mark.parametrize(
    "arguments", [{"use_safetensors": False}, {"output_attentions": True}, {"output_hidden_states": True}]
)
def test_options_without_effect(
    tiny_model: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture, arguments: dict[str, bool]
) -> None:
    tiny_model().save_pretrained(tmp_path)
    ((name, value),) = arguments.items()
    GFFusionModel.from_pretrained(tmp_path, **{name: not value})
    assert not caplog.text
    GFFusionModel.from_pretrained(tmp_path, **arguments)
    assert f"`{name}{'' if value else '=False'}` has no effect" in caplog.text


def test_included_encoders_are_found_in_the_file(tiny_model: Callable, tiny_config: Callable, tmp_path: Path) -> None:
    """Also if a configuration is given that has them in their repositories."""
    tiny_model().save_pretrained(tmp_path, include_backbones=True)
    config = tiny_config()
    assert config.backbone_weights == "external"
    assert_same(GFFusionModel.from_pretrained(tmp_path, config=config), tiny_model())


@pytest.mark.parametrize("is_part", [False, True])
def test_weights_of_a_file_are_loaded_by_their_names_in_it(
    tiny_config: Callable, tmp_path: Path, paradigm: str, is_part: bool
) -> None:
    """As the Trainer of transformers does; names of DINOv2's attention in files are not those of its modules."""
    saved, model = (GFFusionModel(tiny_config(paradigm=paradigm)) for _ in range(2))
    saved.save_pretrained(tmp_path, include_backbones=True)
    weights = load_file(tmp_path / "model.safetensors")
    assert any("attention.attention.query" in name for name in weights)
    if is_part:
        nn.ModuleDict({"model": model}).load_state_dict({f"model.{name}": value for name, value in weights.items()})
    else:
        model.load_state_dict(weights)
    torch.testing.assert_close(model.state_dict(), saved.state_dict(), rtol=0, atol=0)
    model.load_state_dict(saved.state_dict())
    del weights["dinov2.encoder.layer.0.attention.attention.query.bias"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) .*"dinov2.encoder.layer.0.attention.q_proj.bias"\.'):
        model.load_state_dict(weights)


class QuantizedTensor(Tensor):
    """Tensor without a sum, as those of torchao."""

    def dequantize(self) -> Tensor:
        return self.as_subclass(Tensor)

    def sum(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError("aten.sum")


def test_quantized_encoders_are_not_saved(tiny_model: Callable, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "slim")
    model = GFFusionModel.from_pretrained(tmp_path / "slim")
    layer = model.clip.encoder.layers[0].mlp.fc1
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(QuantizedTensor), requires_grad=False)
    assert model.find_unsourced() == ["clip"]
    with pytest.raises(ValueError, match=r"quantized model cannot be saved.*`quantization_config` to `from_"):
        model.save_pretrained(tmp_path / "quantized")
    assert not (tmp_path / "quantized").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_models_quantized_by_torch(tiny_model: Callable, tmp_path: Path) -> None:
    """They segment, but are not saved; their layers have no tensors as weights."""
    model = tiny_model().eval()
    images = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    expected = model(*images, segment=True).logits
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    torch.testing.assert_close(quantized(*images, segment=True).logits, expected, rtol=0, atol=0.3)
    assert quantized.find_unsourced() == ["clip", "dinov2"]
    with pytest.raises(ValueError, match="quantized model cannot be saved"):
        quantized.save_pretrained(tmp_path / "quantized")


@pytest.mark.parametrize("argument", ["dtype", "torch_dtype"])
def test_dtype(backbone_folders: dict[str, str], argument: str, caplog: pytest.LogCaptureFixture) -> None:
    """A new model has the type that is asked for, and a dict of types, which transformers ignores, is not ignored silently."""
    types = {None: torch.float32, "auto": torch.float32, "half": torch.half, torch.half: torch.half}
    for dtype, expected in types.items():
        model = GFFusionModel.from_backbones(**backbone_folders, segmenter_image_size=[32, 32], **{argument: dtype})
        assert {parameter.dtype for parameter in model.parameters()} == {expected} == {model.config.dtype}
    assert not caplog.text
    GFFusionModel.from_backbones(**backbone_folders, segmenter_image_size=[32, 32], **{argument: {"": torch.half}})
    assert 'Of `dtype` as a dict, only the entry "" is used, for the whole model' in caplog.text


def test_dtype_of_each_part(tiny_model: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_model().save_pretrained(tmp_path)
    model = GFFusionModel.from_pretrained(tmp_path, dtype={"clip_config": torch.half, "": torch.bfloat16})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert 'Of `dtype` as a dict, only the entry "" is used, for the whole model' in caplog.text


@pytest.mark.parametrize("full", [False, True])
def test_paths_are_not_pushed(
    tiny_model: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """The push of transformers would publish them; it remains for encoders on the Hub."""
    pushed: list[str] = []
    monkeypatch.setattr("transformers.PreTrainedModel.push_to_hub", lambda *args: pushed.append(args[1]))
    tiny_model().save_pretrained(tmp_path / "saved", include_backbones=full)
    model = GFFusionModel.from_pretrained(tmp_path / "saved")
    for part in ("clip", "dinov2"):
        message = rf"would publish '/.*', the local path of the {part} encoder.*full=True"
        with pytest.raises(ValueError, match=message):
            model.push_to_hub("lab/street")
        with pytest.raises(ValueError, match=message):
            model.save_pretrained(tmp_path / "street", push_to_hub=True)
        setattr(model.config, f"{part}_name_or_path", f"lab/{part}")
        getattr(model.config, f"{part}_config").name_or_path = f"lab/{part}"
    assert not (tmp_path / "street").exists()
    model.push_to_hub("lab/street")
    assert pushed == ["lab/street"]
