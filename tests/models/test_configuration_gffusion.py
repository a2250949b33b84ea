"""GFFusionConfig: the paper's values, derived values, errors, and files."""

from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import CLIPVisionConfig, Dinov2Config, Trainer, TrainingArguments, default_data_collator

from gffusion import GFFusionConfig, GFFusionModel

TinyConfig = Callable[..., GFFusionConfig]


class TestDefaults:
    def test_are_the_papers(self) -> None:
        config = GFFusionConfig()
        assert (config.paradigm, config.merging) == ("hybrid", "weighted_sum")
        assert config.semantic_layers == list(range(1, 12))
        assert (config.stem_channels, config.spatial_channels) == (16, 96)
        assert config.segmentation_weight == 0.2
        assert (config.segmenter_image_size, config.segmenter_layers) == ([196, 196], 1)
        clip, dinov2 = config.clip_config, config.dinov2_config
        assert (type(clip), clip.hidden_size, clip.patch_size, clip.image_size) == (CLIPVisionConfig, 768, 16, 224)
        assert (type(dinov2), dinov2.hidden_size, dinov2.patch_size) == (Dinov2Config, 768, 14)

    def test_classes_are_those_of_m3fd(self) -> None:
        config = GFFusionConfig()
        assert config.num_labels == 7
        assert list(config.id2label.values()) == ["background", "person", "car", "bus", "motorcycle", "lamp", "truck"]
        assert GFFusionConfig(num_labels=3).num_labels == 3
        assert GFFusionConfig(id2label={0: "ground", 1: "person"}).num_labels == 2

    def test_lists_are_not_shared(self) -> None:
        GFFusionConfig().decoder_channels.append(8)
        assert GFFusionConfig().decoder_channels == [64, 32, 16]


class TestDerivedValues:
    def test_semantic_encoder(self, tiny_config: TinyConfig) -> None:
        hybrid, parallel, cascading = (tiny_config(paradigm=name) for name in ("hybrid", "parallel", "cascading"))
        assert hybrid.semantic_config is hybrid.clip_config
        assert parallel.semantic_config is parallel.dinov2_config
        assert cascading.semantic_config is None

    def test_layers_follow_the_encoder(self, tiny_config: TinyConfig, dinov2_config: Callable) -> None:
        config = tiny_config(paradigm="parallel", dinov2_config=dinov2_config(num_hidden_layers=5))
        assert config.semantic_layers == [1, 2, 3, 4]

    def test_encoders_of_one_layer(self, tiny_config: TinyConfig, clip_config: Callable) -> None:
        one = clip_config(num_hidden_layers=1)
        with pytest.raises(
            ValueError, match=r"`semantic_layers` .* got \[\]: set it to \[1\], because the default is "
        ):
            tiny_config(clip_config=one)
        assert tiny_config(clip_config=one, semantic_layers=[1]).semantic_layers == [1]

    @pytest.mark.parametrize(("color_space", "channels"), [("ycbcr", 1), ("rgb", 3)])
    def test_image_channels(self, color_space: str, channels: int) -> None:
        assert GFFusionConfig(color_space=color_space).image_channels == channels


REFUSED = [
    ({"paradigm": "serial"}, "paradigm.*'cascading', 'parallel', 'hybrid'.*serial"),
    ({"merging": "sum"}, "merging.*'mean', 'group_conv', 'weighted_sum'.*sum"),
    ({"color_space": "hsv"}, "color_space.*'ycbcr', 'rgb'.*hsv"),
    ({"backbone_weights": "slim"}, "backbone_weights.*'external', 'included'.*slim"),
    ({"use_segmenter": "yes"}, "use_segmenter.*bool.*yes"),
    ({"stem_channels": "16"}, "stem_channels.*int.*16"),
    ({"decoder_channels": 16}, "decoder_channels.*16"),
    ({"clip_config": Dinov2Config()}, "clip_config.*CLIPVisionConfig"),
    ({"stem_channels": 0}, "`stem_channels` must be between 1 and 4096, got 0"),
    ({"feature_channels": -1}, "`feature_channels` must be between 1 and 4096, got -1"),
    ({"decoder_channels": [16, 0]}, r"`decoder_channels` must be between 1 and 4096, got \[16, 0\]"),
    ({"leaky_relu_slope": 1.0}, "`leaky_relu_slope` must be at least 0 and less than 1, got 1.0"),
    ({"leaky_relu_slope": "x"}, r"^GFFusionConfig: Field 'leaky_relu_slope' with value 'x' .* \(float, int\)\.$"),
    ({"semantic_layers": []}, r"`semantic_layers` .* from 1 to 3, got \[\]"),
    ({"semantic_layers": [0, 1]}, r"`semantic_layers` .* from 1 to 3, got \[0, 1\]"),
    ({"semantic_layers": [4]}, r"`semantic_layers` .* from 1 to 3, got \[4\]"),
    ({"semantic_layers": [2, 2]}, r"`semantic_layers` must be distinct .* got \[2, 2\]"),
    ({"merging": "group_conv", "num_groups": 3}, r"`num_groups` .* semantic layers \(2\), got 3"),
    ({"merging": "group_conv", "num_groups": 0}, "`num_groups` .* got 0"),
    ({"group_kernel_size": 2}, "`group_kernel_size` must be odd, from 1 to 31, got 2"),
    ({"clip_image_size": [30, 32]}, r"`clip_image_size` .* patch size 8, up to 4096, got \[30, 32\]"),
    ({"segmenter_image_size": [32, 36]}, r"`segmenter_image_size` .* patch size 8, up to 4096, got \[32, 36\]"),
    ({"segmenter_image_size": [32]}, r"`segmenter_image_size` must be \[height, width\]"),
    ({"segmenter_image_size": [0, 32]}, "`segmenter_image_size`"),
    ({"segmenter_windows": [2]}, r"`segmenter_windows` must be \[rows, columns\] .*got \[2\]"),
    ({"segmenter_image_size": [32, 48], "segmenter_windows": [2, 4]}, r"that divide the 4 x 6 tokens .*got \[2, 4\]"),
    ({"segmenter_windows": [0, 1]}, r"`segmenter_windows` .*got \[0, 1\]"),
    ({"segmenter_scales": []}, r"`segmenter_scales` must be distinct numbers .*, including 1, .*got \[\]"),
    ({"segmenter_scales": [2]}, r"`segmenter_scales` .*got \[2\]"),
    ({"segmenter_scales": [1, 1.0]}, r"`segmenter_scales` must be distinct .*got \[1, 1.0\]"),
    ({"segmenter_scales": [1, 0]}, r"`segmenter_scales` .*got \[1, 0\]"),
    ({"segmenter_scales": [1, float("inf")]}, r"`segmenter_scales` .*got \[1, inf\]"),
    ({"segmenter_scales": [1, float("nan")]}, r"`segmenter_scales` .*got \[1, nan\]"),
    ({"segmenter_scales": [1, 1.5]}, r"products with `segmenter_windows` \(\[1, 1\]\) are integers, got \[1, 1.5\]"),
    ({"segmenter_scales": [1, 256]}, r"`segmenter_scales` .* up to 128, .*got \[1, 256\]"),
    ({"paradigm": "parallel", "segmenter_scales": [1, 2]}, r"in the parallel paradigm .*got \[1, 2\]"),
    ({"segmenter_layers": 0}, r"`segmenter_layers` .* DINOv2's layers \(3\), got 0"),
    ({"segmenter_layers": 4}, r"`segmenter_layers` .* DINOv2's layers \(3\), got 4"),
    ({"segmenter_refinement": -0.5}, "`segmenter_refinement` must be between 0 and 8 tokens, got -0.5"),
    ({"segmenter_refinement": float("nan")}, "`segmenter_refinement` .* got nan"),
    ({"segmenter_refinement": 9}, "`segmenter_refinement` .* got 9"),
    *(
        ({"use_segmenter": False, name: value}, f"`{name}` must be .*got .*{value}")
        for name, value in [
            ("segmenter_refinement", nan),
            ("segmenter_refinement", inf),
            ("segmenter_scales", [1, inf]),
            ("intensity_contrast", nan),
            ("leaky_relu_slope", nan),
        ]
    ),
    ({"gradient_weight": -1.0}, "`gradient_weight` must be finite and non-negative, got -1.0"),
    ({"intensity_weight": float("nan")}, "`intensity_weight` must be finite"),
    ({"segmentation_weight": float("inf")}, "`segmentation_weight` must be finite"),
    ({"num_labels": 0}, "class"),
    ({"num_labels": 256}, "`num_labels` must be at most 255, .* 255 means ignored, got 256: merge classes"),
    ({"num_labels": 2, "class_weights": [1.0]}, r"`class_weights` must be 2 finite non-negative numbers.* got \[1.0\]"),
    ({"num_labels": 2, "class_weights": [1, -1]}, r"`class_weights` .* got \[1, -1\]"),
    ({"num_labels": 2, "class_weights": [0, 0]}, r"`class_weights` .* not all 0, got \[0, 0\]"),
    ({"num_labels": 2, "class_weights": [1, float("nan")]}, "`class_weights` .* finite"),
    ({"initializer_range": -0.1}, "`initializer_range`.*got -0.1"),
]


class TestErrors:
    @pytest.mark.parametrize(("overrides", "message"), REFUSED, ids=[str(overrides)[:50] for overrides, _ in REFUSED])
    def test_values(self, tiny_config: TinyConfig, tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
        """Also those that are set later, at the latest when they are saved."""
        with pytest.raises(ValueError, match=message):
            tiny_config(**overrides)
        config = tiny_config()
        with pytest.raises(ValueError, match=message) as error:
            for name, value in overrides.items():
                setattr(config, name, value)
            config.save_pretrained(tmp_path)
        assert "\n" not in str(error.value)
        assert not any(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            ({"id2label": ["ground"]}, "`id2label` must be an object, got a list"),
            ({"id2label": {0: "ground", 2: "person"}}, r"`id2label` .* got \[0, 2\]"),
            ({"id2label": {0: 0}}, "`id2label` must have names by number, got '0': the number '0'"),
            ({"num_labels": "3"}, "`num_labels` must be an integer .*got '3'"),
            ({"num_labels": 3, "id2label": {0: "ground"}}, r"`num_labels` \(3\) and `id2label` \(1 names\) must agree"),
            (
                {"id2label": {0: "ground"}, "label2id": {"ground": "one"}},
                r"must be the inverse .*got \{'ground': 'one'\}",
            ),
            ({"label2id": {"ground": 0}}, r"`label2id` must be the inverse .*background.*got \{'ground': 0\}"),
        ],
    )
    def test_classes(self, classes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            GFFusionConfig(**classes)

    def test_classes_that_no_label_map_holds(self) -> None:
        """Models without a segmenter, and encoders that were trained as classifiers, predict no label maps."""
        assert GFFusionConfig(use_segmenter=False, num_labels=300).num_labels == 300
        assert GFFusionConfig(dinov2_config=Dinov2Config(num_labels=1000)).dinov2_config.num_labels == 1000

    @pytest.mark.parametrize(
        ("names", "message"), [(["ground", "deer"], "got a list"), ({0: "ground", 2: "deer"}, r"got \[0, 2\]")]
    )
    def test_classes_that_are_set(self, names: Any, message: str) -> None:
        """They are refused before a training run, not when its weights are saved."""
        config = GFFusionConfig()
        with pytest.raises(ValueError, match=f"`id2label` .*{message}"):
            config.id2label = names

    @pytest.mark.parametrize("classes", [{"num_labels": 3}, {"id2label": {0: "ground", 1: "deer"}}])
    def test_weights_of_other_classes_are_dropped(
        self, tiny_config: TinyConfig, tmp_path: Path, classes: dict[str, Any]
    ) -> None:
        tiny_config(class_weights=[1, 2, 3, 4]).save_pretrained(tmp_path)
        assert GFFusionConfig.from_pretrained(tmp_path).class_weights == [1, 2, 3, 4]
        other = GFFusionConfig.from_pretrained(tmp_path, **classes)
        assert other.class_weights is None
        assert other.label2id == {name: index for index, name in other.id2label.items()}
        same = GFFusionConfig.from_pretrained(tmp_path).id2label
        assert GFFusionConfig.from_pretrained(tmp_path, id2label=same).class_weights == [1, 2, 3, 4]

    def test_other_models(self, backbone_folders: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="configuration of a 'gffusion' model, got one of a 'dinov2' model"):
            GFFusionConfig.from_pretrained(backbone_folders["dinov2"])

    def test_unknown_argument(self) -> None:
        with pytest.raises(ValueError, match=r"\['paradigma'\]. Allowed: .*paradigm"):
            GFFusionConfig(paradigma="hybrid")

    def test_values_of_absent_encoders_are_not_checked(self) -> None:
        values = {"clip_image_size": [1, 1], "num_groups": 0, "segmenter_layers": 0, "segmenter_refinement": -1}
        config = GFFusionConfig(paradigm="cascading", use_segmenter=False, segmenter_scales=[], **values)
        assert {name: getattr(config, name) for name in values} == values

    def test_integers_are_numbers(self) -> None:
        assert GFFusionConfig(gradient_weight=5, intensity_weight=1, leaky_relu_slope=0).leaky_relu_slope == 0


class TestFiles:
    def test_round_trip(self, tiny_config: TinyConfig, tmp_path: Path, paradigm: str) -> None:
        config = tiny_config(paradigm=paradigm, merging="group_conv", semantic_layers=[3, 1], clip_revision="v1")
        config.save_pretrained(tmp_path)
        loaded = GFFusionConfig.from_pretrained(tmp_path)
        assert loaded.to_dict() == config.to_dict()
        assert isinstance(loaded.clip_config, CLIPVisionConfig)

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_classes_without_names(self, tiny_config: TinyConfig, tmp_path: Path, count: int) -> None:
        tiny_config(num_labels=np.int64(count)).save_pretrained(tmp_path)
        assert GFFusionConfig.from_pretrained(tmp_path).id2label == {i: f"LABEL_{i}" for i in range(count)}

    def test_other_attributes_are_not_saved(
        self, tiny_config: TinyConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A file with them could not be loaded."""
        config, expected = tiny_config(num_groups=3), tiny_config(num_groups=3)
        config.my_run, config.segmenter_refinment = {"seed": 1}, 2
        with caplog.at_level("WARNING"):
            config.save_pretrained(tmp_path)
        assert "GFFusionConfig has no such arguments: ['my_run', 'segmenter_refinment']" in caplog.text
        for loaded in (GFFusionConfig.from_pretrained(tmp_path), GFFusionConfig(**config.to_dict())):
            assert loaded.to_diff_dict() == expected.to_diff_dict()
        assert config.my_run == {"seed": 1}

    def test_class_numbers_can_be_text(self, tmp_path: Path) -> None:
        numbers = {"ground": "0", "deer": "1"}
        config = GFFusionConfig(id2label={"0": "ground", "1": "deer"}, label2id=numbers)
        config.save_pretrained(tmp_path)
        assert GFFusionConfig.from_pretrained(tmp_path, label2id=numbers).label2id == {"ground": 0, "deer": 1}
        config.id2label = {"0": "sky"}
        for copied in (GFFusionConfig(**config.to_dict()), GFFusionConfig.from_dict(config.to_dict())):
            assert copied.label2id == {"sky": 0}

    def test_overrides_without_value_keep_the_classes(self, tiny_config: TinyConfig, tmp_path: Path) -> None:
        tiny_config(class_weights=[1, 2, 3, 4]).save_pretrained(tmp_path)
        loaded = GFFusionConfig.from_pretrained(tmp_path, num_labels=None, id2label=None, label2id=None)
        assert (loaded.num_labels, loaded.class_weights) == (4, [1, 2, 3, 4])

    def test_overrides_are_checked_like_arguments(self, tiny_config: TinyConfig, tmp_path: Path) -> None:
        tiny_config(merging="group_conv").save_pretrained(tmp_path)
        config = GFFusionConfig.from_pretrained(tmp_path, use_segmenter=False, intensity_weight=2.0)
        assert (config.needs_dinov2, config.intensity_weight, config.merging) == (False, 2.0, "group_conv")
        for overrides in ({"merging": "sum"}, {"num_groups": 9}, {"id2label": {"one": "ground"}}):
            with pytest.raises(ValueError, match=next(iter(overrides))):
                GFFusionConfig.from_pretrained(tmp_path, **overrides)

    def test_revision_is_one_of_the_saved_source(self, tiny_config: TinyConfig, tmp_path: Path) -> None:
        tiny_config(clip_name_or_path="lab/clip", clip_revision="v1").save_pretrained(tmp_path)
        new = {"clip_revision": "v2"}
        for source, given, expected in (("lab/clip", {}, "v1"), ("b/c", {}, None), ("b/c", new, "v2")):
            loaded = GFFusionConfig.from_pretrained(tmp_path, clip_name_or_path=source, **given)
            assert (loaded.clip_name_or_path, loaded.clip_revision) == (source, expected)


def test_trainer_of_transformers(
    tiny_model: Callable[..., GFFusionModel],
    make_inputs: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Predictions are the images and logits, and what it sets in the configuration is no surprise in its checkpoints."""
    batch = make_inputs(height=48, width=48, labels=True)
    items = [{name: values[index] for name, values in batch.items()} for index in range(2)]
    arguments = TrainingArguments(str(tmp_path), max_steps=1, report_to=[], use_cpu=True, disable_tqdm=True)
    shapes = []

    def measure(results: Any) -> dict[str, float]:
        shapes.extend(values.shape for values in results.predictions)
        return {}

    model = tiny_model(vif_weight=1.0, qabf_weight=1.0)
    trainer = Trainer(model, arguments, train_dataset=items, eval_dataset=items, compute_metrics=measure)
    trainer.train()
    assert "eval_loss" in trainer.evaluate()
    assert shapes == [(2, 1, 48, 48), (2, 4, 48, 48)]
    trainer.save_model()
    assert "no such arguments" not in caplog.text
    assert "use_cache" not in (tmp_path / "config.json").read_text()


def test_trainer_of_transformers_without_labels(
    tiny_model: Callable[..., GFFusionModel], make_inputs: Callable[..., Any], tmp_path: Path
) -> None:
    """The way that the guide describes."""
    batch, model = make_inputs(), tiny_model()
    items = [{name: values[index] for name, values in batch.items()} for index in range(2)]
    arguments = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True, label_names=[])
    trainer = Trainer(model, arguments, lambda items: {**default_data_collator(items), "return_loss": True})
    expected = model.eval()(**batch, return_loss=True).loss.item()
    assert trainer.evaluate(items)["eval_loss"] == pytest.approx(expected, rel=1e-5)


class WithOwnLoss(GFFusionModel):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs)


@pytest.mark.parametrize("kind", [GFFusionModel, WithOwnLoss])
def test_trainer_of_transformers_averages_the_losses_of_accumulated_batches(
    tiny_model: Callable[..., GFFusionModel], make_inputs: Callable[..., Any], tmp_path: Path, kind: type
) -> None:
    model = tiny_model(paradigm="cascading")
    model.__class__ = kind
    item = {name: values[0] for name, values in make_inputs(labels=True).items()}
    norms = []
    for steps in (1, 4):
        options = {"gradient_accumulation_steps": steps, "per_device_train_batch_size": 1, "learning_rate": 0.0}
        options |= {"max_steps": 1, "logging_steps": 1, "save_strategy": "no", "remove_unused_columns": False}
        arguments = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True, **options)
        trainer = Trainer(model, arguments, train_dataset=[item] * 4)
        trainer.train()
        norms.append(trainer.state.log_history[0]["grad_norm"])
    assert norms[0] > 0 and norms[1] == pytest.approx(norms[0], rel=1e-4)
