"""GFFusionConfig: the architecture of GFFusion. The defaults are the paper's model."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from huggingface_hub.dataclasses import strict
from transformers import CLIPVisionConfig, Dinov2Config, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.utils import CONFIG_NAME, logging

from .config_limits import (
    check_class_weights,
    check_classes,
    check_encoder_sizes,
    check_field_types,
    check_finite_numbers,
    check_image_sizes,
    check_label_numbers,
    check_segmenter,
    check_semantic_layers,
    check_widths,
    names_other_classes,
    number_classes,
    raise_value_errors,
    refuse_loader_options,
    refuse_path,
)
from .json_files import name_file_in_errors, read_json_object

logger = logging.get_logger(__name__)

if TYPE_CHECKING:  # arguments of these types are replaced, so that readers need not expect them
    _Omitted = Any
    _Fields = Any
else:
    _Omitted, _Fields = None, dict[str, Any]

# Classes of M3FD, the main training set of the paper, after the background.
M3FD_CLASSES = ("background", "person", "car", "bus", "motorcycle", "lamp", "truck")


class LossTerm(NamedTuple):
    """How a term of the loss is named in tables, and the smallest side of an image that it takes."""

    label: str
    minimum_size: int = 1


OUR_TERMS = {"intensity": LossTerm("intensity"), "vif": LossTerm("VIF", 41), "qabf": LossTerm("Qabf", 3)}
"""Terms of L_st that the paper does not have; `NAME_weight` of [`GFFusionConfig`] is the weight of each one."""

# Keyword arguments of `PreTrainedConfig` besides its declared fields.
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

# `label2id` follows from id2label; transformers writes `custom_pipelines` when it saves a pipeline, and its Trainer sets `use_cache`.
_NOT_READ = {"label2id", "custom_pipelines", "use_cache"}

_WEIGHTS = [f"{term}_weight" for term in ("gradient", *OUR_TERMS, "segmentation")]
_TARGET = ("intensity_contrast", "intensity_floor", "intensity_undershoot")
_NON_NEGATIVE = (*_WEIGHTS, *_TARGET, "initializer_range")


@raise_value_errors
@strict
class GFFusionConfig(PreTrainedConfig):
    r"""Configuration of a [`GFFusionModel`] (Luo, Wang, Liu: IEEE Access 12, 2024).

    The defaults are the paper's model. The three groups of arguments are the encoders and the method, its networks, and our
    extensions, which are disabled by default.

    Args:
        clip_config (`CLIPVisionConfig` or `dict`, *optional*):
            Frozen encoder whose features are injected in the hybrid paradigm. Defaults to ViT-B/16.
        dinov2_config (`Dinov2Config` or `dict`, *optional*):
            Frozen encoder of SSNet, and of the injected features in the parallel paradigm. Defaults to ViT-B/14.
        clip_name_or_path (`str`, *optional*, defaults to `"openai/clip-vit-base-patch16"`):
            Source of the CLIP weights of a slim checkpoint.
        clip_revision (`str`, *optional*): Branch, tag or commit of `clip_name_or_path`.
        dinov2_name_or_path (`str`, *optional*, defaults to `"facebook/dinov2-base"`):
            Source of the DINOv2 weights of a slim checkpoint.
        dinov2_revision (`str`, *optional*): Branch, tag or commit of `dinov2_name_or_path`.
        backbone_weights (`"external"` or `"included"`, *optional*, defaults to `"external"`):
            Whether the checkpoint includes the frozen encoders (full) or not (slim). Set by
            [`GFFusionModel.save_pretrained`].

        paradigm (`"cascading"`, `"parallel"` or `"hybrid"`, *optional*, defaults to `"hybrid"`):
            Features injected into FuNet (Fig. 2): none, DINOv2 features of the sources, or CLIP features.
        merging (`"mean"`, `"group_conv"` or `"weighted_sum"`, *optional*, defaults to `"weighted_sum"`):
            How FINet merges the features of several layers.
        num_groups (`int`, *optional*, defaults to 2): Groups of layers in `group_conv` merging.
        group_kernel_size (`int`, *optional*, defaults to 3):
            Kernel of the grouped convolution on the token grid, odd (ours; not given in the paper).
        semantic_layers (`list[int]`, *optional*):
            Encoder layers that are merged, counted from 1. Defaults to all except the last.
        clip_image_size (`list[int]`, *optional*):
            Height and width of CLIP's input, multiples of its patch size. Defaults to CLIP's native size; for other sizes,
            the position embeddings are interpolated.

        stem_channels (`int`, *optional*, defaults to 16): Channels after the first convolution of each modality.
        feature_channels (`int`, *optional*, defaults to 48):
            Channels of each modality after the gradient residual dense block; z_f has twice as many.
        decoder_channels (`list[int]`, *optional*, defaults to `[64, 32, 16]`):
            Widths of the convolutions that reconstruct the image (ours; not given in the paper).
        leaky_relu_slope (`float`, *optional*, defaults to 0.2): Negative slope of LeakyReLU (ours).
        color_space (`"ycbcr"` or `"rgb"`, *optional*, defaults to `"ycbcr"`):
            Fuse luma and add the visible chroma afterwards, or fuse three channels (ours).
        use_segmenter (`bool`, *optional*, defaults to `True`): Whether the model has SSNet.
        segmenter_image_size (`list[int]`, *optional*, defaults to `[196, 196]`):
            Height and width of DINOv2's input, multiples of its patch size.
        ignore_index (`int`, *optional*, defaults to 255): Label of pixels that L_ss ignores.
        gradient_weight (`float`, *optional*, defaults to 10.0): Beta of Eq. (10) (ours; not given in the paper).
        segmentation_weight (`float`, *optional*, defaults to 0.2): Lambda of Eq. (12).
        initializer_range (`float`, *optional*, defaults to 0.02): Standard deviation of new linear layers.

        segmenter_layers (`int`, *optional*, defaults to 1):
            Number of last DINOv2 layers whose patch tokens, each through the final layer norm, are concatenated for the
            head. DINOv2's own multi-scale segmenters use four.
        segmenter_windows (`list[int]`, *optional*, defaults to `[1, 1]`):
            Rows and columns of windows that DINOv2 reads separately, for encoders trained on windows. They must divide
            the token grid. Further windows lie halfway between neighbors, and overlapping tokens are averaged.
        segmenter_scales (`list[float]`, *optional*, defaults to `[1]`):
            Factors on `segmenter_image_size` at which label maps are predicted and averaged; 1 must be included. Used by
            `gffusion.inference.predict` only: losses and the logits of `forward` use scale 1.
        segmenter_refinement (`float`, *optional*, defaults to 0.0):
            Radius, in tokens and at most 8, of the guided filter that aligns label maps with edges of the images. Used by
            `gffusion.inference.predict` only; 0 disables it.
        class_weights (`list[float]`, *optional*):
            Weight of each class in L_ss. Defaults to equal weights. Dropped when a checkpoint is loaded with other classes.
        intensity_weight (`float`, *optional*, defaults to 0.0): Weight of the intensity term in L_st.
        intensity_target (`"maximum"` or `"two_scale"`, *optional*, defaults to `"maximum"`):
            Target of the intensity term: the larger source, or [`two_scale_target`].
        intensity_contrast (`float`, *optional*, defaults to 1.0): Contrast of the smooth part of `"two_scale"`.
        intensity_floor (`float`, *optional*, defaults to 0.0): Lower limit of it, as a factor on the mean of both sources.
        intensity_undershoot (`float`, *optional*, defaults to 1.0): How dark `"two_scale"` may become next to hot objects.
        vif_weight (`float`, *optional*, defaults to 0.0): Weight of [`vif_loss`] in L_st.
        qabf_weight (`float`, *optional*, defaults to 0.0): Weight of [`qabf_loss`] in L_st.
        pixel_unshuffle (1, 2 or 4, *optional*, defaults to 1):
            Factor by which FuNet's features are smaller than the images, for speed. Pixels of a block become channels.
        context_channels (`int`, *optional*, defaults to 0):
            Channels of a branch that reads both images at a quarter of the resolution of FuNet's features; 0 disables it.
        blend_sources (`bool`, *optional*, defaults to `False`):
            Whether FuNet predicts the share of each source in every pixel, and an offset, instead of the fused image.

    Raises:
        ValueError: If a value is invalid or contradicts another one, or an argument is unknown.

    Examples:
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

    # Terms of the loss are no predictions, which the Trainer of transformers gives to `compute_metrics`.
    keys_to_ignore_at_inference = [
        f"loss_{term}" for term in ("structural", "ssim", "gradient", *OUR_TERMS, "segmentation")
    ]

    clip_config: _Fields | CLIPVisionConfig | _Omitted = None
    dinov2_config: _Fields | Dinov2Config | _Omitted = None
    clip_name_or_path: str | None = "openai/clip-vit-base-patch16"
    clip_revision: str | None = None
    dinov2_name_or_path: str | None = "facebook/dinov2-base"
    dinov2_revision: str | None = None
    backbone_weights: Literal["external", "included"] = "external"

    # The method.
    paradigm: Literal["cascading", "parallel", "hybrid"] = "hybrid"
    merging: Literal["mean", "group_conv", "weighted_sum"] = "weighted_sum"
    num_groups: int = 2
    group_kernel_size: int = 3
    semantic_layers: list[int] | _Omitted = None
    clip_image_size: list[int] | None = None

    # Its networks and losses.
    stem_channels: int = 16
    feature_channels: int = 48
    decoder_channels: list[int] | _Omitted = None
    leaky_relu_slope: float | int = 0.2
    color_space: Literal["ycbcr", "rgb"] = "ycbcr"
    use_segmenter: bool = True
    segmenter_image_size: list[int] | _Omitted = None
    ignore_index: int = 255
    gradient_weight: float | int = 10.0
    segmentation_weight: float | int = 0.2
    initializer_range: float | int = 0.02

    # Our extensions; the defaults disable them.
    segmenter_layers: int = 1
    segmenter_windows: list[int] | _Omitted = None
    segmenter_scales: list[float | int] | _Omitted = None
    segmenter_refinement: float | int = 0.0
    class_weights: list[float | int] | None = None
    intensity_weight: float | int = 0.0
    intensity_target: Literal["maximum", "two_scale"] = "maximum"
    intensity_contrast: float | int = 1.0
    intensity_floor: float | int = 0.0
    intensity_undershoot: float | int = 1.0
    vif_weight: float | int = 0.0
    qabf_weight: float | int = 0.0
    pixel_unshuffle: Literal[1, 2, 4] = 1
    context_channels: int = 0
    blend_sources: bool = False

    if TYPE_CHECKING:
        id2label: dict[int, str] | _Omitted = None

    def __post_init__(self, **kwargs: Any) -> None:
        if unknown := self._find_unknown(kwargs):
            allowed = sorted(set(self.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__))
            raise ValueError(
                f"Unknown GFFusionConfig arguments {unknown}. Allowed: {', '.join(allowed)}. A newer gffusion may have more."
            )
        if kwargs.get("num_labels", 0) is None:
            del kwargs["num_labels"]
        given = {"id2label": self.id2label, "label2id": self.label2id}  # type: ignore[has-type]
        check_classes(given | kwargs)
        self._fill_defaults(has_classes=given["id2label"] is not None or "num_labels" in kwargs)
        super().__post_init__(**kwargs)
        self.label2id = {label: index for index, label in self.id2label.items()}
        check_label_numbers(self.id2label, given["label2id"])
        if self.semantic_layers is None and self.semantic_config is not None:
            self.semantic_layers = list(range(1, self.semantic_config.num_hidden_layers))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value if name != "id2label" or value is None else number_classes(value))

    def _fill_defaults(self, has_classes: bool) -> None:
        """Set the mutable defaults, which a dataclass cannot declare."""
        defaults: dict[str, Any] = {
            "decoder_channels": [64, 32, 16],
            "segmenter_image_size": [196, 196],
            "segmenter_windows": [1, 1],
            "segmenter_scales": [1],
        }
        if self.needs_clip:
            defaults["clip_config"] = {"patch_size": 16}
        if self.needs_dinov2:
            defaults["dinov2_config"] = {}
        if not has_classes:
            defaults["id2label"] = dict(enumerate(M3FD_CLASSES))
        for name, value in defaults.items():
            if getattr(self, name) is None:
                setattr(self, name, value)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a configuration from a folder or the Hub.

        Takes the arguments of [`~transformers.PreTrainedConfig.from_pretrained`], and arguments of this class as overrides.

        Raises:
            OSError: If it cannot be found or read.
            ValueError: If a value is invalid. Configurations from the Hub must not name local folders, and configuration
                files must not select an attention implementation or quantization; pass these as arguments.
        """
        source = os.fspath(pretrained_model_name_or_path)
        file = os.path.join(source, kwargs.get("subfolder") or "", CONFIG_NAME)
        if os.path.isfile(file):
            read_json_object(file)
        with name_file_in_errors(file, kwargs.keys() & {*cls.__dataclass_fields__, "num_labels"}):
            return super().from_pretrained(pretrained_model_name_or_path, _source=source, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Create a configuration from a dictionary; overrides in `kwargs` are checked like constructor arguments."""
        check_field_types(config_dict)
        classes = {"id2label", "label2id", "num_labels"}
        kwargs = {key: value for key, value in kwargs.items() if value is not None or key not in classes}
        check_classes(kwargs)
        if (model_type := config_dict.get("model_type", cls.model_type)) != cls.model_type:
            raise ValueError(
                f"Expected the configuration of a {cls.model_type!r} model, got one of a {model_type!r} model (`model_type`)."
            )
        refuse_loader_options(config_dict)
        overrides = {key: kwargs.pop(key) for key in list(kwargs) if key in cls.__dataclass_fields__ and key != "dtype"}
        source = kwargs.pop("_source", kwargs.get("name_or_path"))  # from `from_pretrained` or from AutoConfig
        if source and not os.path.exists(source):  # it comes from the Hub
            for name in {"clip_name_or_path", "dinov2_name_or_path"} - overrides.keys():
                refuse_path(name, config_dict.get(name))
        saved = {name: value for name, value in config_dict.items() if name not in _NOT_READ}
        if names_other_classes(config_dict, {**kwargs, **overrides}):
            saved.update(id2label=None, class_weights=None)
        for name in ("clip", "dinov2"):
            source = overrides.get(f"{name}_name_or_path")
            if source not in (None, config_dict.get(f"{name}_name_or_path")):  # the revision is one of the saved source
                saved[f"{name}_revision"] = None
        return super().from_dict({**saved, **overrides}, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save as [`~transformers.PreTrainedConfig.save_pretrained`] does, without attributes that could not be loaded."""
        if unknown := self._find_unknown(vars(self).keys() - _NOT_READ):
            logger.warning(
                f"Not saved, because GFFusionConfig has no such arguments: {unknown}. Keep notes of your own in another file."
            )
        code = self.__dict__.pop("auto_map", None) or {}
        if own := {name: place for name, place in code.items() if "--" not in str(place)}:  # others name a repository
            self.auto_map = own
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return all arguments; `label2id` follows from `id2label`, which can have been set since."""
        values = {**super().to_dict(), "label2id": {label: index for index, label in self.id2label.items()}}
        unknown = self._find_unknown(values)
        return {name: value for name, value in values.items() if name not in unknown}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the values to save: those that differ from the defaults, and the classes, also if they are transformers' default."""
        return {**super().to_diff_dict(), "id2label": dict(self.id2label)}

    @property
    def needs_clip(self) -> bool:
        """Whether the model has a CLIP encoder."""
        return self.paradigm == "hybrid"

    @property
    def needs_dinov2(self) -> bool:
        """Whether the model has a DINOv2 encoder."""
        return self.use_segmenter or self.paradigm == "parallel"

    @property
    def semantic_config(self) -> CLIPVisionConfig | Dinov2Config | None:
        """Configuration of the encoder whose features FINet injects; `None` in the cascading paradigm."""
        return {"hybrid": self.clip_config, "parallel": self.dinov2_config}.get(self.paradigm)

    @property
    def clip_size(self) -> list[int]:
        """Height and width of CLIP's input."""
        native: int = self.clip_config.image_size
        return self.clip_image_size or [native, native]

    @property
    def clip_grid(self) -> tuple[int, int]:
        """Rows and columns of CLIP's patch tokens."""
        patch_size: int = self.clip_config.patch_size
        return self.clip_size[0] // patch_size, self.clip_size[1] // patch_size

    @property
    def spatial_channels(self) -> int:
        """Channels of z_f: both modalities concatenated."""
        return 2 * self.feature_channels

    @property
    def image_channels(self) -> int:
        """Channels of FuNet's visible input and of the fused image."""
        return 1 if self.color_space == "ycbcr" else 3

    def validate_architecture(self) -> None:
        """Check values against each other (called by `@strict` after construction)."""
        check_widths(self)
        for name in ("clip_config", "dinov2_config"):
            if getattr(self, name) is not None:
                check_encoder_sizes(name, getattr(self, name))
        check_semantic_layers(self)
        check_image_sizes(self)
        if self.needs_dinov2:
            check_segmenter(self)
        for name in _NON_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be finite and non-negative, got {getattr(self, name)}.")
        number_classes(self.id2label)
        check_class_weights(self)
        for name, value in vars(self).items():
            check_finite_numbers(name, value)

    def _find_unknown(self, names: Iterable[str]) -> list[str]:
        public = {name for name in names if not name.startswith("_")}
        return sorted(public - _BASE_ARGUMENTS - self.__dataclass_fields__.keys())


__all__ = ["GFFusionConfig"]
