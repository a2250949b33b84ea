"""Suffixes of videos, and what is written for each. Imports nothing heavy, so that the command line can check names first."""

from pathlib import Path
from typing import NamedTuple

from gffusion.data.other_files import FLIR_SUFFIXES

HD_HEIGHT = 720
"""Number of rows from which players take the color matrix of BT.709, not BT.601, if a video does not name one."""

EXACT_COLORS = 2 | 0x2000 | 0x40000  # SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_ACCURATE_RND
"""Value of `interpolation` in PyAV; by default, colors are read up to three levels too dark."""


class OutputFormat(NamedTuple):
    """Container and codec of a file.

    Attributes:
        container: Name of the container in FFmpeg.
        codec: Name of the encoder in FFmpeg.
        pixels: Pixel format of the encoder.
        options: Options of the encoder.
        container_options: Options of the container.
    """

    container: str
    codec: str
    pixels: str
    options: dict[str, str]
    container_options: dict[str, str]


# Without B-frames, decoding order is presentation order, so that segments can be joined at any time stamps.
# By default, .mkv files would name their unit of time as rate.
_H264_OPTIONS = {"crf": "18", "preset": "faster", "bf": "0", "x264-params": "force-cfr=1"}
_H264 = ("libx264", "yuv420p", _H264_OPTIONS)
_VP9 = ("libvpx-vp9", "yuv420p", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "lag-in-frames": "0"})
_FFV1 = ("ffv1", "gray", {"level": "3"})
_FAST_START = {"movflags": "faststart"}  # players can start before the whole file is downloaded
_NO_RANDOM_IDS = {"fflags": "+bitexact"}  # equal frames give equal files

OUTPUT_FORMATS = {
    ".m4v": OutputFormat("mp4", *_H264, _FAST_START),
    ".mkv": OutputFormat("matroska", *_H264, _NO_RANDOM_IDS),
    ".mov": OutputFormat("mov", *_H264, _FAST_START),
    ".mp4": OutputFormat("mp4", *_H264, _FAST_START),
    ".webm": OutputFormat("webm", *_VP9, _NO_RANDOM_IDS),
}
"""Formats of fused videos by suffix."""

LABEL_FORMAT = OutputFormat("matroska", *_FFV1, _NO_RANDOM_IDS)
"""Lossless format of label maps, written to .mkv files."""


def refuse_flir(path: Path) -> None:
    """Raise ValueError if a file is named as a recording of FLIR, which FFmpeg does not decode."""
    if path.suffix.lower() in FLIR_SUFFIXES:
        raise ValueError(
            f"{path}: recordings of FLIR ({', '.join(FLIR_SUFFIXES)}) are not read: split them into 16-bit TIFF, for example "
            "with `split_seqs` of flirpy (pip install flirpy), and give the folder with its rate (--infrared-fps); or export a video in FLIR's software"
        )
