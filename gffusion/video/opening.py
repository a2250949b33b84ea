"""Open videos without the files that they name."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

# Formats of FFmpeg that are lists of files or addresses, or scripts, or find more files by the name of the first one.
_NAMING_OTHERS = frozenset(
    {
        "avisynth", "concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vapoursynth", "vobsub",
        "webm_dash_manifest",
    }
)  # fmt: skip
_KINDS = {
    b"ffconcat": "ffconcat",
    b"#extm3u": "HLS or M3U",
    b"<mpd": "DASH",
    b"v=0": "SDP",
    b"<asx": "ASX",
    b"[playlist]": "PLS",
}
_HEAD = 1024  # bytes, in which the first tag of XML stands


def import_av() -> ModuleType:
    """Return PyAV.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError('videos need PyAV: pip install "gffusion[video]", or pip install av') from error
    return av


def open_media(path: Path) -> "InputContainer":
    """Open a file for reading, and no file that it names. Its name can have colons, and its metadata need not be UTF-8.

    Raises:
        av.error.FFmpegError: If it cannot be read, or is a playlist.
    """
    av = import_av()
    limits = {"format_whitelist": ",".join(sorted(av.formats_available - _NAMING_OTHERS)), "protocol_whitelist": "file"}
    errors = {"metadata_errors": "surrogateescape"} if Version(av.__version__).major < 19 else {}  # what 19 always does
    return av.open(str(path.absolute()), container_options=limits, **errors)


def read_metadata(source: "InputContainer | Stream") -> dict[str, str]:
    """Return the metadata of an opened file or of one of its streams, with U+FFFD for bytes that are no UTF-8."""
    return {_replace_surrogates(key): _replace_surrogates(value) for key, value in source.metadata.items()}


def _replace_surrogates(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


def find_playlist(path: Path) -> str | None:
    """Return the kind of a playlist, `None` if the file starts as none.

    Raises:
        OSError: If the file cannot be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "drive.mp4").write_text("#EXTM3U")
        ...     find_playlist(Path(root, "drive.mp4"))
        'HLS or M3U'
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<?xml"):
        start = start[max(0, start.find(b"<mpd")) :]
    return next((kind for mark, kind in _KINDS.items() if start.startswith(mark)), None)
