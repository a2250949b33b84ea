"""Model cards with the metadata of the Hub."""

import hashlib
import json
import logging
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from gffusion._version import __version__
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_checks import build_on_meta
from gffusion.utils.atomic import replace_file
from gffusion.utils.escaping import escape_markdown, quote_code
from gffusion.zoo.registry import is_hub_id, is_on_hub

from .card_options import describe_loss, list_other_options
from .rendering import find_metric, format_log, format_metrics, format_table, is_unedited, sign_card

logger = logging.getLogger(__name__)

ENCODERS = {"clip": "CLIP", "dinov2": "DINOv2"}

# License of the encoders by prefix of their Hub id.
ENCODER_LICENSES = {"openai/clip-": "MIT, as in OpenAI's CLIP repository", "facebook/dinov2-": "Apache-2.0"}

# Encoder whose features are injected into FuNet, by paradigm.
INJECTED = {"parallel": "dinov2", "hybrid": "clip"}

TASKS = {
    "fusion": {"task_type": "image-to-image", "task_name": "Infrared and visible image fusion"},
    "segmentation": {"task_type": "image-segmentation", "task_name": "Semantic segmentation of the fused image"},
}

CLIP_SCOPE = (
    "This model uses CLIP features. OpenAI's model card of CLIP declares any deployed use case out of scope, and "
    "surveillance always out of scope."
)


@dataclass(frozen=True)
class TrainingData:
    """A dataset that weights were trained on.

    Args:
        name: Name of the dataset.
        num_pairs: Number of training pairs.
        terms: License or terms of use.
        url: Address of the dataset.
        hub_id: Id on the Hub, `organization/name`.

    Raises:
        ValueError: If `hub_id` is not a Hub id.
    """

    name: str
    num_pairs: int
    terms: str
    url: str | None = None
    hub_id: str | None = None

    def __post_init__(self) -> None:
        _check_hub_id(self.hub_id)


@dataclass(frozen=True)
class Evaluation:
    """Results of one run of `gffusion evaluate`.

    Args:
        dataset: Name of the dataset.
        metrics: Means by metric, as returned for a method by [`~gffusion.evaluation.EvaluationTable.to_dict`].
        num_images: Number of averaged images.
        protocol: Name of the evaluation protocol, see `gffusion.metrics.PROTOCOLS`.
        command: Command that reproduces the results.
        comparison: Markdown table of all compared methods, shown instead of `metrics`:
            [`~gffusion.evaluation.EvaluationTable.to_markdown`].
        hub_id: Id of the dataset on the Hub, `organization/name`.

    Raises:
        ValueError: If metrics or command are missing, a metric is unknown or not finite, or `hub_id` is not a Hub id.

    Examples:
        >>> Evaluation("MSRS", {"EN": 6.5}, 40, "standard", "gffusion evaluate ...").eval_results[0].metric_value
        6.5
    """

    dataset: str
    metrics: Mapping[str, float]
    num_images: int
    protocol: str
    command: str
    comparison: str = ""
    hub_id: str | None = None

    def __post_init__(self) -> None:
        _check_hub_id(self.hub_id)
        if not self.metrics or not self.command:
            raise ValueError(
                f"An evaluation on {self.dataset} needs `metrics` and `command`, the command that measures them."
            )
        for name, value in self.metrics.items():
            find_metric(name)
            if not math.isfinite(value):
                raise ValueError(f"{name} on {self.dataset} must be finite, got {value}.")

    @property
    def eval_results(self) -> list[EvalResult]:
        """The metrics as entries of the Hub's model index."""
        return [
            EvalResult(
                **TASKS[find_metric(name).task],
                dataset_type=self.hub_id or _slug(self.dataset),  # required, and distinct for each dataset
                dataset_name=self.dataset,
                metric_type=_slug(name),
                metric_name=name,
                metric_value=round(float(value), 4),
                metric_args={"protocol": self.protocol, "images": self.num_images},
                verified=False,
            )
            for name, value in self.metrics.items()
        ]


@dataclass(frozen=True, kw_only=True)
class FusionCard:
    """A model card. Facts that are not given are left out.

    Args:
        model_name: Name of the weights.
        config: Configuration of the model.
        license: SPDX identifier of the license of the weights, such as "Apache-2.0".
        has_weights: Whether weights exist. Otherwise, the card shows how to start training.
        hub_id: Hub id of the weights.
        source: Folder or bundled model that the code example loads. Defaults to `hub_id`, then to `model_name`.
        description: One or two sentences about the weights.
        training_data: Datasets that the weights were trained on.
        base_model: Hub id of the model that training started from.
        replaced_encoders: Descriptions, such as "randomly initialized", of encoders ("clip", "dinov2") without the weights
            of CLIP or DINOv2. They are not listed as base models.
        settings: Training options, at least those with non-default values, see [`non_default_settings`].
        command: Command that trains the weights.
        log: Records of the training log in order: `epoch`, counted from 0, and values by name.
        metric_for_best_model: Loss or metric in the log that chose the best weights.
        versions: Versions of the software used for training, see [`versions`].
        evaluations: Results measured with these weights.
        paper_figures: Results reported in the paper, by dataset and metric. They are not part of the metadata.
        images: Captions by file name of the images in the folder of the card.
        intended_use: Intended use of the weights.
        limits: Limitations besides those of all fusion models, one sentence each.

    Raises:
        ValueError: If `hub_id` is not a Hub id, or `replaced_encoders` names an encoder that the model does not have.

    Examples:
        >>> config = GFFusionConfig(paradigm="cascading", use_segmenter=False)
        >>> "# street" in FusionCard(model_name="street", config=config).render()
        True
    """

    model_name: str
    config: GFFusionConfig
    license: str | None = None
    has_weights: bool = True
    hub_id: str | None = None
    source: str | None = None
    description: str = ""
    training_data: Sequence[TrainingData] = ()
    base_model: str | None = None
    replaced_encoders: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    log: Sequence[Mapping[str, float]] = ()
    metric_for_best_model: str = "loss_structural"
    versions: Mapping[str, str] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()
    paper_figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    intended_use: str = (
        "Viewing an aligned visible and infrared pair as one image. Research on image fusion, as a baseline or as a "
        "starting point for training on other data."
    )
    limits: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_hub_id(self.hub_id)
        if unknown := sorted(set(self.replaced_encoders) - set(self._encoders)):
            raise ValueError(
                f"`replaced_encoders` must be encoders of the model ({list(self._encoders) or 'none'}), got {unknown}."
            )

    @property
    def metadata(self) -> ModelCardData:
        """The front matter of the card, which the Hub reads."""
        results = [result for evaluation in self.evaluations for result in evaluation.eval_results]
        tags = ["infrared-visible-image-fusion", "image-fusion", "thermal", "gffusion"]
        return ModelCardData(
            license=self.license.lower() if self.license else None,
            library_name="gffusion",
            pipeline_tag="image-to-image",
            base_model=[*filter(None, [self.base_model]), *self._base_models.values()] or None,
            datasets=list(dict.fromkeys(data.hub_id for data in self.training_data if data.hub_id)) or None,
            metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
            tags=[*tags, "image-segmentation"] if self.config.use_segmenter else tags,
            model_name=self.model_name if results else None,
            eval_results=results or None,
        )

    def render(self) -> str:
        """Return the card as Markdown with YAML front matter."""
        source = self.source or self.hub_id or self.model_name if self.has_weights else self.model_name
        card = ModelCard.from_template(
            self.metadata,
            # The package can be imported from an archive, where files have no path.
            template_str=(files(__package__) / "card_template.md").read_text(encoding="utf-8"),
            card=self,
            facts=self._collect_facts(),
            limits=self._collect_limits(),
            source=json.dumps(source, ensure_ascii=False),
            training_data=[_describe_dataset(data) for data in self.training_data],
            settings=[(quote_code(name), quote_code(str(value))) for name, value in self.settings.items()],
            escape=escape_markdown,
            quote_code=quote_code,
            format_table=format_table,
            format_log=format_log,
            format_metrics=format_metrics,
        )
        text = re.sub(r"\n{3,}", "\n\n", str(card)).strip() + "\n"
        return sign_card(text.encode(errors="backslashreplace")).decode()

    def save(self, folder: str | os.PathLike[str], name: str = "README.md") -> Path:
        """Write the card atomically to a folder, which is created if needed, and return its path.

        An edited or handwritten file with that name is kept, and a warning is logged.

        Raises:
            FileNotFoundError: If an image of the card is missing from the folder.
            OSError: If the card cannot be written.
        """
        path = Path(folder) / name
        if path.exists() and not is_unedited(path.read_bytes()):
            logger.warning("%s was edited or not generated by gffusion, and is kept unchanged.", path)
            return path
        if missing := [name for name in self.images if not (path.parent / name).is_file()]:
            raise FileNotFoundError(f"{path.parent} lacks {missing}, which the card shows: save the images first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, self.render().encode())
        return path

    @property
    def _encoders(self) -> tuple[str, ...]:
        return tuple(name for name in ENCODERS if getattr(self.config, f"needs_{name}"))

    @property
    def _base_models(self) -> dict[str, str]:
        """Hub ids of the original encoders, by encoder."""
        names = (name for name in self._encoders if name not in self.replaced_encoders)
        sources = {name: getattr(self.config, f"{name}_name_or_path") for name in names}
        return {name: source for name, source in sources.items() if is_on_hub(source)}

    def _collect_facts(self) -> dict[str, str]:
        config = self.config
        paradigm = f"{config.paradigm}: {self._describe_injection()}"
        if config.semantic_config is not None and config.semantic_layers:
            paradigm += f", merged by `{config.merging}` at layers {', '.join(map(str, config.semantic_layers))}"
        luma = "luma; the chroma of the visible image is restored after fusion"
        decoder = ", ".join(map(str, config.decoder_channels or [])) or "of one convolution"
        model = build_on_meta(GFFusionModel, config)
        num_trainable = model.num_parameters(only_trainable=True)
        facts = {
            "paradigm": paradigm,
            "fused channels": "all three color channels" if config.color_space == "rgb" else luma,
            "channels": f"stem {config.stem_channels}, features 2 x {config.feature_channels}, decoder {decoder}",
            "parameters": f"{num_trainable:,} trainable, {model.num_parameters() - num_trainable:,} frozen",
            "loss weights": describe_loss(config),
        }
        if others := list_other_options(config):
            facts["other options"] = others
        if config.use_segmenter:
            facts["classes"] = ", ".join(escape_markdown(config.id2label[index]) for index in sorted(config.id2label))
        facts |= {f"{ENCODERS[name]} encoder (frozen)": self._describe_encoder(name) for name in self._encoders}
        return facts | ({"license of the weights": self.license or "not stated"} if self.has_weights else {})

    def _describe_injection(self) -> str:
        encoder = INJECTED.get(self.config.paradigm)
        if encoder is None:
            return "no encoder features are injected into FuNet"
        name = ENCODERS[encoder]
        if self.has_weights and encoder not in self._base_models:
            return f"features of both source images, by an encoder with the architecture of {name}, are injected into FuNet"
        return f"{name} features of both source images are injected into FuNet"

    def _describe_encoder(self, encoder: str) -> str:
        if encoder in self.replaced_encoders:
            return f"not the weights of {ENCODERS[encoder]}: {self.replaced_encoders[encoder]}"
        source = self._base_models.get(encoder)
        if source is None:  # local paths do not leak
            return "not from the Hub"
        revision = getattr(self.config, f"{encoder}_revision")
        pinned = f"revision {quote_code(revision)}" if revision else "no revision pinned"
        licenses = (license for publisher, license in ENCODER_LICENSES.items() if source.startswith(publisher))
        return f"[{source}](https://huggingface.co/{source}), {pinned}; license: {next(licenses, 'see its model card')}"

    def _collect_limits(self) -> list[str]:
        limits = [
            f"The {ENCODERS[name]} encoder does not have the weights of {ENCODERS[name]} ({description}): results do not "
            "apply to the model of the paper."
            for name, description in self.replaced_encoders.items()
        ]
        limits += [
            f"The {ENCODERS[name]} encoder is not from the Hub. It is unknown whether it has the weights of "
            f"{ENCODERS[name]}; models bundled with gffusion have encoders of their own."
            for name in self._encoders
            if self.has_weights and name not in {*self.replaced_encoders, *self._base_models}
        ]
        if self._base_models.get("clip", "").startswith("openai/"):
            limits.append(CLIP_SCOPE)
        return [*limits, *self.limits]


def non_default_settings(arguments: Any) -> dict[str, Any]:
    """Return the fields of a dataclass whose values differ from their defaults.

    Fields without a default, such as an output folder, are left out.

    Examples:
        >>> non_default_settings(TrainingData("MSRS", 242, "research use", url="https://example.org"))
        {'url': 'https://example.org'}
    """
    settings = {}
    for item in fields(arguments):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        value = getattr(arguments, item.name)
        if default is not MISSING and value != default:
            settings[item.name] = value
    return settings


def versions() -> dict[str, str]:
    """Return the versions of gffusion, torch, transformers, accelerate and Python, by name."""
    libraries = {name: version(name) for name in ("torch", "transformers", "accelerate")}
    return {"gffusion": __version__, **libraries, "Python": platform.python_version()}


def _describe_dataset(data: TrainingData) -> tuple[str, str, str]:
    url = data.url or (f"https://huggingface.co/datasets/{data.hub_id}" if data.hub_id else None)
    name = escape_markdown(data.name)
    return f"[{name}]({url})" if url else name, f"{data.num_pairs:,}", data.terms


def _check_hub_id(name: str | None) -> None:
    if name is not None and not is_hub_id(name):
        raise ValueError(f"`hub_id` must be a Hub id such as organization/name, got {name!r}.")


def _slug(name: str) -> str:
    """Return the words of a name, or a digest if it has none."""
    words = re.sub(r"[\W_]+", "_", name.lower()).strip("_")
    return words or hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=4).hexdigest()
