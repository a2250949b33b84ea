"""Slim and full checkpoints: saved models load as the same model, and unusable files and encoders raise errors."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from model_tester import assert_same, parts_in
from pickle_trap import PickleTrap
from torch import Tensor
from transformers import AutoModel, CLIPConfig, CLIPModel, CLIPVisionModel, Dinov2Model
from transformers.utils import logging

from gffusion import GFFusionConfig, GFFusionModel

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]


@pytest.fixture(params=["slim", "full"])
def checkpoint(request: pytest.FixtureRequest, tiny_model: TinyModel, tmp_path: Path) -> Path:
    """Folder of a hybrid model, slim and full."""
    tiny_model().save_pretrained(tmp_path / request.param, include_backbones=request.param == "full")
    return tmp_path / request.param


@pytest.fixture
def slim(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """Folder of a slim hybrid model."""
    tiny_model().save_pretrained(tmp_path / "slim")
    return tmp_path / "slim"


class TestRoundTrip:
    def test_weights_have_the_file_mode_of_the_configuration(self, checkpoint: Path) -> None:
        modes = {path.name: path.stat().st_mode for path in checkpoint.iterdir()}
        assert modes["model.safetensors"] == modes["config.json"]

    @pytest.mark.parametrize("variant", [None, "fp16"])
    def test_saved_over_other_weights(self, tiny_model: TinyModel, tmp_path: Path, variant: str | None) -> None:
        """The loader prefers a single file to shards, so that one of an earlier save would be loaded."""
        for size in ("1GB", "2KB", "1GB"):
            model = tiny_model()
            with torch.no_grad():
                model.funet.decoder[0].bias.fill_(torch.rand(()))
            model.save_pretrained(tmp_path, max_shard_size=size, variant=variant)
            assert_same(GFFusionModel.from_pretrained(tmp_path, variant=variant), model)
            assert len(list(tmp_path.glob("*.index*.json"))) == (size == "2KB")

    @pytest.mark.parametrize("index", ["own", "others", "{}", '{"weight_map"'])
    def test_saved_over_an_index_of_others(self, tiny_model: TinyModel, tmp_path: Path, index: str) -> None:
        """Also an index that transformers does not replace, or that is damaged."""
        weights, model = tmp_path / "model.safetensors", tiny_model()
        model.save_pretrained(tmp_path)
        names = dict.fromkeys(model.state_dict(), "model.safetensors" if index == "own" else "a.safetensors")
        shutil.copy(weights, tmp_path / "a.safetensors")
        content = json.dumps({"weight_map": names}) if index in ("own", "others") else index
        (tmp_path / "model.safetensors.index.json").write_text(content)
        if index == "others":
            weights.unlink()
        with torch.no_grad():
            model.funet.decoder[0].bias.fill_(torch.rand(()))
        model.save_pretrained(tmp_path)
        assert_same(GFFusionModel.from_pretrained(tmp_path), model)
        assert not list(tmp_path.glob("*.index.json"))
        assert weights.stat().st_mode == (tmp_path / "config.json").stat().st_mode

    @pytest.mark.parametrize("full", [False, True])
    @pytest.mark.parametrize(
        "options",
        [{"max_shard_size": "2KB"}, {"variant": "fp16"}, {"max_shard_size": "2KB", "variant": "fp16"}],
        ids=["sharded", "variant", "sharded-variant"],
    )
    def test_shards_and_variants(self, tiny_model: TinyModel, tmp_path: Path, options: dict, full: bool) -> None:
        model = tiny_model()
        model.save_pretrained(tmp_path, include_backbones=full, **options)
        files = list(tmp_path.glob("*.safetensors"))
        assert (len(files) > 2) == ("max_shard_size" in options)
        assert all("fp16" in file.name for file in files) == ("variant" in options)
        assert_same(GFFusionModel.from_pretrained(tmp_path, variant=options.get("variant")), model)
        if "variant" in options:
            with pytest.raises(OSError, match=r"no model\.safetensors\. It has variants: pass variant='fp16'\."):
                GFFusionModel.from_pretrained(tmp_path)

    def test_saved_again(self, tiny_model: TinyModel, checkpoint: Path, tmp_path: Path) -> None:
        """A loaded model is saved as the same kind of checkpoint, with the same source of its encoders."""
        loaded = GFFusionModel.from_pretrained(checkpoint)
        loaded.save_pretrained(tmp_path / "again")
        assert parts_in(tmp_path / "again") == parts_in(checkpoint)
        configs = [json.loads((folder / "config.json").read_text()) for folder in (checkpoint, tmp_path / "again")]
        assert configs[0] == configs[1]
        assert_same(GFFusionModel.from_pretrained(tmp_path / "again"), tiny_model())

    def test_default_is_slim(self, tiny_model: TinyModel, tiny_config: Callable, tmp_path: Path) -> None:
        """Unless the source of the encoders is unknown."""
        tiny_model().save_pretrained(tmp_path / "sourced")
        assert parts_in(tmp_path / "sourced") == {"funet", "finet", "ssnet"}
        random = GFFusionModel(tiny_config())
        random.save_pretrained(tmp_path / "random")
        assert_same(GFFusionModel.from_pretrained(tmp_path / "random"), random)

    def test_file_arguments(self, checkpoint: Path, tiny_model: TinyModel) -> None:
        assert_same(GFFusionModel.from_pretrained(str(checkpoint), device_map="cpu"), tiny_model())
        assert_same(GFFusionModel.from_pretrained(checkpoint.parent, subfolder=checkpoint.name), tiny_model())
        config = GFFusionConfig.from_pretrained(checkpoint)
        assert_same(GFFusionModel.from_pretrained(checkpoint, config=config), tiny_model())

    def test_loading_report(self, checkpoint: Path) -> None:
        model, report = GFFusionModel.from_pretrained(checkpoint, output_loading_info=True)
        assert not any(report.values())
        assert not any(parameter.requires_grad for parameter in model.dinov2.parameters())


class TestLoadingOptions:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", torch.float16], ids=str)
    def test_dtype(self, checkpoint: Path, tiny_model: TinyModel, make_inputs: MakeInputs, dtype: Any) -> None:
        model = GFFusionModel.from_pretrained(checkpoint, dtype=dtype)
        wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        assert {parameter.dtype for parameter in model.parameters()} == {wanted}
        with torch.no_grad():
            fused, expected = (network(**make_inputs()).fused_values for network in (model, tiny_model().eval()))
        assert fused.dtype == torch.float32
        torch.testing.assert_close(fused, expected, atol=0.05, rtol=0)

    @pytest.mark.parametrize("saved", [torch.float32, torch.bfloat16], ids=str)
    def test_automatic_dtype_is_the_saved_one(self, tiny_model: TinyModel, tmp_path: Path, saved: torch.dtype) -> None:
        model = tiny_model().to(saved)
        model.save_pretrained(tmp_path)
        assert_same(GFFusionModel.from_pretrained(tmp_path, dtype="auto"), model)
        assert GFFusionModel.from_pretrained(tmp_path).dtype == saved

    def test_without_segmenter(
        self, checkpoint: Path, tiny_model: TinyModel, make_inputs: MakeInputs, tmp_path: Path
    ) -> None:
        """Head and DINOv2 are absent, are not looked for, and do not change the image; the rest is saved on its own."""
        model = AutoModel.from_pretrained(checkpoint, use_segmenter=False, dinov2_name_or_path="nowhere")
        assert type(model) is GFFusionModel
        assert not any(name.startswith(("dinov2", "ssnet")) for name, _ in model.named_modules())
        with torch.no_grad():
            fused, expected = (network(**make_inputs()).fused_values for network in (model, tiny_model().eval()))
        torch.testing.assert_close(fused, expected)
        model.save_pretrained(tmp_path / "fusion")
        assert parts_in(tmp_path / "fusion") == parts_in(checkpoint) - {"ssnet", "dinov2"}
        assert_same(GFFusionModel.from_pretrained(tmp_path / "fusion"), model)

    def test_attention(self, checkpoint: Path) -> None:
        for wanted in ("eager", "sdpa"):
            model = GFFusionModel.from_pretrained(checkpoint, attn_implementation=wanted)
            assert {encoder.config._attn_implementation for encoder in model.backbones.values()} == {wanted}

    @pytest.mark.parametrize("name", ["clip", "dinov2"])
    def test_moved_encoders(self, slim: Path, backbone_folders: dict[str, str], tmp_path: Path, name: str) -> None:
        shutil.copytree(backbone_folders[name], tmp_path / "moved")
        model = GFFusionModel.from_pretrained(slim, **{f"{name}_name_or_path": str(tmp_path / "moved")})
        assert getattr(model.config, f"{name}_name_or_path") == str(tmp_path / "moved")
        assert_same(model, GFFusionModel.from_pretrained(slim))
        message = rf"{name} encoder .*gone.* neither a local folder nor the name of a repository.*If it has moved, pass {name}_n"
        with pytest.raises(OSError, match=message):
            GFFusionModel.from_pretrained(slim, **{f"{name}_name_or_path": str(tmp_path / "gone")})

    def test_included_encoders_are_not_replaced(
        self, tiny_model: TinyModel, backbone_folders: Any, tmp_path: Path
    ) -> None:
        tiny_model().save_pretrained(tmp_path, include_backbones=True)
        with pytest.raises(ValueError, match=r"includes its clip encoder, which clip_name_or_path=.* does not replace"):
            GFFusionModel.from_pretrained(tmp_path, clip_name_or_path=backbone_folders["clip"])

    @pytest.mark.parametrize("left_out", [(), ("clip.",), ("clip.", "dinov2.")], ids=str)
    def test_state_dict(self, checkpoint: Path, tiny_model: TinyModel, left_out: tuple[str, ...]) -> None:
        """It takes the place of the file, and is checked like it; encoders that it lacks are those of a slim checkpoint."""
        saved = tiny_model().state_dict()
        given = {name: value + 1 for name, value in saved.items() if not name.startswith(left_out)}
        if left_out and checkpoint.name == "full":
            with pytest.raises(OSError, match=r"'clip\..*' is missing"):
                GFFusionModel.from_pretrained(checkpoint, state_dict=given)
            return
        loaded = GFFusionModel.from_pretrained(checkpoint, state_dict=given)
        torch.testing.assert_close(loaded.state_dict(), saved | given, rtol=0, atol=0)
        assert loaded.find_unsourced() == [name for name in ("clip", "dinov2") if f"{name}." not in left_out]
        for name in ("funet.decoder.0.weight", "dinov2.layernorm.bias"):
            if given.pop(name, None) is not None:
                with pytest.raises(OSError, match=name):
                    GFFusionModel.from_pretrained(checkpoint, state_dict=given)

    def test_threads(self, slim: Path) -> None:
        """They leave the verbosity and torch's functions as they were, which transformers replaces while it loads."""
        before = logging.get_verbosity(), torch.nn.init.normal_, torch.nn.init.zeros_
        with ThreadPoolExecutor(4) as executor:
            models = list(executor.map(lambda _: GFFusionModel.from_pretrained(slim), range(12)))
        assert (logging.get_verbosity(), torch.nn.init.normal_, torch.nn.init.zeros_) == before
        for model in models[1:]:
            assert_same(model, models[0])

    @pytest.mark.parametrize("arguments", [{"merging": "sum"}, {"paradigma": "hybrid"}])
    def test_refused_arguments(self, slim: Path, arguments: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            GFFusionModel.from_pretrained(slim, **arguments)


class TestFromBackbones:
    def test_encoder_weights(self, tiny_model: TinyModel, backbone_folders: dict[str, str], paradigm: str) -> None:
        model = tiny_model(paradigm=paradigm)
        assert model.training
        classes = {"clip": CLIPVisionModel, "dinov2": Dinov2Model}
        for name, encoder in model.backbones.items():
            expected = classes[name].from_pretrained(backbone_folders[name]).state_dict()
            torch.testing.assert_close(encoder.state_dict(), expected, rtol=0, atol=0)

    def test_loaded_encoders_are_saved(self, backbone_folders: dict[str, str], tmp_path: Path) -> None:
        """They can be of another revision, or changed."""
        clip, dinov2 = CLIPVisionModel.from_pretrained(backbone_folders["clip"]), Path(backbone_folders["dinov2"])
        with torch.no_grad():
            clip.embeddings.class_embedding.add_(1)
        model = GFFusionModel.from_backbones(clip, dinov2, segmenter_image_size=[32, 32])
        model.save_pretrained(tmp_path)
        assert_same(GFFusionModel.from_pretrained(tmp_path), model)

    def test_relative_folders(
        self, backbone_folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They look like names on the Hub, and are found from other folders, too."""
        for name, folder in backbone_folders.items():
            shutil.copytree(folder, tmp_path / "lab" / name)
        monkeypatch.chdir(tmp_path)
        model = GFFusionModel.from_backbones("lab/clip", Path("lab/dinov2"), segmenter_image_size=[32, 32])
        model.save_pretrained(tmp_path / "slim")
        GFFusionModel.from_pretrained("slim", clip_name_or_path="lab/clip").save_pretrained("again")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        for folder in (tmp_path / "slim", tmp_path / "again"):
            loaded = GFFusionModel.from_pretrained(folder)
            assert_same(loaded, model)
            assert loaded.config.clip_name_or_path == str(tmp_path / "lab" / "clip")

    def test_other_objects(self, backbone_folders: dict[str, str]) -> None:
        dinov2 = Dinov2Model.from_pretrained(backbone_folders["dinov2"])
        for wrong, kind in ((5, "int"), (dinov2, "Dinov2Model")):
            with pytest.raises(ValueError, match=f"clip must be a CLIPVisionModel, .* got a {kind}"):
                GFFusionModel.from_backbones(wrong, dinov2, segmenter_image_size=[32, 32])

    def test_full_clip(self, clip_config: Callable, backbone_folders: dict[str, str], tmp_path: Path) -> None:
        """Text weights are ignored; openai/clip-vit-base-patch16 has them."""
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        text |= {"vocab_size": 9, "bos_token_id": 7, "eos_token_id": 8}
        clip = CLIPModel(CLIPConfig(text_config=text, vision_config=clip_config().to_dict(), projection_dim=8))
        clip.save_pretrained(tmp_path / "clip")
        assert "text_model" in parts_in(tmp_path / "clip")
        model = GFFusionModel.from_backbones(
            str(tmp_path / "clip"), backbone_folders["dinov2"], segmenter_image_size=[32, 32]
        )
        torch.testing.assert_close(model.clip.state_dict(), clip.vision_model.state_dict(), rtol=0, atol=0)
        model.save_pretrained(tmp_path / "slim")
        assert_same(GFFusionModel.from_pretrained(tmp_path / "slim"), model)

    @pytest.mark.parametrize(
        ("given", "arguments", "message"),
        [
            (["clip"], {}, "^`dinov2` is missing: a model with paradigm='hybrid' and use_segmenter=True needs it"),
            ([], {}, "`clip` is missing: .* `dinov2` is missing: "),
            ([], {"clip": "", "use_segmenter": False}, "`clip` is missing: "),
            (
                ["clip", "dinov2"],
                {"paradigm": "cascading"},
                "^`clip` gives an encoder that a model with .* leave it out",
            ),
            (["dinov2"], {"paradigm": "cascading", "use_segmenter": False}, "^`dinov2` gives an encoder"),
            (["clip", "dinov2"], {"paradigma": "hybrid"}, "paradigma"),
        ],
    )
    def test_refused_combinations(
        self, backbone_folders: dict[str, str], given: list[str], arguments: dict[str, Any], message: str
    ) -> None:
        folders = {name: backbone_folders[name] for name in given}
        with pytest.raises(ValueError, match=message):
            GFFusionModel.from_backbones(**folders, segmenter_image_size=[32, 32], **arguments)

    def test_missing_folder(self, backbone_folders: dict[str, str], tmp_path: Path) -> None:
        with pytest.raises(OSError, match=r"clip encoder .*nowhere"):
            GFFusionModel.from_backbones(str(tmp_path / "nowhere"), backbone_folders["dinov2"])


class TestUnusableEncoders:
    def test_no_source(self, slim: Path) -> None:
        with pytest.raises(ValueError, match="Pass clip_name_or_path"):
            GFFusionModel.from_pretrained(slim, clip_name_or_path=None)

    @pytest.mark.parametrize(
        ("option", "value", "error", "message"),
        [
            ("hidden_size", 16, ValueError, r"dinov2 encoder .*other.* architecture.*\b16\b.*\b32\b"),
            ("num_hidden_layers", 2, OSError, r"other' lacks 18 weights of the dinov2 encoder, 'encoder.layer.2"),
            ("num_hidden_layers", 4, ValueError, r"dinov2 encoder .*other.*encoder.layer.3"),
        ],
    )
    def test_other_sizes(
        self, slim: Path, dinov2_config: Callable, tmp_path: Path, option: str, value: int, error: Any, message: str
    ) -> None:
        Dinov2Model(dinov2_config(**{option: value})).save_pretrained(tmp_path / "other")
        with pytest.raises(error, match=message):
            GFFusionModel.from_pretrained(slim, dinov2_name_or_path=str(tmp_path / "other"))

    def test_damaged(self, slim: Path, backbone_folders: dict[str, str], tmp_path: Path) -> None:
        shutil.copytree(backbone_folders["dinov2"], tmp_path / "damaged")
        (tmp_path / "damaged" / "model.safetensors").write_bytes(b"not a header")
        with pytest.raises(OSError, match=r"dinov2 encoder .*damaged"):
            GFFusionModel.from_pretrained(slim, dinov2_name_or_path=str(tmp_path / "damaged"))


class TestUnusableCheckpoints:
    def test_pickles(self, slim: Path, tmp_path: Path) -> None:
        (slim / "model.safetensors").unlink()
        torch.save({"funet.decoder.0.weight": PickleTrap(tmp_path / "mark")}, slim / "pytorch_model.bin")
        for arguments in ({}, {"use_safetensors": False}, {"weights_only": False}):
            with pytest.raises(OSError, match=r"model.safetensors"):
                GFFusionModel.from_pretrained(slim, **arguments)
        assert not (tmp_path / "mark").exists()
        torch.load(slim / "pytorch_model.bin", weights_only=False)
        assert (tmp_path / "mark").exists()  # the trap works

    def test_pickled_encoders(self, slim: Path, backbone_folders: dict[str, str], tmp_path: Path) -> None:
        shutil.copytree(backbone_folders["clip"], tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
        torch.save({"weight": PickleTrap(tmp_path / "mark")}, tmp_path / "pickled" / "pytorch_model.bin")
        with pytest.raises(OSError, match=r"clip encoder .*model.safetensors"):
            GFFusionModel.from_pretrained(slim, clip_name_or_path=str(tmp_path / "pickled"))
        assert not (tmp_path / "mark").exists()

    def test_missing_folder_or_variant(self, slim: Path) -> None:
        with pytest.raises(OSError, match="nowhere"):
            GFFusionModel.from_pretrained(slim / "nowhere")
        with pytest.raises(OSError, match="fp16"):
            GFFusionModel.from_pretrained(slim, variant="fp16")

    def test_missing_shard(self, tiny_model: TinyModel, tmp_path: Path) -> None:
        tiny_model().save_pretrained(tmp_path, max_shard_size="2KB")
        shard = sorted(tmp_path.glob("*.safetensors"))[1]
        shard.unlink()
        with pytest.raises(OSError, match=shard.name):
            GFFusionModel.from_pretrained(tmp_path)

    @pytest.mark.parametrize("keep", [0, 200, -8], ids=["empty", "header", "end"])
    def test_damaged(self, slim: Path, keep: int) -> None:
        path = slim / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(OSError, match=slim.name):
            GFFusionModel.from_pretrained(slim)


class TestRefusedSaves:
    def test_random_encoders_have_no_source(
        self, tiny_config: Callable, clip_config: Callable, backbone_folders: dict[str, str], tmp_path: Path
    ) -> None:
        models = {
            r"\['clip', 'dinov2'\]": GFFusionModel(tiny_config()),
            r"\['clip'\]": GFFusionModel.from_backbones(
                CLIPVisionModel(clip_config()), backbone_folders["dinov2"], segmenter_image_size=[32, 32]
            ),
        }
        for encoders, model in models.items():
            with pytest.raises(ValueError, match=f"that of {encoders} is unknown.*=True, or pass Hub ids"):
                model.save_pretrained(tmp_path / "slim", include_backbones=False)
        assert not (tmp_path / "slim").exists()

    @pytest.mark.parametrize("include_backbones", [False, True])
    def test_failing_save_leaves_no_trace(self, tiny_model: TinyModel, tmp_path: Path, include_backbones: bool) -> None:
        model = tiny_model()
        (tmp_path / "file").touch()
        before = model.config.to_dict()
        for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
            with pytest.raises(OSError, match="file"):
                model.save_pretrained(folder, include_backbones=include_backbones)
        assert model.config.to_dict() == before
        for kind in (include_backbones, not include_backbones):
            model.save_pretrained(tmp_path / str(kind), include_backbones=kind)
            assert_same(GFFusionModel.from_pretrained(tmp_path / str(kind)), model)
