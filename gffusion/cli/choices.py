"""Values that options and arguments take, as their help shows them.

The tuples repeat constants whose import takes time; a test compares them.
"""

from collections.abc import Iterable

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
LAYOUTS = ("folders", "m3fd", "mfnet", "msrs", "roadscene", "tno", "llvip", "fmb")
METRICS = (
    "EN",
    "SD",
    "SF",
    "AG",
    "MI",
    "NMI",
    "CC",
    "SCD",
    "MSE",
    "PSNR",
    "VIF",
    "VIFF",
    "Qabf",
    "Nabf",
    "SSIM",
    "MS-SSIM",
)
PROTOCOLS = ("standard", "tang2022", "tang2023", "cddfuse")
REFERENCES = ("visible", "infrared")
STATUSES = ("bundled", "published", "recipe-only")
TURNS = (0, 90, 180, 270)


def show_choices(values: Iterable[object]) -> str:
    """Return values as the help shows them in place of the type.

    Examples:
        >>> show_choices(("visible", "infrared"))
        '{visible,infrared}'
    """
    return f"{{{','.join(map(str, values))}}}"
