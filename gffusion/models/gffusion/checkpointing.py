"""Slim checkpoints, of the trained weights (a few MB), and full ones, which include the frozen encoders.

A slim checkpoint is loaded with the encoders of the repositories that its configuration names.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from transformers import CLIPVisionModel, Dinov2Model, PreTrainedModel
from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME, logging

from .config_changes import check_network_fields, copy_network_fields
from .config_limits import check_config_class, names_repository
from .encoders import (
    BACKBONE_CLASSES,
    WeightSums,
    check_given_encoders,
    collect_weights,
    find_included_backbones,
    have_same_weights,
    load_backbone,
    load_external_backbones,
    locate_source,
    quiet_loading,
    restore_names,
    sum_weights,
)
from .freezing import PartlyFrozenModel
from .new_parts import (
    NEW_PART_FIELDS,
    TRAINED_FIELDS,
    find_new_weights,
    leave_out_other_parts,
    refuse_new_parts,
    warn_about_parts,
    warn_about_trained_fields,
)
from .saving_checks import refuse_quantized_and_offloaded, warn_about_misfit
from .weight_checks import (
    build_on_meta,
    check_finite,
    check_loaded,
    describe_tensors,
    read_headers,
)
from .weight_files import (
    HUB_ARGUMENTS,
    NO_PICKLES,
    explained,
    limit_to_cache,
    locate_weights,
    read_weights,
    replaced_weights,
    warn_about_adapter,
)
from .wrappers import map_names, without_wrappers

logger = logging.get_logger(__name__)


class FrozenBackboneModel(PartlyFrozenModel):
    """Load and save a model whose frozen encoders can be stored in their own repositories."""

    # The weights that encoders had when they were loaded from the source in the configuration.
    _external_backbones: dict[str, WeightSums] = {}
    _keys_to_ignore_on_save: set[str] | None = None
    _built_with: dict[str, Any] = {}  # fields of the configuration

    def __init__(self, config: Any) -> None:
        check_config_class(config, self.config_class)
        super().__init__(config)
        self._built_with = copy_network_fields(config)

    @property
    def device(self) -> torch.device:
        """Device on which the model computes: that of its weights or, if they are offloaded, where Accelerate brings them."""
        device = super().device
        if device.type != "meta":
            return device
        hooks = (getattr(module, "_hf_hook", None) for module in self.modules())
        used = (getattr(hook, "execution_device", None) for hook in hooks)
        return next((torch.device(place) for place in used if place is not None), device)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Let `load_state_dict`, with which the Trainer of transformers resumes, take the weights of a saved file."""
        for name, backbone in self.backbones.items():
            restore_names(without_wrappers(backbone), state_dict, f"{prefix}{name}.")
        for wrapped, name in map_names(self).items():
            if f"{prefix}{name}" in state_dict:
                state_dict[f"{prefix}{wrapped}"] = state_dict.pop(f"{prefix}{name}")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _remember_sources(self, names: Iterable[str]) -> None:
        """Note that these encoders have the weights of the source in the configuration."""
        self._external_backbones = {name: sum_weights(self.backbones[name]) for name in names}

    def find_unsourced(self) -> list[str]:
        """Return the encoders that loading from the source in the configuration would not restore."""
        sourced = self._external_backbones
        return sorted(
            name
            for name, backbone in self.backbones.items()
            if name not in sourced
            or any(parameter.requires_grad for parameter in backbone.parameters())
            or not have_same_weights(sourced[name], sum_weights(backbone))
        )

    @classmethod
    def from_backbones(
        cls,
        clip: CLIPVisionModel | str | os.PathLike[str] | None = None,
        dinov2: Dinov2Model | str | os.PathLike[str] | None = None,
        **config_arguments: Any,
    ) -> Self:
        """Create an untrained model with pretrained encoders, in training mode, to start a training run.

        Args:
            clip: Encoder, or its Hub id or folder. Required in the hybrid paradigm.
            dinov2: Encoder, or its Hub id or folder. Required with a segmenter and in the parallel paradigm.
            config_arguments: Further arguments of [`GFFusionConfig`], and `dtype`, float32 by default.

        Encoders that are given as objects are saved with the model: they can differ from those of any repository.

        Raises:
            ValueError: If a required encoder is missing or of another class, or one is given that the paradigm does not use.
            OSError: If an encoder cannot be loaded.
        """
        dtypes = [config_arguments.pop(name, None) for name in ("dtype", "torch_dtype")]
        _warn_about_dtypes(dtypes)
        given = {
            name: backbone for name, backbone in (("clip", clip), ("dinov2", dinov2)) if backbone not in (None, "")
        }
        choices = {name: config_arguments[name] for name in ("paradigm", "use_segmenter") if name in config_arguments}
        plan = cls.config_class(**choices)
        check_given_encoders(plan, given)
        loaded: dict[str, PreTrainedModel] = {}
        sources = {name: locate_source(value) for name, value in given.items() if isinstance(value, (str, os.PathLike))}
        for name, backbone in given.items():
            if name in sources:
                revision = config_arguments.get(f"{name}_revision")
                backbone = load_backbone(name, sources[name], revision, config=None, hub_arguments={})
            elif not isinstance(backbone, BACKBONE_CLASSES[name]):
                raise ValueError(
                    f"{name} must be a {BACKBONE_CLASSES[name].__name__}, its Hub id or a folder, got a {type(backbone).__name__}."
                )
            loaded[name] = backbone
            config_arguments[f"{name}_config"] = backbone.config
            config_arguments[f"{name}_name_or_path"] = sources.get(name, backbone.name_or_path) or None
        config = cls.config_class(**config_arguments)
        with quiet_loading():  # all weights except the encoders are new on purpose
            dtype = next((dtype for dtype in dtypes if dtype is not None), torch.get_default_dtype())
            model = super().from_pretrained(None, config=config, state_dict=collect_weights(loaded), dtype=dtype)
        model._remember_sources(sources)
        model.freeze_backbones()
        return model.train()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Load a slim or a full checkpoint from a folder or the Hub, in evaluation mode, with frozen encoders.

        Takes the arguments of [`~transformers.PreTrainedModel.from_pretrained`] and, as overrides, those of
        [`GFFusionConfig`]: `use_segmenter=False` loads a model for fusion only, without DINOv2. Only safetensors files
        are read. All weights must fit the configuration; with `ignore_mismatched_sizes=True`, the segmentation head can be
        missing or of other classes, by number or by name up to case and underscores, and FINet can be missing as a whole;
        these parts are new.

        Raises:
            OSError: If the checkpoint, or an encoder that it names, cannot be found or read, or a weight is missing,
                unexpected, of another shape or type, or not finite.
            ValueError: If an argument is refused or asks for a new part without `ignore_mismatched_sizes=True`, or an
                encoder's architecture differs from the checkpoint's.
        """
        given_fields = sorted(name for name in NEW_PART_FIELDS if kwargs.get(name) is not None)
        asked_by = given_fields or (["config"] if config is not None else [])
        may_differ = config is not None or bool(TRAINED_FIELDS & kwargs.keys())
        may_have_new_parts = kwargs.pop("ignore_mismatched_sizes", False)
        hub_arguments = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
        location: dict[str, Any] = {name: kwargs.pop(name) for name in ("revision", "subfolder") if name in kwargs}
        # Only the loader of weights accepts dtype="auto"; the configuration does not.
        dtype: dict[str, Any] = {name: kwargs.pop(name) for name in ("dtype", "torch_dtype") if name in kwargs}
        _warn_about_dtypes(dtype.values())
        _warn_about_options(kwargs)
        variant = kwargs.pop("variant", None)
        source = pretrained_model_name_or_path
        if source is not None:
            found_by_auto_model = (kwargs.get("adapter_kwargs") or {}).get("_adapter_model_path")
            warn_about_adapter(found_by_auto_model or source, location.get("subfolder") or "")
            hub_arguments = limit_to_cache(source, hub_arguments)
        other_encoders = {name: kwargs.get(f"{name}_name_or_path") for name in BACKBONE_CLASSES}
        kwargs.update({f"{name}_name_or_path": locate_source(other) for name, other in other_encoders.items() if other})
        if config is None or isinstance(config, (str, os.PathLike)):
            config_source = source if config is None else config
            with explained("the configuration", config_source or ""):
                config, kwargs = cls.config_class.from_pretrained(
                    config_source, return_unused_kwargs=True, **hub_arguments, **location, **kwargs
                )
        check_config_class(config, cls.config_class)
        kwargs.update(dtype)
        for name, other in other_encoders.items():
            if other and not getattr(config, f"needs_{name}"):
                logger.warning(f"`{name}_name_or_path` has no effect: the model has no {name} encoder.")
        if "num_labels" in given_fields and not config.use_segmenter:
            logger.warning("`num_labels` has no effect: the model has no segmenter.")
        given = kwargs.get("state_dict") if source is None else kwargs.pop("state_dict", None)
        if source is None:
            if given is not None:
                found = describe_tensors(given)
                new = find_new_weights(cls, config, found, may_have_new_parts, BACKBONE_CLASSES)
                check_finite(given)
                warn_about_parts("the state dict", config, found, new)
            kwargs["ignore_mismatched_sizes"] = may_have_new_parts
            loaded = super().from_pretrained(None, *model_args, config=config, **kwargs)
            (loaded[0] if isinstance(loaded, tuple) else loaded).freeze_backbones()
            return loaded
        with explained("the weights", source):
            paths = [] if given is not None else locate_weights(source, variant, **hub_arguments, **location)
            in_file = describe_tensors(given) if given is not None else read_headers(paths)
            included = find_included_backbones(config, in_file)
            found = leave_out_other_parts(in_file, config, asked_by, source, hub_arguments | location)
            if asked_by and not may_have_new_parts:
                refuse_new_parts(cls, config, found, included, asked_by)
            new = find_new_weights(cls, config, found, may_have_new_parts, included)
            stored = given if given is not None else read_weights(paths)
            weights = {name: value for name, value in stored.items() if name not in new}
            check_finite(weights)
        warn_about_parts(repr(os.fspath(source)), config, in_file, new, asked_by)
        if may_differ and given is None:
            warn_about_trained_fields(source, config, hub_arguments | location, new)
        backbones = load_external_backbones(config, source, included, other_encoders, hub_arguments)
        # Pass a state dict: given a path, transformers would also load adapters and convert pickles.
        state_dict = {**weights, **collect_weights(backbones)}
        wants_report = kwargs.pop("output_loading_info", False)
        with quiet_loading():  # the report is checked here
            model, report = super().from_pretrained(
                None,
                *model_args,
                config=config,
                state_dict=state_dict,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **kwargs,
            )
        mismatched = {key for key, *_ in report["mismatched_keys"]}
        with explained("the weights", source):
            check_loaded((set(report["missing_keys"]) | mismatched) - new)
        model.name_or_path = model.config.name_or_path = str(source)
        model._remember_sources(backbones)
        model.freeze_backbones()  # the loader creates parameters with gradients
        return (model, report) if wants_report else model  # type: ignore[return-value]

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], include_backbones: bool | None = None, **kwargs: Any
    ) -> None:
        """Save a slim or a full checkpoint, or only the adapter of a model to which `add_adapter` added one.

        Args:
            save_directory: Folder, created if needed.
            include_backbones: Whether to save the frozen encoders. By default, they are saved unless they have the weights
                of the source in the configuration, so that loading restores the same model.
            kwargs: Further arguments of [`~transformers.PreTrainedModel.save_pretrained`].

        Raises:
            ValueError: If the model is quantized or offloaded, encoders without a known source were to be left out, `push_to_hub=True` would publish a local path, or
                the configuration was changed to an invalid one, or to one that contradicts the networks.
            OSError: If `save_directory` is a file, or a file cannot be written.
        """
        if (plain := without_wrappers(self)) is not self:
            names, given = map_names(self), kwargs.get("state_dict")
            renamed = {names.get(name, name): value for name, value in (given or {}).items()}
            kwargs["state_dict"] = None if given is None else renamed
            FrozenBackboneModel.save_pretrained(plain, save_directory, include_backbones, **kwargs)
            return
        self._check_config()
        if kwargs.get("push_to_hub"):
            self._refuse_local_sources()
        if os.path.isfile(save_directory):  # transformers only logs an error and saves nothing
            raise NotADirectoryError(f"{os.fspath(save_directory)!r} is a file: pass a folder.")
        if self._hf_peft_config_loaded:
            self._save_adapter(save_directory, include_backbones, **kwargs)
            return
        refuse_quantized_and_offloaded(self)
        if kwargs.get("is_main_process", True):
            warn_about_misfit(self, kwargs.get("state_dict"))
        unsourced = self.find_unsourced()
        if include_backbones is None:
            include_backbones = bool(unsourced)
        if not include_backbones and unsourced:
            raise ValueError(
                f"A slim checkpoint must name the source of its encoders, and that of {unsourced} is unknown, or they were "
                "changed since they were loaded. Save with include_backbones=True, or pass Hub ids or folders, instead of encoders, to "
                "GFFusionModel.from_backbones."
            )
        previous = self.config.backbone_weights, self._keys_to_ignore_on_save
        self.config.backbone_weights = "included" if include_backbones and self.backbones else "external"
        if not include_backbones:
            prefixes = tuple(f"{name}." for name in self.backbones)
            self._keys_to_ignore_on_save = {key for key in self.state_dict() if key.startswith(prefixes)}
        try:
            replaced = replaced_weights(Path(save_directory), kwargs.get("variant"))
            with replaced if kwargs.get("is_main_process", True) else contextlib.nullcontext():
                super().save_pretrained(save_directory, **kwargs)
        except SafetensorError as error:
            raise OSError(f"Cannot write the weights to {os.fspath(save_directory)}: {error}") from error
        finally:
            self.config.backbone_weights, self._keys_to_ignore_on_save = previous
        _copy_mode(CONFIG_NAME, save_directory)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> str:
        """Publish weights and configuration as [`~transformers.PreTrainedModel.push_to_hub`] does.

        `gffusion.hub.push_model` also writes image processor and model card, and checks the model.

        Raises:
            ValueError: If the configuration names a local folder as the source of an encoder, is invalid, or contradicts the networks.
        """
        self._check_config()
        self._refuse_local_sources()
        return super().push_to_hub(*args, **kwargs)

    def _check_config(self) -> None:
        """Raise ValueError if the configuration was changed to an invalid one, or to one that contradicts the networks."""
        check_network_fields(self, self.config, self._built_with)
        self.config.validate()

    def _save_adapter(self, folder: str | os.PathLike[str], include_backbones: bool | None, **kwargs: Any) -> None:
        """Save the adapter alone, and warn about weights that were trained beside it."""
        if include_backbones:
            raise ValueError(
                "Only the adapter is saved: omit `include_backbones`, and save the whole model before `add_adapter`."
            )
        own = build_on_meta(type(self), self.config).state_dict()
        left_out = [name for name, weight in self.named_parameters() if weight.requires_grad and name in own]
        if left_out:
            logger.warning(
                f"Only the adapter is saved, without {len(left_out)} other trained weights ({left_out[0]!r}, ...): name their layers in "
                "`modules_to_save` of the adapter, or merge it and save the whole model."
            )
        super().save_pretrained(folder, **kwargs)
        _copy_mode(ADAPTER_CONFIG_NAME, folder)

    def _refuse_local_sources(self) -> None:
        """Raise ValueError if a published configuration would name a folder, with which it cannot be loaded from the Hub."""
        for name in BACKBONE_CLASSES:
            encoder_config = getattr(self.config, f"{name}_config")
            sources = getattr(self.config, f"{name}_name_or_path"), encoder_config and encoder_config.name_or_path
            for source in filter(None, sources):
                if not names_repository(source):
                    raise ValueError(
                        f"`push_to_hub` would publish {source!r}, the local path of the {name} encoder, from which others cannot load "
                        "it. Use `gffusion.hub.push_model(model, repo_id, full=True)`, which publishes the encoder instead."
                    )


def _copy_mode(name: str, folder: str | os.PathLike[str]) -> None:
    """Give weights the permissions of a file: safetensors files are created without read permission for others."""
    if (file := Path(folder, name)).is_file():  # only the main process writes it
        for weights in Path(folder).glob("*.safetensors"):
            shutil.copymode(file, weights)


def _warn_about_dtypes(given: Iterable[Any]) -> None:
    if any(isinstance(dtype, dict) for dtype in given):  # transformers' own warning is silenced
        logger.warning(
            'Of `dtype` as a dict, only the entry "" is used, for the whole model. Convert parts after loading: `model.clip.half()`.'
        )


def _warn_about_options(options: dict[str, Any]) -> None:
    """Warn about arguments of transformers that have no effect here, and remove them."""
    for name in ("output_attentions", "output_hidden_states"):
        if options.pop(name, None):
            logger.warning(f"`{name}` has no effect: call the model with `output_features=True` for its features.")
    if options.pop("use_safetensors", None) is False:
        logger.warning(f"`use_safetensors=False` has no effect. {NO_PICKLES}")
