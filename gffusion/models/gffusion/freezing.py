"""Parts of a model that training leaves as they are: the encoders and, on request, the statistics of batch normalization."""

from typing import Self

from torch import nn
from transformers import PreTrainedModel

from .encoders import BACKBONE_CLASSES


class PartlyFrozenModel(PreTrainedModel):
    """Keep parts of a model in evaluation mode, whichever training loop calls `train()`."""

    _has_frozen_batch_norm = False

    @property
    def backbones(self) -> dict[str, PreTrainedModel]:
        """The frozen encoders of this model by attribute name (`"clip"`, `"dinov2"`)."""
        return {name: getattr(self, name) for name in BACKBONE_CLASSES if hasattr(self, name)}

    def freeze_backbones(self) -> None:
        """Disable gradients of the encoders and set them to evaluation mode."""
        for backbone in self.backbones.values():
            backbone.requires_grad_(False).eval()

    def freeze_batch_norm(self, frozen: bool = True) -> None:
        """Keep the running statistics of batch normalization during training, as suits pretrained weights.

        Otherwise, training mode normalizes with the statistics of each batch, which changes the output of pretrained weights even
        at a learning rate of 0. Weights and biases of these layers are still trained. The choice is not saved with the model.

        Args:
            frozen: Whether to keep them. `False` undoes an earlier call.

        Examples:
            >>> from gffusion import create_model
            >>> model = create_model("gffusion-funet")
            >>> model.freeze_batch_norm()
            >>> model.train().funet.decoder[1].training
            False
        """
        self._has_frozen_batch_norm = frozen
        self._set_batch_norm()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of everything except the encoders and frozen batch normalization, which stay in evaluation mode."""
        super().train(mode)
        for backbone in self.backbones.values():
            backbone.eval()
        if self._has_frozen_batch_norm:
            self._set_batch_norm()
        return self

    def _set_batch_norm(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(self.training and not self._has_frozen_batch_norm)
