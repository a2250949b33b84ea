"""Disk cache of CLIP's tokens, so that the frozen encoder runs once per pair, not once per epoch."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.utils.data import Dataset

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.atomic import replace_file
from gffusion.zoo.digest import digest_weights

from .checked_dataset import CheckedDataset


class TokenCache:
    """Store f_l of each pair (see `GFFusionModel.encode_semantics`) in one file.

    The path depends on the encoder's weights and settings, the precision and the pixels of the pair, so that several runs
    can share a folder. Tokens are stored as float16, or as float32 if they exceed its range: 3.3 MB per pair with the
    paper's encoder. Damaged files are computed again. The model is of the hybrid paradigm, and the precision "no", "bf16" or "fp16".
    """

    def __init__(self, folder: str | os.PathLike[str], model: GFFusionModel, precision: str = "no") -> None:
        config = model.config
        if not config.needs_clip:
            raise ValueError(
                f'`token_cache` keeps CLIP\'s tokens, but the paradigm "{config.paradigm}" uses none. Omit it.'
            )
        settings = [config.semantic_layers, config.clip_image_size, str(model.clip.dtype), precision]
        self._model = model
        self._folder = Path(folder) / digest_weights(model.clip, json.dumps(settings))
        self._folder.mkdir(parents=True, exist_ok=True)

    def key(self, item: dict[str, Any]) -> str:
        """Return the key of a pair: a hash of its `visible_values` and `infrared_values`."""
        digest = hashlib.blake2b(digest_size=16)
        for name in ("visible_values", "infrared_values"):
            digest.update(f"{tuple(item[name].shape)}".encode())
            digest.update(item[name].contiguous().numpy().data)
        return digest.hexdigest()

    def read(self, key: str) -> Tensor | None:
        """Return the tokens (L, N, D) of a pair, or `None` if they are not cached."""
        try:
            return load_file(self._path(key))["tokens"]
        except (OSError, SafetensorError, KeyError):
            return None

    def complete(self, batch: dict[str, Any]) -> Tensor:
        """Return the tokens (B, L, N, D) of a batch; missing tokens are computed and stored.

        The batch has images on the model's device, and lists of keys and tokens from [`CachedTokens`].
        """
        visible, infrared, known = batch["visible_values"], batch["infrared_values"], list(batch["semantic_tokens"])
        missing = [index for index, tokens in enumerate(known) if tokens is None]
        if missing:
            computed = self._model.encode_semantics(visible[missing], infrared[missing]).cpu()
            for index, tokens in zip(missing, computed, strict=True):
                half = tokens.half()
                known[index] = half if bool(half.isfinite().all()) else tokens.float()
                self._write(batch["token_key"][index], known[index])
        return torch.stack([tokens.to(visible.device).float() for tokens in known])

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _write(self, key: str, tokens: Tensor) -> None:
        try:
            replace_file(self._path(key), save({"tokens": tokens.contiguous()}))
        except OSError as error:
            text = f"Cannot write to the token cache {self._folder}: {error}. Free space or omit `token_cache`."
            raise OSError(text) from error


class CachedTokens(CheckedDataset):
    """[`CheckedDataset`] whose items also hold `token_key`, and `semantic_tokens` or `None`.

    Raises:
        ValueError: If the transform has unlimited different results, so that cached tokens would never be reused.
    """

    def __init__(
        self, dataset: Dataset[dict[str, Any]], cache: TokenCache, config: GFFusionConfig | None = None
    ) -> None:
        transform = getattr(dataset, "transform", None)
        if transform is not None and getattr(transform, "variants", None) is None:
            raise ValueError(
                "`token_cache` needs a transform with few different results, but that of the training data has unlimited ones "
                "(`variants` is None). Use whole images: `Resize` and `RandomFlip` without other random transforms, or "
                "omit the cache."
            )
        super().__init__(dataset, config)
        self.cache = cache

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item with its key and cached tokens."""
        item = super().__getitem__(index)
        key = self.cache.key(item)
        return item | {"token_key": key, "semantic_tokens": self.cache.read(key)}
