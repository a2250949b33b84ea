"""A cache on disk of CLIP's tokens: the frozen encoder sees each pair once, not once an epoch."""

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

from gffusion.data.atomic import replace_file
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo.digest import digest_weights


class TokenCache:
    """Keeps f_l of pairs, as `GFFusionModel.encode_semantics` returns it, in `folder`, one file a pair.

    A file is named after the encoder's weights and settings, the precision, and the pixels that the model is given: no
    other encoder, revision, crop or data set can be answered with it, and several runs can share a folder. Tokens are
    stored as float16 (float32 where they exceed its range), 3.3 MB for a pair and the paper's encoder. A damaged file is
    computed again.

    Args:
        folder: Where the files go; it is made if it does not exist.
        model: A model of the hybrid paradigm.
        precision: `mixed_precision` of the run.

    Raises:
        OSError: If the folder cannot be made.
        ValueError: If the model is of another paradigm.
    """

    def __init__(self, folder: str | os.PathLike[str], model: GFFusionModel, precision: str = "no") -> None:
        if not model.config.needs_clip:
            raise ValueError(
                f'`token_cache` keeps CLIP\'s tokens, but the paradigm "{model.config.paradigm}" uses none. Leave it out.'
            )
        self._model = model
        self._folder = Path(folder) / _fingerprint(model, precision)
        self._folder.mkdir(parents=True, exist_ok=True)

    def key(self, item: dict[str, Any]) -> str:
        """Return the name of a pair: a hash of its `visible_values` and `infrared_values`."""
        digest = hashlib.blake2b(digest_size=16)
        for name in ("visible_values", "infrared_values"):
            digest.update(f"{tuple(item[name].shape)}".encode())
            digest.update(item[name].contiguous().numpy().data)
        return digest.hexdigest()

    def read(self, key: str) -> Tensor | None:
        """Return the tokens (L, N, D) of a pair, `None` if they are not known yet."""
        try:
            return load_file(self._path(key))["tokens"]
        except (OSError, SafetensorError, KeyError):
            return None

    def complete(self, batch: dict[str, Any]) -> Tensor:
        """Return the tokens (B, L, N, D) of a batch, computing and storing those that are missing.

        Args:
            batch: `visible_values` and `infrared_values` on the model's device, and the lists `token_key` and
                `semantic_tokens` of [`CachedTokens`].
        """
        device, known = batch["visible_values"].device, list(batch["semantic_tokens"])
        missing = [index for index, tokens in enumerate(known) if tokens is None]
        if missing:
            computed = self._model.encode_semantics(
                batch["visible_values"][missing], batch["infrared_values"][missing]
            ).cpu()
            for index, tokens in zip(missing, computed, strict=True):
                known[index] = _compact(tokens)
                self._write(batch["token_key"][index], known[index])
        return torch.stack([tokens.to(device).float() for tokens in known])

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _write(self, key: str, tokens: Tensor) -> None:
        try:
            replace_file(self._path(key), save({"tokens": tokens.contiguous()}))
        except OSError as error:
            raise OSError(
                f"Cannot write to the token cache {self._folder}: {error}. Free space or leave it out."
            ) from error


class CachedTokens(Dataset[dict[str, Any]]):
    """A data set whose items also hold `token_key`, and `semantic_tokens` as far as the cache knows them.

    Args:
        dataset: The data set.
        cache: The cache.

    Raises:
        ValueError: If the data set's transform makes ever new pictures, so that nothing would be found again.
    """

    def __init__(self, dataset: Dataset[dict[str, Any]], cache: TokenCache) -> None:
        transform = getattr(dataset, "transform", None)
        if transform is not None and getattr(transform, "variants", None) is None:
            raise ValueError(
                "`token_cache` needs pictures that come again, but the transform of the training data makes ever new ones "
                "(`variants` is None). Use whole pictures: `Resize` and `RandomFlip` without other random transforms, or "
                "leave the cache out."
            )
        self.dataset, self.cache = dataset, cache

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item with what the cache knows of it."""
        item = self.dataset[index]
        key = self.cache.key(item)
        return item | {"token_key": key, "semantic_tokens": self.cache.read(key)}


def _fingerprint(model: GFFusionModel, precision: str) -> str:
    """Name what tokens depend on besides the pixels: weights, so that no name or revision can mislead, and settings."""
    settings = [model.config.semantic_layers, model.config.clip_image_size, str(model.clip.dtype), precision]
    return digest_weights(model.clip, json.dumps(settings))


def _compact(tokens: Tensor) -> Tensor:
    half = tokens.half()
    return half if bool(half.isfinite().all()) else tokens.float()
