"""GFFusionModel: FuNet, FINet and SSNet around a frozen CLIP and a frozen DINOv2 encoder.

Paper: Luo, Wang, Liu, "Infrared and Visible Image Fusion via General Feature Embedding From CLIP and DINOv2",
IEEE Access 12, 2024. Equation numbers and symbols in comments (z_f, f_l, z_c, z_g, z, I_fus) are from the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPVisionModel, Dinov2Model, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .capturing_hooks import without_capturing
from .checkpointing import FrozenBackboneModel
from .configuration_gffusion import GFFusionConfig
from .encoders import gradients_if_trained
from .finet import FINet, merge_modalities, upsample
from .funet import FuNet
from .image_ops import CLIP_MEAN, CLIP_STD, DINOV2_MEAN, DINOV2_STD, prepare_images, restore_color, rgb_to_luma
from .input_checks import check_inputs, check_semantic_tokens
from .losses import gradient_loss, intensity_loss, segmentation_loss, ssim_loss, total_loss
from .metric_losses import qabf_loss, vif_loss
from .ssnet import SSNet
from .windows import join_windows, split_windows


class ProjectedSemantics(NamedTuple):
    """Features that FINet injects into FuNet, and tokens of the sources that SSNet reads in the parallel paradigm."""

    merged: Tensor | None  # z_c, (B, N, D)
    projections: Tensor | None  # gate logits and features for every channel of z_f, (B, 2 * 2 * feature_channels, h, w)
    source_tokens: Tensor | None  # of DINOv2, (B, N, D)


@dataclass
class GFFusionOutput(ModelOutput):
    """Output of [`GFFusionModel`]. Values that were not requested are `None` and absent from the tuple form.

    Args:
        loss (`Tensor` of shape `()`): L_total, Eq. (12).
        loss_structural (`Tensor` of shape `()`): L_st, Eq. (10), plus our weighted terms.
        loss_ssim (`Tensor` of shape `()`): SSIM terms of L_st.
        loss_gradient (`Tensor` of shape `()`): Gradient term of L_st, unweighted.
        loss_intensity (`Tensor` of shape `()`): Intensity term, unweighted.
        loss_vif (`Tensor` of shape `()`): VIF term, unweighted; `None` if its weight is 0.
        loss_qabf (`Tensor` of shape `()`): Qabf term, unweighted; `None` if its weight is 0.
        loss_segmentation (`Tensor` of shape `()`): L_ss, Eq. (11).
        fused_values (`Tensor` of shape `(B, 1 or 3, H, W)`): I_fus in [0, 1], float32; luma if `color_space="ycbcr"`.
        logits (`Tensor` of shape `(B, num_labels, H, W)`):
            Class logits of I_seg at one scale, float32, as used in the loss.
        spatial_features (`Tensor` of shape `(B, 2 * feature_channels, h, w)`): z_f.
        semantic_features (`Tensor` of shape `(B, N, D)`): z_c, merged tokens.
        gate (`Tensor` of shape `(B, 2 * feature_channels, h, w)`): Sigmoid of Eq. (7).
    """

    # `Any`, so that type checkers want no check of values that were requested.
    loss: Tensor | Any = None
    loss_structural: Tensor | Any = None
    loss_ssim: Tensor | Any = None
    loss_gradient: Tensor | Any = None
    loss_intensity: Tensor | Any = None
    loss_vif: Tensor | Any = None
    loss_qabf: Tensor | Any = None
    loss_segmentation: Tensor | Any = None
    fused_values: Tensor | Any = None
    logits: Tensor | Any = None
    spatial_features: Tensor | Any = None
    semantic_features: Tensor | Any = None
    gate: Tensor | Any = None


class GFFusionPreTrainedModel(FrozenBackboneModel):
    """Weight initialization and the loading interface of transformers."""

    config_class = GFFusionConfig
    base_model_prefix = "gffusion"
    main_input_name = "visible_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    # Otherwise, the Trainer of transformers does not divide the losses of accumulated batches if `forward` takes **kwargs.
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["FuNet", "FINet", "SSNet", "CLIPEncoderLayer", "Dinov2Layer"]
    # A model without a segmenter, or of another paradigm, can be loaded from a checkpoint with more weights.
    _keys_to_ignore_on_load_unexpected = [r"^clip\.", r"^dinov2\.", r"^finet\.", r"^ssnet\."]

    if TYPE_CHECKING:  # transformers and PyTorch tell type checkers less
        config: GFFusionConfig
        to: Callable[..., Self]
        cuda: Callable[..., Self]
        half: Callable[[], Self]
        float: Callable[[], Self]
        eval: Callable[[], Self]

        def __init_subclass__(cls, **kwargs: Any) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for pickles and copies, without hooks that transformers installs again on use."""
        return {**self.__dict__, "_modules": {name: without_capturing(part) for name, part in self._modules.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes, and register all parts for hidden states, which transformers does when it makes them."""
        super().__setstate__(state)
        for part in self.modules():
            if isinstance(part, PreTrainedModel):  # an empty one of its class registers the class
                PreTrainedModel.__init__(object.__new__(type(part)), part.config)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, a=self.config.leaky_relu_slope, nonlinearity="leaky_relu")
        elif isinstance(module, FINet):
            for name in ("layer_weights", "group_weights"):
                if hasattr(module, name):
                    init.zeros_(getattr(module, name))  # equal shares after the softmax


class GFFusionModel(GFFusionPreTrainedModel):
    """Fuse a visible and an infrared image, and segment the result (GFFusion, Luo et al., 2024).

    The encoders are frozen and stay in evaluation mode. `GFFusionModel(config)` has random encoders. Use
    [`GFFusionModel.from_backbones`] to start training, and [`GFFusionModel.from_pretrained`] to load a trained model.

    Args:
        config ([`GFFusionConfig`]): Architecture.

    Examples:
    ```python
    >>> import torch
    >>> from gffusion import GFFusionConfig, GFFusionModel

    >>> model = GFFusionModel(GFFusionConfig(paradigm="cascading", use_segmenter=False)).eval()
    >>> outputs = model(visible_values=torch.rand(1, 3, 48, 64), infrared_values=torch.rand(1, 1, 48, 64))
    >>> tuple(outputs.fused_values.shape)
    (1, 1, 48, 64)

    ```
    """

    def __init__(self, config: GFFusionConfig, **unknown: Any) -> None:
        if unknown:  # arguments that neither `from_pretrained` nor the configuration consumed
            raise ValueError(f"Unknown arguments {sorted(unknown)}. See GFFusionConfig for those that are allowed.")
        super().__init__(config)
        self.funet = FuNet(config)
        if config.semantic_config is not None:
            self.finet = FINet(config, config.semantic_config.hidden_size)
        if config.use_segmenter:
            hidden_size = config.segmenter_layers * config.dinov2_config.hidden_size
            self.ssnet = SSNet(hidden_size, config.num_labels)
        if config.needs_clip:
            self.clip = CLIPVisionModel(config.clip_config)
        if config.needs_dinov2:
            self.dinov2 = Dinov2Model(config.dinov2_config)
        self.gradient_checkpointing = False
        self.post_init()
        self.freeze_backbones()

    if TYPE_CHECKING:  # `nn.Module` returns Any; with return_dict=False, it is a tuple

        def __call__(  # noqa: D102
            self, visible_values: Tensor, infrared_values: Tensor, *args: Any, **kwargs: Any
        ) -> GFFusionOutput: ...

    def forward(
        self,
        visible_values: Tensor,
        infrared_values: Tensor,
        labels: Tensor | None = None,
        segment: bool | None = None,
        output_features: bool = False,
        return_dict: bool | None = None,
        return_loss: bool | None = None,
        semantic_tokens: Tensor | None = None,
        infrared_targets: Tensor | None = None,
    ) -> GFFusionOutput | Any:  # a tuple only with `return_dict=False`
        """Fuse a batch of pairs.

        Args:
            visible_values (`Tensor` of shape `(B, 3, H, W)`): I_rgb in [0, 1], H and W at least 32.
            infrared_values (`Tensor` of shape `(B, 1, H, W)`): I_ir in [0, 1].
            labels (`Tensor` of shape `(B, H, W)`, int64, *optional*):
                Class of every pixel, `config.ignore_index` for ignored pixels. Adds L_ss to the loss.
            segment (`bool`, *optional*): Whether to compute logits. Defaults to `True` if labels are given.
            output_features (`bool`, *optional*, defaults to `False`): Whether to return z_f, z_c and the gate.
            return_dict (`bool`, *optional*): Whether to return a [`GFFusionOutput`] rather than a tuple.
            return_loss (`bool`, *optional*):
                Whether to compute the losses. Defaults to `True` in training mode and if labels are given.
            semantic_tokens (`Tensor` of shape `(B, L, N, D)`, *optional*):
                f_l of these pairs from [`~GFFusionModel.encode_semantics`], to skip CLIP. Hybrid paradigm only.
            infrared_targets (`Tensor` of shape `(B, 1, H, W)`, *optional*):
                Infrared image that the losses compare with, if `infrared_values` are degraded.

        Returns:
            [`GFFusionOutput`], or its values as a tuple.

        Raises:
            ValueError: If shapes do not match, or segmentation is requested from a model without a segmenter.
        """
        check_inputs(self.config, visible_values, infrared_values, labels, segment)
        segment = labels is not None if segment is None else segment
        return_loss = self.training or labels is not None if return_loss is None else return_loss
        return_dict = self.config.return_dict if return_dict is None else return_dict

        visible, infrared = self.to_source(visible_values), infrared_values.to(self.fusion_dtype)
        semantics = self.project_semantics(visible_values, infrared_values, semantic_tokens)
        spatial = self._checkpointed(self.funet.encode, visible, infrared)  # z_f, Eq. (5)
        injected, gate = spatial, None
        if semantics.projections is not None:
            size = (spatial.shape[-2], spatial.shape[-1])
            injected, gate = self.finet.inject(spatial, upsample(semantics.projections, size))  # z, Eq. (7), (8)
        fused = self.funet.decode(injected, visible, infrared, self.funet.compute_context(visible, infrared))  # I_fus
        # I_seg, Eq. (9)
        logits = self.predict_logits(fused, visible_values, semantics.source_tokens) if segment else None
        target = infrared_values if infrared_targets is None else infrared_targets
        losses = self._compute_losses(fused, visible_values, target, logits, labels) if return_loss else {}

        features = {"spatial_features": spatial, "semantic_features": semantics.merged, "gate": gate}
        output = GFFusionOutput(**losses, fused_values=fused, logits=logits, **(features if output_features else {}))
        return output if return_dict else output.to_tuple()

    def get_input_embeddings(self) -> nn.Module:
        """Return the first layer that reads the visible image."""
        return self.funet.visible_encoder.stem

    def encode_semantics(self, visible_values: Tensor, infrared_values: Tensor) -> Tensor:
        """Return f_l, the features of CLIP for both modalities; `forward` takes them as `semantic_tokens`.

        (B, 3, H, W) and (B, 1, H, W) in [0, 1] -> (B, L, N, D): N patch tokens for each of `config.semantic_layers`, Eq. (6).

        Raises:
            ValueError: If the model is not of the hybrid paradigm.
        """
        if not self.config.needs_clip:
            raise ValueError(
                f'`encode_semantics` needs the hybrid paradigm, which injects CLIP features; got "{self.config.paradigm}".'
            )
        tokens = self.encode_images(_stack_modalities(visible_values, infrared_values))
        return merge_modalities(*zip(*(_split_modalities(layer) for layer in tokens), strict=True))

    def encode_images(self, images: Tensor) -> list[Tensor]:
        """Return CLIP's patch tokens of images of any modality: (B, 3, H, W) in [0, 1] -> L times (B, N, D)."""
        config, size = self.config.clip_config, self.config.clip_size
        with gradients_if_trained(self.clip):
            outputs = self.clip(
                prepare_images(images, size, CLIP_MEAN, CLIP_STD, self.clip.dtype),
                interpolate_pos_encoding=size != [config.image_size, config.image_size],
                output_hidden_states=True,
            )
        return [outputs.hidden_states[layer][:, 1:] for layer in self.config.semantic_layers]  # without class token

    def encode_dinov2(self, images: Tensor, layers: list[int], scale: float = 1) -> tuple[list[Tensor], Tensor]:
        """Return DINOv2's patch tokens of images of any modality: (B, 3, H, W) in [0, 1].

        The first are those of `layers`, (B, N, D) each; the second those that SSNet reads, of the last layers, normalized:
        (B, N, segmenter_layers * D). `scale` multiplies the input size.
        """
        size, grid, windows = self._dinov2_geometry(scale)
        pixels = prepare_images(images, size, DINOV2_MEAN, DINOV2_STD, self.dinov2.dtype)
        embedded = split_windows(self.dinov2.embeddings(pixels), grid, windows)
        states = self.dinov2.encoder(embedded, output_hidden_states=True).hidden_states
        last = [self.dinov2.layernorm(state) for state in states[-self.config.segmenter_layers :]]
        tokens = [join_windows(states[layer], grid, windows) for layer in layers]
        return tokens, join_windows(torch.cat(last, dim=-1), grid, windows)

    def to_source(self, visible_values: Tensor) -> Tensor:
        """Return the visible image as FuNet reads it, luma or RGB: (B, 3, H, W) -> (B, 1 or 3, H, W), in FuNet's dtype."""
        source = rgb_to_luma(visible_values) if self.config.color_space == "ycbcr" else visible_values
        return source.to(self.fusion_dtype)

    def project_semantics(
        self, visible_values: Tensor, infrared_values: Tensor, semantic_tokens: Tensor | None = None
    ) -> ProjectedSemantics:
        """Merge the encoder's features of both modalities and project them onto FuNet's channels.

        The arguments are those of [`~GFFusionModel.forward`]. In the cascading paradigm, all results are `None`.

        Raises:
            ValueError: If `semantic_tokens` do not fit the model.
        """
        if semantic_tokens is not None:
            check_semantic_tokens(self.config, semantic_tokens, len(visible_values))
        if self.config.paradigm == "cascading":
            return ProjectedSemantics(None, None, None)
        source_tokens = None
        if self.config.paradigm == "parallel":
            with gradients_if_trained(self.dinov2):
                images = _stack_modalities(visible_values, infrared_values)
                tokens, last = self.encode_dinov2(images, self.config.semantic_layers)
                semantic_tokens = merge_modalities(*zip(*(_split_modalities(layer) for layer in tokens), strict=True))
                source_tokens = torch.maximum(*_split_modalities(last))  # both modalities, merged as in Eq. (6)
            grid = self.segmenter_grid
        else:
            if semantic_tokens is None:
                semantic_tokens = self.encode_semantics(visible_values, infrared_values)
            grid = self.config.clip_grid
        merged, projections = self.finet(semantic_tokens, grid)
        return ProjectedSemantics(merged, projections, source_tokens)

    def predict_logits(
        self,
        fused_values: Tensor,
        visible_values: Tensor,
        source_tokens: Tensor | None = None,
        scale: float = 1,
    ) -> Tensor:
        """Segment a fused image, Eq. (9): (B, 1 or 3, H, W) in [0, 1] -> (B, num_labels, H, W), float32.

        The chroma of the visible image (B, 3, H, W) is added to fused luma. The parallel paradigm segments `source_tokens`
        (B, N, D) instead. `scale` is a factor on `config.segmenter_image_size`.
        """
        tokens = source_tokens
        if tokens is None:
            colored = restore_color(fused_values, visible_values.float())  # as DINOv2 reads images
            tokens = self._checkpointed(lambda image: self.encode_dinov2(image, [], scale)[1], colored)  # f_d
        grid = self._dinov2_geometry(scale)[1]
        return self.ssnet(tokens.to(self.ssnet.dtype), grid, fused_values.shape[-2:])

    def _compute_losses(
        self, fused: Tensor, visible_values: Tensor, infrared: Tensor, logits: Tensor | None, labels: Tensor | None
    ) -> dict[str, Tensor | None]:
        visible = rgb_to_luma(visible_values) if self.config.color_space == "ycbcr" else visible_values
        visible, infrared = visible.float(), infrared.float()
        options = [getattr(self.config, f"intensity_{name}") for name in ("target", "contrast", "floor", "undershoot")]
        parts = {
            "loss_ssim": ssim_loss(fused, visible, infrared),
            "loss_gradient": gradient_loss(fused, visible, infrared),
            "loss_intensity": intensity_loss(fused, visible, infrared, *options),
        }
        structural = (  # L_st, Eq. (10), and our intensity term
            parts["loss_ssim"]
            + self.config.gradient_weight * parts["loss_gradient"]
            + self.config.intensity_weight * parts["loss_intensity"]
        )
        for name, term in (("vif", vif_loss), ("qabf", qabf_loss)):
            if weight := getattr(self.config, f"{name}_weight"):
                parts[f"loss_{name}"] = term(fused, visible, infrared)
                structural = structural + weight * parts[f"loss_{name}"]
        segmentation = None
        if logits is not None and labels is not None:
            segmentation = segmentation_loss(logits, labels, self.config.ignore_index, self.config.class_weights)
        total = total_loss(structural, segmentation, self.config.segmentation_weight)
        return {"loss": total, "loss_structural": structural, **parts, "loss_segmentation": segmentation}

    @property
    def fusion_dtype(self) -> torch.dtype:
        """Dtype of FuNet's weights; the encoders can have another one."""
        return next(self.funet.parameters()).dtype

    @property
    def segmenter_grid(self) -> tuple[int, int]:
        """Rows and columns of DINOv2's patch tokens."""
        return self._dinov2_geometry(1)[1]

    def _dinov2_geometry(self, scale: float) -> tuple[list[int], tuple[int, int], list[int]]:
        """Return DINOv2's input size (height, width) at a scale, its token grid (h, w), and its windows (rows, columns)."""
        height, width = (round(scale * side) for side in self.config.segmenter_image_size)
        patch_size = self.config.dinov2_config.patch_size
        windows = [round(scale * count) for count in self.config.segmenter_windows]
        return [height, width], (height // patch_size, width // patch_size), windows

    def _checkpointed(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Call a function without batch statistics; with gradient checkpointing, recompute it in the backward pass."""
        if self.gradient_checkpointing and self.training:
            # transformers' own function has a reentrant variant that drops the gradient of networks whose inputs need none,
            # and its layers never use it in evaluation mode, in which the frozen encoders stay.
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)


def _stack_modalities(visible_values: Tensor, infrared_values: Tensor) -> Tensor:
    """Stack both modalities into one batch of color images, visible first -> (2B, 3, H, W)."""
    return torch.cat([visible_values, infrared_values.expand_as(visible_values)])


def _split_modalities(stacked: Tensor) -> tuple[Tensor, ...]:
    """Undo `_stack_modalities` for features: (2B, ...) -> twice (B, ...). Unlike `chunk`, exports with any batch size."""
    return stacked.reshape(2, -1, *stacked.shape[1:]).unbind()


__all__ = ["GFFusionModel", "GFFusionOutput", "GFFusionPreTrainedModel"]
