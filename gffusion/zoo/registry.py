"""What models there are, and where each one lives."""

import os
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..image_processing_gffusion import GFFusionImageProcessor
    from ..modeling_gffusion import GFFusionModel


@dataclass(frozen=True)
class ModelEntry:
    """A model that has a name.

    Args:
        name: Name in `create_model` and on the command line.
        description: One line for people who choose.
        licence: SPDX identifier of the weights' licence.
        recipe: Recipe in `examples/recipes` that trains it.
    """

    name: str
    description: str
    licence: str
    recipe: str


# All of these ship inside the package, in gffusion/zoo/weights.
MODELS = (
    ModelEntry(
        name="gffusion-funet",
        description="FuNet alone (cascading paradigm without segmenter): small and quick, needs no encoder",
        licence="Apache-2.0",
        recipe="funet.yaml",
    ),
)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the models that match a pattern such as `"*funet*"`."""
    return [entry.name for entry in MODELS if fnmatch(entry.name, pattern)]


def locate(name: str | os.PathLike[str]) -> str:
    """Return what `from_pretrained` needs to load a model.

    Args:
        name: Name of a bundled model, folder, or Hub id `organisation/name`.

    Raises:
        OSError: If the name is none of these.
    """
    name = os.fspath(name)
    if name in list_models():
        return str(files("gffusion.zoo") / "weights" / name)
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise OSError(f"The folder {name} holds no model: it has no config.json.")
        return name
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise OSError(
            f"Unknown model {name!r}: neither a bundled model ({', '.join(list_models())}), nor a folder with a model, nor "
            "a Hub id such as org/name."
        )
    return name


def create_model(name: str | os.PathLike[str] = "gffusion-funet", **kwargs: Any) -> "GFFusionModel":
    """Load a model by name, with its weights, ready for inference.

    Args:
        name: Name of a bundled model, folder, or Hub id.
        kwargs: Passed on to [`GFFusionModel.from_pretrained`].

    Raises:
        OSError: If there is no such model, or it cannot be loaded.
        ValueError: If an argument is refused.
    """
    from ..modeling_gffusion import GFFusionModel

    try:
        return GFFusionModel.from_pretrained(locate(name), **kwargs)
    except (OSError, RuntimeError) as error:  # RuntimeError: weights of other shapes
        raise OSError(f"Cannot load the model {os.fspath(name)!r}: {error}") from error


def load_image_processor(name: str | os.PathLike[str] = "gffusion-funet", **kwargs: Any) -> "GFFusionImageProcessor":
    """Load the image processor of a model by name, or the default one where the model was saved without.

    Args:
        name: Name of a bundled model, folder, or Hub id.
        kwargs: Options of [`GFFusionImageProcessor`], and what its `from_pretrained` takes.

    Raises:
        OSError: If there is no such model.
        ValueError: If an option is refused.
    """
    from ..image_processing_gffusion import GFFusionImageProcessor

    folder = Path(locate(name))
    if (folder / "config.json").is_file() and not (folder / "preprocessor_config.json").exists():
        return GFFusionImageProcessor(**kwargs)
    return GFFusionImageProcessor.from_pretrained(locate(name), **kwargs)
