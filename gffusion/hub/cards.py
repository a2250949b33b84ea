"""FusionCard: what there is to know about trained weights, as a model card with the metadata of the Hub."""

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
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from huggingface_hub.repocard_data import EvalResult, ModelCardData

from gffusion._version import __version__
from gffusion.data.atomic import replace_file
from gffusion.zoo.registry import is_hub_id

from .rendering import code_block, figures_table, fill, find_metric, is_untouched, log_table, sign, table, unique

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig

logger = logging.getLogger(__name__)

ENCODERS = {"clip": "CLIP", "dinov2": "DINOv2"}

# What the encoders' publishers grant, by the beginning of the Hub id.
ENCODER_LICENCES = {"openai/clip-": "MIT, as OpenAI's CLIP repository", "facebook/dinov2-": "Apache-2.0"}

INJECTED = {
    "cascading": "nothing is injected into FuNet",
    "parallel": "DINOv2 features of the sources are injected into FuNet",
    "hybrid": "CLIP features of the sources are injected into FuNet",
}

TASKS = {
    "fusion": {"task_type": "image-to-image", "task_name": "Infrared and visible image fusion"},
    "segmentation": {"task_type": "image-segmentation", "task_name": "Semantic segmentation of the fused image"},
}

NO_WEIGHTS = (
    "**There are no weights of this model**: nobody has trained it with gffusion and published the result. This card says "
    "what it is and how it is trained."
)

CLIP_SCOPE = (
    "OpenAI's card of CLIP, whose features are used here, declares deployed uses, and surveillance in any case, out of "
    "scope."
)


@dataclass(frozen=True)
class TrainingData:
    """A data set that weights were trained on.

    Args:
        name: Its name, as people know it.
        pairs: Number of pairs that were trained on.
        terms: Its licence or terms of use.
        url: Where it comes from.
        hub_id: Its id on the Hub, `organisation/name`, if it is there.

    Raises:
        ValueError: If `hub_id` is no such id.
    """

    name: str
    pairs: int
    terms: str
    url: str | None = None
    hub_id: str | None = None

    def __post_init__(self) -> None:
        _check_hub_id(self.hub_id)


@dataclass(frozen=True)
class Evaluation:
    """What one run of `gffusion evaluate` measured with the weights.

    Args:
        data_set: Name of the data set.
        metrics: Means by metric, as [`~gffusion.evaluation.EvaluationTable.to_dict`] gives them for a method.
        images: Number of images that they are means over.
        protocol: Whose conventions the metrics follow, see `gffusion.metrics.PROTOCOLS`.
        command: The command that measures them again.
        comparison: Markdown of the whole table, with the rows that the weights compete with, to be shown in place of
            their own row: [`~gffusion.evaluation.EvaluationTable.to_markdown`].
        hub_id: Id of the data set on the Hub, `organisation/name`, if it is there.

    Raises:
        ValueError: If metrics or command are missing, a metric is unknown or not finite, or `hub_id` is no such id.
    """

    data_set: str
    metrics: Mapping[str, float]
    images: int
    protocol: str
    command: str
    comparison: str = ""
    hub_id: str | None = None

    def __post_init__(self) -> None:
        _check_hub_id(self.hub_id)
        if not self.metrics or not self.command:
            raise ValueError(f"An evaluation on {self.data_set} needs metrics, and the command that measures them.")
        for name, value in self.metrics.items():
            find_metric(name)
            if not math.isfinite(value):
                raise ValueError(f"{name} on {self.data_set} must be finite to stand in a card, got {value}.")

    @property
    def eval_results(self) -> list[EvalResult]:
        """The metrics as entries of the Hub's model index."""
        # The index has no room for a data set that is not on the Hub; a name of its own keeps such sets apart.
        data_set_type = self.hub_id or _slug(self.data_set)
        return [
            EvalResult(
                **TASKS[find_metric(name).task],
                dataset_type=data_set_type,
                dataset_name=self.data_set,
                metric_type=_slug(name),
                metric_name=name,
                metric_value=round(float(value), 4),
                metric_args={"protocol": self.protocol, "images": self.images},
                verified=False,
            )
            for name, value in self.metrics.items()
        ]


@dataclass(frozen=True, kw_only=True)
class FusionCard:
    """The facts of a model card. What is not given is left out of the card, never guessed.

    Args:
        model_name: Name of the weights.
        config: Configuration of the model.
        parameters: Number of all parameters, frozen ones included.
        trainable_parameters: Number of those that training changes.
        licence: SPDX identifier of the weights' licence, such as "Apache-2.0".
        has_weights: Whether there are weights. A card without them says so, and shows how a training begins.
        hub_id: Id under which the weights are, or will be, on the Hub.
        source: The folder or bundled model that the snippet loads. Defaults to `hub_id`, and without that to `model_name`.
        description: A sentence or two about these weights.
        training_data: What they were trained on.
        base_model: Hub id of the model that the training began with.
        stand_in_encoders: What the encoders are (by name, "clip" or "dinov2") whose weights are not CLIP's or DINOv2's,
            such as "randomly initialised". The card says so, and does not name these as base models.
        settings: Training options that are not the default, see `non_default_settings`.
        command: The command that trains the weights again.
        log: Records of the training log in order: `epoch`, counted from 0, and figures by name.
        versions: Versions of what trained them, see `versions`.
        evaluations: What was measured with these weights.
        paper_figures: What the paper reports, by data set and metric. Shown as the paper's, kept out of the metadata.
        pictures: What pictures show, by their file names in the folder of the card.
        intended_use: What the weights are for.
        limits: Sentences about what they cannot do, besides those that hold for every fusion model.

    Raises:
        ValueError: If `hub_id` or an encoder in `stand_in_encoders` is unknown.
    """

    model_name: str
    config: "GFFusionConfig"
    parameters: int
    trainable_parameters: int
    licence: str | None = None
    has_weights: bool = True
    hub_id: str | None = None
    source: str | None = None
    description: str = ""
    training_data: Sequence[TrainingData] = ()
    base_model: str | None = None
    stand_in_encoders: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    log: Sequence[Mapping[str, float]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()
    paper_figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    intended_use: str = (
        "Looking at a visible and an infrared picture of one scene as one picture; research into image fusion, as a "
        "baseline or as a start for training on other data."
    )
    limits: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_hub_id(self.hub_id)
        if unknown := sorted(set(self.stand_in_encoders) - set(self._encoders)):
            raise ValueError(f"`stand_in_encoders` names {unknown}, the model has {list(self._encoders) or 'none'}.")

    @property
    def metadata(self) -> ModelCardData:
        """What the Hub reads: the front matter of the card."""
        results = [result for evaluation in self.evaluations for result in evaluation.eval_results]
        tags = ["infrared-visible-image-fusion", "image-fusion", "thermal", "gffusion"]
        return ModelCardData(
            license=self.licence.lower() if self.licence else None,
            library_name="gffusion",
            pipeline_tag="image-to-image",
            base_model=[*filter(None, [self.base_model]), *self._base_models.values()] or None,
            datasets=unique(data.hub_id for data in self.training_data if data.hub_id) or None,
            metrics=unique(result.metric_type for result in results) or None,
            tags=[*tags, "image-segmentation"] if self.config.use_segmenter else tags,
            model_name=self.model_name if results else None,
            eval_results=results or None,
        )

    def render(self) -> str:
        """Return the card as Markdown with YAML front matter."""
        template = (files(__package__) / "card_template.md").read_text(encoding="utf-8")
        text = f"---\n{self.metadata.to_yaml()}\n---\n\n{fill(template, self._placeholders())}"
        return sign(text.encode()).decode()

    def save(self, folder: str | os.PathLike[str], name: str = "README.md") -> Path:
        """Write the card, whole or not at all.

        A file that a person has edited or written stays as it is, and a warning is logged.

        Args:
            folder: Where the weights are; created if needed.
            name: Name of the file.

        Returns:
            The path of the file.

        Raises:
            FileNotFoundError: If a picture that the card shows is not in the folder.
            OSError: If the card cannot be written.
        """
        path = Path(folder) / name
        if path.exists() and not is_untouched(path.read_bytes()):
            logger.warning("%s was edited, or not written by gffusion. It stays as it is.", path)
            return path
        if missing := [name for name in self.pictures if not (path.parent / name).is_file()]:
            raise FileNotFoundError(f"{path.parent} lacks {missing}, which its card shows: save the pictures first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, self.render().encode())
        return path

    @property
    def _encoders(self) -> tuple[str, ...]:
        return tuple(name for name in ENCODERS if getattr(self.config, f"needs_{name}"))

    @property
    def _base_models(self) -> dict[str, str]:
        """The Hub ids that the weights of the encoders come from, without folders and stand-ins."""
        names = (name for name in self._encoders if name not in self.stand_in_encoders)
        sources = {name: getattr(self.config, f"{name}_name_or_path") or "" for name in names}
        return {name: source for name, source in sources.items() if is_hub_id(source) and not Path(source).exists()}

    def _placeholders(self) -> dict[str, str]:
        """What stands for the names with a dollar sign in the template."""
        segment = '\nfuse(pair, segment=True)["labels"].save("labels.png")  # class ids'
        name, source = json.dumps(self.model_name, ensure_ascii=False), self.source or self.hub_id or self.model_name
        return {
            "model_name": self.model_name,
            "description": self.description,
            "no_weights": "" if self.has_weights else NO_WEIGHTS,
            "pictures": "\n\n".join(f"![{text}]({quote(name)})" for name, text in self.pictures.items()),
            "facts": table(["", ""], self._facts().items()),
            "source": json.dumps(source, ensure_ascii=False) if self.has_weights else "",
            "segment": segment if self.has_weights and self.config.use_segmenter else "",
            "architecture": "" if self.has_weights else name,
            "intended_use": self.intended_use,
            "limits": "\n".join(f"- {sentence}" for sentence in self._limits()),
            "training_data": self._training_data(),
            "command": code_block(self.command),
            "settings": table(
                ["setting", "value, where not the default"],
                [(f"`{name}`", f"`{value}`") for name, value in self.settings.items()],
            ),
            "log": log_table(self.log),
            "versions": ", ".join(f"{name} {number}" for name, number in self.versions.items()),
            "results": "\n\n".join(map(_results, self.evaluations)),
            "paper_figures": figures_table(self.paper_figures),
        }

    def _facts(self) -> dict[str, str]:
        config = self.config
        paradigm = f"{config.paradigm}: {INJECTED[config.paradigm]}"
        if config.semantic_config is not None and config.semantic_layers:
            paradigm += f", layers {', '.join(map(str, config.semantic_layers))} merged by `{config.merging}`"
        loss = f"gradients (beta) {config.gradient_weight:g}, intensity {config.intensity_weight:g}"
        if config.use_segmenter:
            loss += f", segmentation (lambda) {config.segmentation_weight:g}"
        rgb = config.color_space == "rgb"
        decoder = ", ".join(map(str, config.decoder_channels or []))
        facts = {
            "paradigm": paradigm,
            "fuses": "three colour channels" if rgb else "luma; the visible picture's chroma is put back afterwards",
            "widths": f"stem {config.stem_channels}, features 2 x {config.feature_channels}, decoder {decoder}",
            "parameters": f"{self.trainable_parameters:,} trained, {self.parameters - self.trainable_parameters:,} frozen",
            "weights in the loss": loss,
        }
        if config.use_segmenter:
            facts["classes"] = ", ".join(config.id2label[index] for index in sorted(config.id2label))
        facts |= {f"{ENCODERS[name]} encoder, frozen": self._encoder_source(name) for name in self._encoders}
        return facts | ({"licence of the weights": self.licence or "not stated"} if self.has_weights else {})

    def _encoder_source(self, encoder: str) -> str:
        if encoder in self.stand_in_encoders:
            return f"not {ENCODERS[encoder]}'s weights: {self.stand_in_encoders[encoder]}"
        source = self._base_models.get(encoder)
        if source is None:  # a folder of whoever trained, whose path is nobody's business
            return "not from the Hub"
        revision = getattr(self.config, f"{encoder}_revision")
        pinned = f"revision `{revision}`" if revision else "no revision pinned"
        licences = (licence for publisher, licence in ENCODER_LICENCES.items() if source.startswith(publisher))
        return f"[{source}](https://huggingface.co/{source}), {pinned}; licence: {next(licences, 'see there')}"

    def _limits(self) -> list[str]:
        limits = [
            f"The {ENCODERS[name]} encoder does not have {ENCODERS[name]}'s weights ({what}): results say nothing about "
            "the paper's model."
            for name, what in self.stand_in_encoders.items()
        ]
        limits += [
            f"The {ENCODERS[name]} encoder is not from the Hub: whether it has {ENCODERS[name]}'s weights, this card cannot "
            "tell. Models of gffusion's zoo bring encoders of their own."
            for name in self._encoders
            if self.has_weights and name not in {*self.stand_in_encoders, *self._base_models}
        ]
        if self._base_models.get("clip", "").startswith("openai/"):
            limits.append(CLIP_SCOPE)
        return [*limits, *self.limits]

    def _training_data(self) -> str:
        rows = []
        for data in self.training_data:
            url = data.url or (f"https://huggingface.co/datasets/{data.hub_id}" if data.hub_id else None)
            rows.append((f"[{data.name}]({url})" if url else data.name, f"{data.pairs:,}", data.terms))
        return table(["data set", "pairs", "terms"], rows)


def non_default_settings(arguments: "DataclassInstance") -> dict[str, Any]:
    """Return the fields of a dataclass whose values differ from their defaults.

    Fields without a default, such as an output folder, are left out: giving them is no departure from anything.

    Args:
        arguments: Any dataclass, such as [`~gffusion.FusionTrainingArguments`].
    """
    settings = {}
    for item in fields(arguments):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        value = getattr(arguments, item.name)
        if default is not MISSING and value != default:
            settings[item.name] = value
    return settings


def versions() -> dict[str, str]:
    """Return the versions of gffusion, of the libraries that training depends on, and of Python, by name."""
    libraries = {name: version(name) for name in ("torch", "transformers", "accelerate")}
    return {"gffusion": __version__, **libraries, "Python": platform.python_version()}


def _results(evaluation: Evaluation) -> str:
    images = f"{evaluation.images:,} image{'s' * (evaluation.images != 1)}"
    title = f"**{evaluation.data_set}**, {images}, protocol `{evaluation.protocol}`:"
    figures = evaluation.comparison.strip() or figures_table({evaluation.data_set: evaluation.metrics})
    return "\n\n".join([title, figures, code_block(evaluation.command)])


def _check_hub_id(name: str | None) -> None:
    if name is not None and not is_hub_id(name):
        raise ValueError(f"`hub_id` must be an id such as organisation/name, got {name!r}.")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
