"""Slim and full checkpoints: how GFFusionModel gets its frozen encoders, and leaves them out of what it saves.

A slim checkpoint holds what training changed (a few MB); the encoders come from their own repositories, named and pinned
in the configuration. A full checkpoint holds everything.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import CLIPVisionModel, Dinov2Model, PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file, logging

from .weight_files import HUB_ARGUMENTS, NO_PICKLES, explained, read_weights

BACKBONE_CLASSES: dict[str, type[PreTrainedModel]] = {"clip": CLIPVisionModel, "dinov2": Dinov2Model}


class FrozenBackboneModel(PreTrainedModel):
    """Loading and saving of a model whose frozen encoders may live in repositories of their own."""

    # Encoders whose weights are known to equal those of the source that the configuration names.
    _external_backbones: frozenset[str] = frozenset()
    _keys_to_ignore_on_save: set[str] | None = None

    @property
    def backbones(self) -> dict[str, PreTrainedModel]:
        """The frozen encoders that this model carries, by attribute name (`"clip"`, `"dinov2"`)."""
        return {name: getattr(self, name) for name in BACKBONE_CLASSES if hasattr(self, name)}

    @classmethod
    def from_backbones(
        cls,
        clip: CLIPVisionModel | str | os.PathLike[str] | None = None,
        dinov2: Dinov2Model | str | os.PathLike[str] | None = None,
        **config_arguments: Any,
    ) -> Self:
        """Build an untrained model around pretrained encoders: the start of a training.

        Args:
            clip (`CLIPVisionModel` or `str`, *optional*): Encoder, or its Hub id or folder. Needed in the hybrid paradigm.
            dinov2 (`Dinov2Model` or `str`, *optional*):
                Encoder, or its Hub id or folder. Needed with a segmenter and in the parallel paradigm.
            config_arguments: Further arguments of [`GFFusionConfig`].

        Returns:
            The model, in training mode, float32.

        Raises:
            ValueError: If an encoder is missing or has no use in the chosen paradigm.
            OSError: If an encoder cannot be loaded.
        """
        given = {name: backbone for name, backbone in (("clip", clip), ("dinov2", dinov2)) if backbone is not None}
        choices = {name: config_arguments[name] for name in ("paradigm", "use_segmenter") if name in config_arguments}
        plan = cls.config_class(**choices)
        needed = {name for name in BACKBONE_CLASSES if getattr(plan, f"needs_{name}")}
        if needed != set(given):
            raise ValueError(
                f"paradigm={plan.paradigm!r} with use_segmenter={plan.use_segmenter} needs the encoders "
                f"{sorted(needed)}, got {sorted(given)}."
            )
        loaded: dict[str, PreTrainedModel] = {}
        for name, backbone in given.items():
            if isinstance(backbone, (str, os.PathLike)):
                revision = config_arguments.get(f"{name}_revision")
                backbone = _load_backbone(name, os.fspath(backbone), revision, config=None, hub_arguments={})
            loaded[name] = backbone
            config_arguments[f"{name}_config"] = backbone.config
            config_arguments[f"{name}_name_or_path"] = backbone.name_or_path or None
        config = cls.config_class(**config_arguments)
        with _quiet_loading():  # everything but the encoders is new, as it should be
            model = super().from_pretrained(
                None, config=config, state_dict=_with_prefixes(loaded), dtype=torch.get_default_dtype()
            )
        model._external_backbones = frozenset(name for name in loaded if loaded[name].name_or_path)
        return model.train()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Load a slim or a full checkpoint from a folder or the Hub.

        Takes the arguments of [`~transformers.PreTrainedModel.from_pretrained`] and those of [`GFFusionConfig`]:
        `use_segmenter=False` loads for fusion alone, without DINOv2. Only safetensors files are read.

        Returns:
            The model, in evaluation mode, its encoders frozen.

        Raises:
            OSError: If the checkpoint or an encoder that it names cannot be found or read.
            ValueError: If an argument is refused, or an encoder does not have the architecture of the checkpoint.
        """
        hub_arguments = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
        location: dict[str, Any] = {name: kwargs.pop(name) for name in ("revision", "subfolder") if name in kwargs}
        # "auto" means something to the loader of weights, nothing to the configuration.
        dtype: dict[str, Any] = {name: kwargs.pop(name) for name in ("dtype", "torch_dtype") if name in kwargs}
        variant = kwargs.pop("variant", None)
        source = pretrained_model_name_or_path
        if config is None or isinstance(config, (str, os.PathLike)):
            config_source = source if config is None else config
            with explained("the configuration", config_source or ""):
                config, kwargs = cls.config_class.from_pretrained(
                    config_source, return_unused_kwargs=True, **hub_arguments, **location, **kwargs
                )
        kwargs.update(dtype)
        if source is None:
            return super().from_pretrained(None, *model_args, config=config, **kwargs)
        with explained("the weights", source):
            weights = read_weights(source, variant, **hub_arguments, **location)
        external = () if config.backbone_weights == "included" else tuple(BACKBONE_CLASSES)
        backbones = {
            name: _load_backbone(
                name,
                getattr(config, f"{name}_name_or_path"),
                getattr(config, f"{name}_revision"),
                getattr(config, f"{name}_config"),
                hub_arguments,
            )
            for name in external
            if getattr(config, f"needs_{name}")
        }
        # Only here do weights and files meet: transformers would also follow adapters, and look for pickles to convert.
        state_dict = {**weights, **_with_prefixes(backbones)}
        loaded = super().from_pretrained(None, *model_args, config=config, state_dict=state_dict, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.name_or_path = model.config.name_or_path = str(source)
        model._external_backbones = frozenset(backbones)
        return loaded

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], include_backbones: bool | None = None, **kwargs: Any
    ) -> None:
        """Save a slim or a full checkpoint.

        Args:
            save_directory (`str` or `os.PathLike`): Folder, created if needed.
            include_backbones (`bool`, *optional*):
                Whether to write the frozen encoders too. By default they are left out where they were loaded from a
                source that the configuration names, and written otherwise, so that loading gives the same model.
            kwargs: Further arguments of [`~transformers.PreTrainedModel.save_pretrained`].

        Raises:
            ValueError: If the encoders are to be left out, but no source is known that holds them.
            NotADirectoryError: If `save_directory` is a file.
        """
        if os.path.isfile(save_directory):  # transformers only logs it, and saves nothing
            raise NotADirectoryError(f"{os.fspath(save_directory)!r} is a file: name a folder to save into.")
        unsourced = sorted(set(self.backbones) - self._external_backbones)
        if include_backbones is None:
            include_backbones = bool(unsourced)
        if not include_backbones and unsourced:
            raise ValueError(
                f"The encoders {unsourced} of this model were not loaded from a source that a slim checkpoint could name. "
                "Save with include_backbones=True, or build the model with GFFusionModel.from_backbones."
            )
        previous = self.config.backbone_weights, self._keys_to_ignore_on_save
        self.config.backbone_weights = "included" if include_backbones and self.backbones else "external"
        if not include_backbones:
            prefixes = tuple(f"{name}." for name in self.backbones)
            self._keys_to_ignore_on_save = {key for key in self.state_dict() if key.startswith(prefixes)}
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config.backbone_weights, self._keys_to_ignore_on_save = previous
        for weights in Path(save_directory).glob("*.safetensors"):  # written for the owner's eyes alone
            shutil.copymode(Path(save_directory) / CONFIG_NAME, weights)


def _with_prefixes(backbones: dict[str, PreTrainedModel]) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for name, model in backbones.items() for key, value in model.state_dict().items()}


def _load_backbone(
    name: str,
    source: str | None,
    revision: str | None,
    config: PreTrainedConfig | None,
    hub_arguments: dict[str, Any],
) -> PreTrainedModel:
    """Load one frozen encoder and make sure that nothing of it was left to chance."""
    if not source:
        raise ValueError(
            f"The checkpoint holds no weights of its {name} encoder and names no source for them. "
            f"Pass {name}_name_or_path, a Hub id or a folder."
        )
    what, moved = f"the frozen {name} encoder", f"If it has moved, pass {name}_name_or_path or {name}_revision."
    request = {"revision": revision or "main", **hub_arguments}
    if not os.path.isdir(source):
        with explained(what, source, moved):  # the loader of weights would take any of these errors for missing weights
            cached_file(source, CONFIG_NAME, **request)
    with explained(what, source, f"{moved} {NO_PICKLES}"), _quiet_loading():  # text weights are no news
        backbone, report = BACKBONE_CLASSES[name].from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # refused below, in words of our own
            **request,
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise OSError(f"{source!r} lacks {len(missing)} weights of the {name} encoder, {missing[0]!r} among them.")
    differing = [f"{key} is {list(found)}, not {list(wanted)}" for key, found, wanted in report["mismatched_keys"]]
    # A head or a text half beside the encoder does no harm; more layers or registers would be dropped from inside it.
    parts = tuple(f"{part}." for part, _ in backbone.named_children())
    differing += [f"{key} has no place" for key in report["unexpected_keys"] if key.startswith(parts)]
    if differing:
        raise ValueError(
            f"The {name} encoder of {source!r} does not have the expected architecture: {len(differing)} weights differ, "
            f"{min(differing)} among them."
        )
    return backbone


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Silence the loader's report on missing and unexpected weights, which the caller checks."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
