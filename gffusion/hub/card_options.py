"""Rows of model cards about options of the configuration."""

from transformers import PreTrainedConfig

from gffusion.models.gffusion.configuration_gffusion import OUR_TERMS, GFFusionConfig
from gffusion.models.gffusion.encoders import BACKBONE_CLASSES
from gffusion.utils.escaping import quote_code

# Fields that other rows of the card show, or that belong to the encoders.
_SHOWN = {
    "paradigm",
    "merging",
    "semantic_layers",
    "color_space",
    "intensity_target",
    "class_weights",
    "backbone_weights",
}
_SHOWN |= {f"{part}_channels" for part in ("stem", "feature", "decoder")}
_SHOWN |= {f"{term}_weight" for term in ("gradient", *OUR_TERMS, "segmentation")}
_SHOWN |= {f"{name}_{value}" for name in BACKBONE_CLASSES for value in ("config", "name_or_path", "revision")}


def describe_loss(config: GFFusionConfig) -> str:
    """Return the weights of the loss; those of our terms only if they are not 0, besides that of the intensity."""
    target = "" if config.intensity_target == "maximum" else f" ({config.intensity_target})"
    terms = [f"gradient (beta) {config.gradient_weight:g}", f"intensity {config.intensity_weight:g}{target}"]
    weights = [
        (term.label, getattr(config, f"{name}_weight")) for name, term in OUR_TERMS.items() if name != "intensity"
    ]
    terms += [f"{label} {weight:g}" for label, weight in weights if weight]
    if config.use_segmenter:
        terms.append(f"segmentation (lambda) {config.segmentation_weight:g}")
        if config.class_weights:
            terms.append(f"classes {', '.join(f'{weight:g}' for weight in config.class_weights)}")
    return ", ".join(terms)


def list_other_options(config: GFFusionConfig) -> str:
    """Return the fields that differ from the defaults and are not part of another row."""
    default = type(config)()
    names = [name for name in config.__dataclass_fields__ if name not in PreTrainedConfig.__dataclass_fields__]
    values = {name: getattr(config, name) for name in names if name not in _SHOWN}
    return ", ".join(
        quote_code(f"{name}={value!r}") for name, value in values.items() if value != getattr(default, name)
    )
