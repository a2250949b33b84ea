"""Limits of configuration files: sizes, code and folders that they may name."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, CLIPVisionConfig, Dinov2Config

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.hub import FusionCard

TOO_LARGE: list[tuple[dict[str, Any], str]] = [
    ({"stem_channels": 5000}, "stem_channels.* 4096, got 5000"),
    ({"feature_channels": 10**12}, "feature_channels.* 4096"),
    ({"decoder_channels": [8, 10**9]}, "decoder_channels.* 4096"),
    ({"decoder_channels": [8] * 129}, "decoder_channels.* at most 128 entries, got 129"),
    ({"group_kernel_size": 33}, "group_kernel_size.* 31, got 33"),
    ({"segmenter_image_size": [8, 8 * 10**6]}, "segmenter_image_size.* 4096"),
    ({"num_labels": 10**10}, "num_labels.* 4096, got 10000000000"),
    ({"id2label": {"0": "a=" * 20_000}}, "`id2label` .* at most 1000 characters, got 40,000: 'a=a="),
    ({"clip_config": {"hidden_size": 24000}}, "`hidden_size` of `clip_config`.* 16384, got 24000"),
    ({"clip_config": {"num_hidden_layers": 129}}, "`num_hidden_layers` of `clip_config`.* 128, got 129"),
    ({"clip_config": {"patch_size": 0}}, "`patch_size` of `clip_config`.* got 0"),
    ({"clip_config": {"image_size": 10**5}}, "`image_size` of `clip_config`.* 4096"),
    ({"clip_config": {"intermediate_size": 10**10}}, "encoder of `clip_config` .* parameters"),
    ({"dinov2_config": {"mlp_ratio": 10**7}}, "encoder of `dinov2_config` .* parameters"),
    ({"dinov2_config": {"hidden_size": 16384, "num_hidden_layers": 100}}, "of `dinov2_config` .* 3e.11 parameters"),
    ({"dinov2_config": {"layer_norm_eps": float("nan")}}, r"`dinov2_config\.layer_norm_eps` must be finite, got nan"),
]


@pytest.mark.parametrize(("values", "message"), TOO_LARGE, ids=lambda value: str(value)[:40])
def test_absurd_sizes_are_refused_at_once(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gffusion", **values}))
    started = time.process_time()
    with pytest.raises(ValueError, match=message):
        GFFusionConfig.from_pretrained(tmp_path)
    assert time.process_time() - started < 1


def test_the_largest_published_encoders_pass() -> None:
    """CLIP ViT-bigG (1.8e9 parameters) and DINOv2-giant (1.1e9)."""
    sizes = {"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48, "num_attention_heads": 16}
    clip = CLIPVisionConfig(**sizes, image_size=224, patch_size=14)
    dinov2 = Dinov2Config(
        hidden_size=1536, num_hidden_layers=40, num_attention_heads=24, use_swiglu_ffn=True, image_size=518
    )
    config = GFFusionConfig(clip_config=clip, dinov2_config=dinov2)
    assert config.semantic_layers == list(range(1, 48))


@pytest.mark.parametrize("encoder", ["clip_config", "dinov2_config"])
@pytest.mark.parametrize("num_channels", [0, 1, 4])
def test_encoders_read_color_images(
    clip_config: Callable, dinov2_config: Callable, tiny_config: Callable, encoder: str, num_channels: int
) -> None:
    make = clip_config if encoder == "clip_config" else dinov2_config
    assert tiny_config(**{encoder: make(num_channels=3)})
    with pytest.raises(ValueError, match=f"`num_channels` of `{encoder}` must be 3, .*got {num_channels}"):
        tiny_config(**{encoder: make(num_channels=num_channels)})


class TestFiles:
    @pytest.fixture
    def write(self, tiny_config: Callable[..., GFFusionConfig], tmp_path: Path) -> Callable[..., Path]:
        """Write a configuration file with further entries; return its folder."""

        def write(**entries: Any) -> Path:
            content = json.loads(tiny_config().to_json_string(use_diff=False)) | entries
            (tmp_path / "config.json").write_text(json.dumps(content))
            return tmp_path

        return write

    @pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "quantization_config"])
    def test_code_is_chosen_by_the_loader_only(self, write: Callable[..., Path], name: str) -> None:
        folder = write(**{name: "someone/kernel"})
        for load in (GFFusionConfig.from_pretrained, AutoConfig.from_pretrained):
            with pytest.raises(ValueError, match=f"may not set .*{name}"):
                load(folder)
        encoder = json.loads((folder / "config.json").read_text())["clip_config"] | {name: "someone/kernel"}
        with pytest.raises(ValueError, match=f"may not set .*{name}"):
            GFFusionConfig.from_pretrained(write(clip_config=encoder))

    def test_code_of_other_repositories_is_not_saved(self, write: Callable[..., Path], tmp_path: Path) -> None:
        own, other = {"AutoModel": "net.Net"}, {"AutoConfig": "evil/net--net.Config"}
        for code, saved in ((own | other, own), (other, None), ({}, None)):
            GFFusionConfig.from_pretrained(write(auto_map=code)).save_pretrained(tmp_path / "saved")
            assert json.loads((tmp_path / "saved" / "config.json").read_text()).get("auto_map") == saved

    def test_a_deep_file(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"id2label": ' + '{"0": ' * 200_000 + "0" + "}" * 200_001)
        with pytest.raises(OSError, match=r"config\.json is damaged: it is nested too deep$"):
            GFFusionConfig.from_pretrained(tmp_path)

    def test_choices_of_the_loader(self, write: Callable[..., Path]) -> None:
        config = GFFusionConfig.from_pretrained(write(), attn_implementation="eager")
        assert config._attn_implementation == config.clip_config._attn_implementation == "eager"

    @pytest.mark.parametrize("source", ["/home/someone/clip", "../../etc", "./clip", "clip", "a/b"])
    def test_local_files_may_name_folders(self, write: Callable[..., Path], source: str) -> None:
        for load in (GFFusionConfig.from_pretrained, AutoConfig.from_pretrained):
            assert load(write(clip_name_or_path=source)).clip_name_or_path == source


@pytest.mark.parametrize("make", [dict, list, CLIPVisionConfig, Dinov2Config])
def test_objects_of_other_classes(tiny_model: Callable, tmp_path: Path, make: Callable[[], Any]) -> None:
    tiny_model().save_pretrained(tmp_path)
    message = f"`config` must be a GFFusionConfig, or the folder or Hub id of one when loading, got a {make.__name__}"
    for build in (GFFusionModel, lambda config: GFFusionModel.from_pretrained(tmp_path, config=config)):
        with pytest.raises(ValueError, match=message):
            build(make())


class NightConfig(GFFusionConfig):
    model_type = "night_fusion"


def test_configurations_of_subclasses_with_a_type_of_their_own(tmp_path: Path) -> None:
    """As after a training, whose card counts the parameters of GFFusionModel."""
    config = NightConfig(paradigm="cascading", use_segmenter=False, stem_channels=8)
    FusionCard(model_name="night", config=config).save(tmp_path)
    assert f"{GFFusionModel(config).num_parameters():,}" in (tmp_path / "README.md").read_text()
