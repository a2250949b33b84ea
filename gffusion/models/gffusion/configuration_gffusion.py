"""GFFusionConfig: the architecture choices of GFFusion. Defaults are the paper's model."""

import functools
import os
from typing import Any, Literal, TypeVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import CLIPVisionConfig, Dinov2Config, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .config_limits import (
    LIMITS,
    MAX_DECODER_LAYERS,
    MAX_LABELS,
    check_encoder_sizes,
    refuse_choices_of_the_loader,
    refuse_path,
)

# Classes of M3FD, the paper's main training set, after the background.
M3FD_CLASSES = ("background", "person", "car", "bus", "motorcycle", "lamp", "truck")

# Keyword arguments that `PreTrainedConfig` itself understands besides its declared fields.
_BASE_ARGUMENTS = {
    "attn_implementation",
    "auto_map",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "quantization_config",
    "torch_dtype",
}

ConfigClass = TypeVar("ConfigClass", bound=type[PreTrainedConfig])


def _raise_value_errors(config_class: ConfigClass) -> ConfigClass:
    """Let a `@strict` class report a refused value as the `ValueError` that callers expect."""
    original_init = config_class.__init__

    @functools.wraps(original_init)
    def init(self: PreTrainedConfig, **kwargs: Any) -> None:
        try:
            original_init(self, **kwargs)
        except StrictDataclassError as error:
            raise ValueError(f"{config_class.__name__}: {' '.join(str(error).split())}") from error

    config_class.__init__ = init  # type: ignore[method-assign,assignment]
    return config_class


@_raise_value_errors
@strict
class GFFusionConfig(PreTrainedConfig):
    r"""Configuration of a [`GFFusionModel`] (Luo, Wang, Liu: IEEE Access 12, 2024).

    Args:
        clip_config (`CLIPVisionConfig` or `dict`, *optional*):
            The frozen encoder whose features are injected in the hybrid paradigm. Defaults to ViT-B/16.
        dinov2_config (`Dinov2Config` or `dict`, *optional*):
            The frozen encoder of the segmentation network, and of the injected features in the parallel paradigm.
            Defaults to ViT-B/14.
        clip_name_or_path (`str`, *optional*, defaults to `"openai/clip-vit-base-patch16"`):
            Where a slim checkpoint finds the CLIP weights.
        clip_revision (`str`, *optional*): Branch, tag or commit of `clip_name_or_path`.
        dinov2_name_or_path (`str`, *optional*, defaults to `"facebook/dinov2-base"`):
            Where a slim checkpoint finds the DINOv2 weights.
        dinov2_revision (`str`, *optional*): Branch, tag or commit of `dinov2_name_or_path`.
        backbone_weights (`"external"` or `"included"`, *optional*, defaults to `"external"`):
            Whether the checkpoint leaves the frozen backbones to their own repositories (slim) or holds them (full).
            [`GFFusionModel.save_pretrained`] sets it.
        paradigm (`"cascading"`, `"parallel"` or `"hybrid"`, *optional*, defaults to `"hybrid"`):
            What is injected into FuNet (Fig. 2): nothing, DINOv2 features of the sources, or CLIP features.
        merging (`"mean"`, `"group_conv"` or `"weighted_sum"`, *optional*, defaults to `"weighted_sum"`):
            How FINet merges the features of several layers.
        num_groups (`int`, *optional*, defaults to 2): Groups of layers in `group_conv` merging.
        group_kernel_size (`int`, *optional*, defaults to 3):
            Kernel of the grouped convolution on the token grid, odd (ours; the paper does not give it).
        semantic_layers (`list[int]`, *optional*):
            Encoder layers that are merged, counted from 1. Defaults to all but the last.
        clip_image_size (`list[int]`, *optional*):
            Height and width at which CLIP sees the images, multiples of its patch size. Defaults to CLIP's native
            size; others interpolate the position embeddings.
        stem_channels (`int`, *optional*, defaults to 16): Channels after the first convolution of each modality.
        feature_channels (`int`, *optional*, defaults to 48):
            Channels of each modality after the gradient residual dense block; z_f has twice as many.
        decoder_channels (`list[int]`, *optional*, defaults to `[64, 32, 16]`):
            Widths of the convolutions that reconstruct the image (ours; the paper does not give them).
        leaky_relu_slope (`float`, *optional*, defaults to 0.2): Negative slope of LeakyReLU (ours).
        color_space (`"ycbcr"` or `"rgb"`, *optional*, defaults to `"ycbcr"`):
            Fuse the luma and put chroma back afterwards, or fuse three channels.
        use_segmenter (`bool`, *optional*, defaults to `True`): Whether the model has SSNet.
        segmenter_image_size (`list[int]`, *optional*, defaults to `[196, 196]`):
            Height and width at which DINOv2 sees the images, multiples of its patch size.
        segmenter_windows (`list[int]`, *optional*, defaults to `[1, 1]`):
            Rows and columns of windows, each of which DINOv2 reads by itself: for an encoder that learned on windows (ours).
            They divide the rows and columns of tokens. Halfway between neighbours it reads another; where windows overlap,
            tokens are means. `[2, 2]` are nine windows, of 2.25 times as many tokens in all, each of which attends to fewer.
        segmenter_scales (`list[float]`, *optional*, defaults to `[1]`):
            Sizes at which DINOv2 reads the fused image in evaluation mode, in `segmenter_image_size`, 1 among them; what it
            tells is averaged (ours). There are as many more windows, each of as many tokens: with two windows a side, 1.5
            makes three. In training mode, and for L_ss, only 1 counts.
        segmenter_layers (`int`, *optional*, defaults to 1):
            Last layers of DINOv2 whose patch tokens, each through its final layer norm, are concatenated for the head.
            The paper's head reads one; DINOv2's own multi-scale segmenters read four (ours).
        segmenter_refinement (`float`, *optional*, defaults to 0.0):
            Radius, in tokens, of the guided filter that gives label maps the edges of the fused and the infrared picture
            (ours), up to 8. With 0, and in training mode, logits are those of the head, upsampled, as in the paper; L_ss is
            always of those.
        ignore_index (`int`, *optional*, defaults to 255): Label of pixels that do not count in L_ss.
        class_weights (`list[float]`, *optional*):
            Weight of each class in L_ss, for classes that cover few pixels (ours). Defaults to the same for all. Loading
            with other classes drops them.
        gradient_weight (`float`, *optional*, defaults to 10.0): Beta of Eq. (10) (ours; the paper does not give it).
        intensity_weight (`float`, *optional*, defaults to 0.0): Weight of the intensity term (ours).
        intensity_target (`"maximum"` or `"two_scale"`, *optional*, defaults to `"maximum"`):
            What the intensity term compares with: the larger source, or smooth parts and details fused apart, see
            [`two_scale_target`] (ours).
        intensity_contrast (`float`, *optional*, defaults to 1.0): Contrast of the smooth part of `"two_scale"`.
        segmentation_weight (`float`, *optional*, defaults to 0.2): Lambda of Eq. (12).
        initializer_range (`float`, *optional*, defaults to 0.02): Standard deviation of fresh linear layers.

    Raises:
        ValueError: If a value is unknown or does not fit the others, or if an argument is unknown.

    Example:
    ```python
    >>> from gffusion import GFFusionConfig

    >>> config = GFFusionConfig(paradigm="cascading", use_segmenter=False)
    >>> config.needs_clip, config.needs_dinov2
    (False, False)

    ```
    """

    model_type = "gffusion"
    sub_configs_defaults = {
        "clip_config": SubConfigSpec(CLIPVisionConfig, optional=True),
        "dinov2_config": SubConfigSpec(Dinov2Config, optional=True),
    }

    clip_config: dict[str, Any] | CLIPVisionConfig | None = None
    dinov2_config: dict[str, Any] | Dinov2Config | None = None
    clip_name_or_path: str | None = "openai/clip-vit-base-patch16"
    clip_revision: str | None = None
    dinov2_name_or_path: str | None = "facebook/dinov2-base"
    dinov2_revision: str | None = None
    backbone_weights: Literal["external", "included"] = "external"

    paradigm: Literal["cascading", "parallel", "hybrid"] = "hybrid"
    merging: Literal["mean", "group_conv", "weighted_sum"] = "weighted_sum"
    num_groups: int = 2
    group_kernel_size: int = 3
    semantic_layers: list[int] | None = None
    clip_image_size: list[int] | None = None

    stem_channels: int = 16
    feature_channels: int = 48
    decoder_channels: list[int] | None = None
    leaky_relu_slope: float | int = 0.2
    color_space: Literal["ycbcr", "rgb"] = "ycbcr"

    use_segmenter: bool = True
    segmenter_image_size: list[int] | None = None
    segmenter_windows: list[int] | None = None
    segmenter_scales: list[float | int] | None = None
    segmenter_layers: int = 1
    segmenter_refinement: float | int = 0.0
    ignore_index: int = 255
    class_weights: list[float | int] | None = None

    gradient_weight: float | int = 10.0
    intensity_weight: float | int = 0.0
    intensity_target: Literal["maximum", "two_scale"] = "maximum"
    intensity_contrast: float | int = 1.0
    segmentation_weight: float | int = 0.2
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: C901
        self._refuse_unknown(kwargs)
        if self.needs_clip and self.clip_config is None:
            self.clip_config = {"patch_size": 16}
        if self.needs_dinov2 and self.dinov2_config is None:
            self.dinov2_config = {}
        if kwargs.get("num_labels", 0) > MAX_LABELS:
            raise ValueError(f"`num_labels` must be at most {MAX_LABELS}, got {kwargs['num_labels']}.")
        if self.id2label is None and "num_labels" not in kwargs:  # type: ignore[has-type]
            self.id2label = dict(enumerate(M3FD_CLASSES))
        super().__post_init__(**kwargs)
        if self.label2id is None:  # type: ignore[has-type]
            self.label2id = {label: index for index, label in self.id2label.items()}
        if self.decoder_channels is None:
            self.decoder_channels = [64, 32, 16]
        if self.segmenter_image_size is None:
            self.segmenter_image_size = [196, 196]
        if self.segmenter_windows is None:
            self.segmenter_windows = [1, 1]
        if self.segmenter_scales is None:
            self.segmenter_scales = [1]
        if self.semantic_layers is None and self.semantic_config is not None:
            self.semantic_layers = list(range(1, self.semantic_config.num_hidden_layers))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a configuration from a folder or the Hub.

        Takes the arguments of [`~transformers.PreTrainedConfig.from_pretrained`], and those of this class as overrides.

        Raises:
            OSError: If it cannot be found or read.
            ValueError: If a value is refused. A configuration from the Hub may not name folders, and none may choose
                how a model is run: who loads it does, by arguments.
        """
        source = os.fspath(pretrained_model_name_or_path)
        return super().from_pretrained(pretrained_model_name_or_path, _source=source, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a configuration from a dictionary; overrides in `kwargs` pass the same checks as constructor arguments."""
        if (model_type := config_dict.get("model_type", cls.model_type)) != cls.model_type:
            raise ValueError(f"This is the configuration of a {model_type!r} model, not of a {cls.model_type!r} one.")
        refuse_choices_of_the_loader(config_dict)
        overrides = {key: kwargs.pop(key) for key in list(kwargs) if key in cls.__dataclass_fields__ and key != "dtype"}
        source = kwargs.pop("_source", kwargs.get("name_or_path"))  # ours, or AutoConfig's
        if source and not os.path.exists(source):  # it comes from the Hub
            for name in {"clip_name_or_path", "dinov2_name_or_path"} - overrides.keys():
                refuse_path(name, config_dict.get(name))
        if _names_other_classes(config_dict, {**kwargs, **overrides}):  # weights of classes say nothing of others
            overrides.setdefault("class_weights", None)
        return super().from_dict({**config_dict, **overrides}, **kwargs)

    @property
    def needs_clip(self) -> bool:
        """Whether the model carries a CLIP encoder."""
        return self.paradigm == "hybrid"

    @property
    def needs_dinov2(self) -> bool:
        """Whether the model carries a DINOv2 encoder."""
        return self.use_segmenter or self.paradigm == "parallel"

    @property
    def semantic_config(self) -> CLIPVisionConfig | Dinov2Config | None:
        """Configuration of the encoder whose features FINet injects, `None` in the cascading paradigm."""
        return {"hybrid": self.clip_config, "parallel": self.dinov2_config}.get(self.paradigm)  # type: ignore[return-value]

    @property
    def spatial_channels(self) -> int:
        """Channels of z_f: both modalities, concatenated."""
        return 2 * self.feature_channels

    @property
    def image_channels(self) -> int:
        """Channels of the visible image as FuNet sees it, and of the fused image."""
        return 1 if self.color_space == "ycbcr" else 3

    def validate_architecture(self) -> None:
        """Check that the values fit together (called by `@strict` after construction)."""
        self._validate_widths()
        self._validate_encoders()
        self._validate_semantics()
        self._validate_segmenter_reading()
        self._validate_image_sizes()
        self._validate_segmenter_windows()
        self._validate_segmenter_scales()
        weights = (
            "gradient_weight",
            "intensity_weight",
            "intensity_contrast",
            "segmentation_weight",
            "initializer_range",
        )
        for name in weights:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be finite and not negative, got {getattr(self, name)}.")
        if not self.id2label or sorted(self.id2label) != list(range(len(self.id2label))):
            raise ValueError(
                f"`id2label` must number the classes 0, 1, 2, ..., at least one class, got {sorted(self.id2label)}."
            )
        self._validate_class_weights()

    def _refuse_unknown(self, arguments: dict[str, Any]) -> None:
        unknown = {name for name in arguments if not name.startswith("_")} - _BASE_ARGUMENTS
        if unknown:
            allowed = sorted(set(self.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__))
            raise ValueError(f"Unknown GFFusionConfig arguments {sorted(unknown)}. Allowed: {', '.join(allowed)}.")

    def _validate_widths(self) -> None:
        widths = {
            "stem_channels": [self.stem_channels],
            "feature_channels": [self.feature_channels],
            "decoder_channels": self.decoder_channels or [],
        }
        for name, values in widths.items():
            if not all(1 <= value <= LIMITS[name] for value in values):
                raise ValueError(f"`{name}` must lie between 1 and {LIMITS[name]}, got {getattr(self, name)}.")
        if len(self.decoder_channels or []) > MAX_DECODER_LAYERS:
            raise ValueError(
                f"`decoder_channels` must have at most {MAX_DECODER_LAYERS} entries, got {len(self.decoder_channels or [])}."
            )
        if not 0 <= self.leaky_relu_slope < 1:
            raise ValueError(f"`leaky_relu_slope` must lie in [0, 1), got {self.leaky_relu_slope}.")

    def _validate_encoders(self) -> None:
        for name, encoder in (("clip_config", self.clip_config), ("dinov2_config", self.dinov2_config)):
            if encoder is not None:
                check_encoder_sizes(name, encoder)  # type: ignore[arg-type]

    def _validate_semantics(self) -> None:
        if self.semantic_config is None:
            return
        num_layers = self.semantic_config.num_hidden_layers
        layers = self.semantic_layers
        if not layers or len(set(layers)) != len(layers) or not all(1 <= layer <= num_layers for layer in layers):
            raise ValueError(
                f"`semantic_layers` must be different layers of the encoder, from 1 to {num_layers}, got {layers}."
            )
        if self.merging == "group_conv" and not 1 <= self.num_groups <= len(layers):
            raise ValueError(
                f"`num_groups` must lie between 1 and the number of semantic layers ({len(layers)}), "
                f"got {self.num_groups}."
            )
        if self.group_kernel_size % 2 == 0 or not 1 <= self.group_kernel_size <= LIMITS["group_kernel_size"]:
            raise ValueError(
                f"`group_kernel_size` must be odd, from 1 to {LIMITS['group_kernel_size']}, got {self.group_kernel_size}."
            )

    def _validate_segmenter_reading(self) -> None:
        if not self.needs_dinov2:
            return
        num_layers = self.dinov2_config.num_hidden_layers  # type: ignore[union-attr]
        if not 1 <= self.segmenter_layers <= num_layers:
            raise ValueError(
                f"`segmenter_layers` must lie between 1 and the number of DINOv2's layers ({num_layers}), "
                f"got {self.segmenter_layers}."
            )
        if not 0 <= self.segmenter_refinement <= LIMITS["segmenter_refinement"]:
            raise ValueError(
                f"`segmenter_refinement` must lie between 0 and {LIMITS['segmenter_refinement']} tokens, "
                f"got {self.segmenter_refinement}."
            )

    def _validate_segmenter_windows(self) -> None:
        if not self.needs_dinov2:
            return
        grid = [side // self.dinov2_config.patch_size for side in self.segmenter_image_size]  # type: ignore
        windows = self.segmenter_windows or []
        if len(windows) != 2 or any(count < 1 or side % count for side, count in zip(grid, windows, strict=True)):
            raise ValueError(
                f"`segmenter_windows` must be [rows, columns] that divide the {grid[0]} x {grid[1]} tokens of "
                f"`segmenter_image_size`, got {windows}."
            )

    def _validate_segmenter_scales(self) -> None:
        if not self.needs_dinov2:
            return
        scales = self.segmenter_scales or []
        largest = LIMITS["segmenter_image_size"] / max(self.segmenter_image_size)  # type: ignore[arg-type]
        fit = all(
            0 < scale <= largest and all(float(scale * count).is_integer() for count in self.segmenter_windows)  # type: ignore[union-attr]
            for scale in scales
        )
        if not fit or 1 not in scales or len(set(scales)) != len(scales):
            raise ValueError(
                f"`segmenter_scales` must be different numbers, 1 among them, up to {largest:.4g}, that times "
                f"`segmenter_windows` ({self.segmenter_windows}) are whole, got {self.segmenter_scales}."
            )
        if self.paradigm == "parallel" and scales != [1]:
            raise ValueError(
                "`segmenter_scales` are of the fused image, and in the parallel paradigm SSNet reads the sources: "
                f"leave them at [1], got {scales}."
            )

    def _validate_class_weights(self) -> None:
        if self.class_weights is None:
            return
        fit = len(self.class_weights) == len(self.id2label)
        if (
            not fit
            or not all(0 <= weight < float("inf") for weight in self.class_weights)
            or not any(self.class_weights)
        ):
            raise ValueError(
                f"`class_weights` must be {len(self.id2label)} finite numbers that are not negative, one a class of "
                f"`id2label` and not all 0, got {self.class_weights}."
            )

    def _validate_image_sizes(self) -> None:
        sizes = [
            ("clip_image_size", self.clip_image_size, self.clip_config, self.needs_clip),
            ("segmenter_image_size", self.segmenter_image_size, self.dinov2_config, self.needs_dinov2),
        ]
        for name, size, encoder, needed in sizes:
            if not needed or size is None:
                continue
            patch_size = encoder.patch_size  # type: ignore[union-attr]
            sides = range(patch_size, LIMITS[name] + 1, patch_size)
            if len(size) != 2 or any(side not in sides for side in size):
                raise ValueError(
                    f"`{name}` must be [height, width] in multiples of the encoder's patch size {patch_size}, "
                    f"up to {LIMITS[name]}, got {size}."
                )


def _names_other_classes(config_dict: dict[str, Any], overrides: dict[str, Any]) -> bool:
    """Tell whether overrides of a configuration number or name its classes otherwise."""
    saved, given = (
        {int(key): name for key, name in (part.get("id2label") or {}).items()} for part in (config_dict, overrides)
    )
    return (bool(given) and given != saved) or overrides.get("num_labels", len(saved)) != len(saved)


__all__ = ["GFFusionConfig"]
