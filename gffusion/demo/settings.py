"""What the demo offers and allows."""

from dataclasses import dataclass

from gffusion.zoo.registry import find_entries, locate


@dataclass(frozen=True)
class DemoSettings:
    """Models and limits of the demo.

    Attributes:
        models: Names, folders or Hub ids of the models to choose from; the first one is the default.
        device: Device of torch that computes.
        dtype: Precision, a name of a torch dtype.
        max_pixels: Largest number of pixels of an image, and of a frame of a video.
        max_megabytes: Largest size of an upload.
        max_frames: Largest number of frames of a video.
        max_seconds: Time after which the fusion of a video is stopped.

    Raises:
        ValueError: If there is no model.
    """

    models: tuple[str, ...]
    device: str = "cpu"
    dtype: str = "float32"
    max_pixels: int = 16_000_000
    max_megabytes: int = 64
    max_frames: int = 500
    max_seconds: int = 120

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("the demo needs at least one model")


def choose_models(names: tuple[str, ...] = (), bundled_only: bool = False) -> tuple[str, ...]:
    """Return the models to choose from: the given ones, or else all listed ones that have weights.

    Raises:
        OSError: If a given model is neither listed, with weights, nor a folder with a model, nor named as one of the Hub.
        ValueError: If `bundled_only` is set and a given model is not in the package.

    Examples:
        >>> choose_models(bundled_only=True)[0]
        'gffusion-tiny'
        >>> choose_models(("gffusion-live",), bundled_only=True)
        ('gffusion-live',)
    """
    bundled = [entry.name for entry in reversed(find_entries(status="bundled"))]
    if bundled_only and (others := [name for name in names if name not in bundled]):
        raise ValueError(f"--bundled-only allows {', '.join(bundled[:-1])} and {bundled[-1]}, got --model {others[0]}")
    for name in names:
        locate(name)
    published = () if bundled_only else [entry.name for entry in find_entries(status="published")]
    return names or (*bundled, *published)
