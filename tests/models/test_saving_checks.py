"""Models whose networks are not those of their configuration: a warning when they are saved, exactly if they cannot be loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from torch import nn
from torch.nn.utils import parametrizations, prune

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionConfig, GFFusionModel
from gffusion.zoo.checks import check_can_be_saved

TinyModel = Callable[..., GFFusionModel]


def set_head(model: GFFusionModel) -> None:
    model.ssnet.classifier = nn.Linear(model.ssnet.classifier.in_features, 7)


def name_head(model: GFFusionModel) -> None:
    set_head(model)
    model.config.id2label = dict(enumerate("abcdefg"))


def set_convolution(model: GFFusionModel) -> None:
    old = model.funet.decoder[0]
    model.funet.decoder[0] = nn.Conv2d(old.in_channels, old.out_channels, 5, padding=2)


def add_layer(model: GFFusionModel) -> None:
    model.extra = nn.Linear(1, 1)


def set_normalization(model: GFFusionModel) -> None:
    model.funet.decoder[1] = nn.Identity()


MISFITS: dict[Callable[[GFFusionModel], Any], str] = {
    set_head: r"'ssnet.classifier.weight' has the shape \[7, 32\] instead of \[4, 32\], .*`model.config.id2label`",
    set_convolution: r"'funet.decoder.0.weight' has the shape .* a subclass of GFFusionModel",
    add_layer: "'extra.bias' is not expected, .* a subclass of GFFusionModel",
    set_normalization: "'funet.decoder.1.weight' is missing, ",
    lambda model: parametrizations.weight_norm(model.funet.decoder[0]): "is missing, .*`remove_parametrizations`",
    lambda model: prune.random_unstructured(model.funet.decoder[0], "weight", 0.5): "is missing, .*`prune.remove`",
}
FITS: list[Callable[[GFFusionModel], Any]] = [
    name_head,
    lambda model: setattr(model, "clip", torch.compile(model.clip, backend="eager")),
    lambda model: setattr(model.funet, "decoder", nn.DataParallel(model.funet.decoder)),
    lambda model: model.half(),
    lambda model: nn.SyncBatchNorm.convert_sync_batchnorm(model),
    lambda model: model.clip.requires_grad_(True),
]


@pytest.mark.parametrize("change", MISFITS)
def test_misfits(tiny_model: TinyModel, tmp_path: Path, caplog: Any, change: Callable[[GFFusionModel], Any]) -> None:
    """A warning when saving, where an error would lose the training; an error before a training."""
    model = tiny_model()
    change(model)
    arguments = FusionTrainingArguments(str(tmp_path / "run"))
    with pytest.raises(ValueError, match=f"^Saved weights of `model` could not be loaded: .*{MISFITS[change]}"):
        FusionTrainer(model, arguments, [])
    model.save_pretrained(tmp_path / "saved")
    assert "Saving a model that `from_pretrained` cannot load: the weights do not fit" in caplog.text
    with pytest.raises(OSError, match="do not fit the configuration"):
        GFFusionModel.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("choices", [{}, {"use_segmenter": False}, {"paradigm": "parallel"}], ids=str)
def test_built_by_the_configuration(tiny_model: TinyModel, tmp_path: Path, caplog: Any, choices: dict) -> None:
    tiny_model(**choices).save_pretrained(tmp_path)
    assert "cannot load" not in caplog.text


@pytest.mark.parametrize("change", FITS)
def test_fits(tiny_model: TinyModel, tmp_path: Path, caplog: Any, change: Callable[[GFFusionModel], Any]) -> None:
    model = tiny_model()
    change(model)
    model.save_pretrained(tmp_path)
    assert "cannot load" not in caplog.text
    GFFusionModel.from_pretrained(tmp_path)


def test_shared_weights(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model()
    model.funet.infrared_encoder.stem.weight = model.funet.visible_encoder.stem.weight
    with pytest.raises(ValueError, match=r"'funet.visible\S+ and 'funet.infrared\S+ are one tensor\. Copy it"):
        FusionTrainer(model, FusionTrainingArguments(str(tmp_path / "run")), [])


def test_layers_that_a_class_leaves_out(tiny_model: TinyModel, tmp_path: Path, caplog: Any) -> None:
    class Observed(GFFusionModel):
        def save_pretrained(self, folder: Any, **options: Any) -> None:
            weights = options.pop("state_dict", None) or self.state_dict()
            super().save_pretrained(
                folder, state_dict={name: weights[name] for name in weights if not name.startswith("extra")}, **options
            )

    model = Observed(tiny_model().config)
    model.extra, model.extra_too = nn.Linear(2, 2), nn.Linear(2, 2)
    model.extra_too.weight = model.extra.weight
    check_can_be_saved(model)
    model.save_pretrained(tmp_path / "saved")
    assert "cannot load" not in caplog.text
    GFFusionModel.from_pretrained(tmp_path / "saved")


def test_subclasses(tiny_model: TinyModel, tmp_path: Path, caplog: Any) -> None:
    class Longer(GFFusionModel):
        def __init__(self, config: GFFusionConfig, width: int) -> None:
            super().__init__(config)
            self.extra = nn.Linear(width, width)

    class Wide(Longer):
        def __init__(self, config: GFFusionConfig) -> None:
            super().__init__(config, 3)
            set_convolution(self)

    config = tiny_model(paradigm="cascading", use_segmenter=False).config
    Wide(config).save_pretrained(tmp_path / "wide")
    Wide.from_pretrained(tmp_path / "wide")
    Longer(config, 2).save_pretrained(tmp_path / "longer")  # cannot be compared
    assert "cannot load" not in caplog.text


def test_offloaded(tiny_model: TinyModel) -> None:
    check_can_be_saved(cpu_offload(tiny_model()))
