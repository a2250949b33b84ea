"""Open videos without the files that they name, and tell why one cannot be opened."""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from gffusion.utils.extras import check_extra

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
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
_INDEXED = (".3gp", ".m4v", ".mov", ".mp4")
_FIRST_BOXES = (b"ftyp", b"wide", b"mdat", b"free", b"skip")


def import_av() -> ModuleType:
    """Return PyAV, or raise ImportError that tells how to install it if it is missing or too old."""
    check_extra("video", "videos need PyAV ({})", "av", is_version_needed=True)
    import av

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


def read_packets(container: "InputContainer", *streams: "Stream") -> "Iterator[Packet[Any]]":
    """Yield the packets of streams in order.

    Damage can make a further stream appear in the middle of a file, at whose packets PyAV raises IndexError. They are left out;
    the empty packet that fetches the last frames can come twice then.
    """
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:
            continue
        return


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


def lacks_index(path: Path) -> bool:
    """Return whether a file of the MP4 family has no index (`moov`), which cameras write when a recording ends.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     file = Path(root, "cut.mp4")
        ...     _ = file.write_bytes(bytes([0, 0, 0, 8]) + b"ftyp" + bytes([0, 0, 1, 0]) + b"mdat" + bytes(100))
        ...     lacks_index(file)
        True
    """
    if path.suffix.lower() not in _INDEXED:
        return False
    end, place = path.stat().st_size, 0
    kinds: set[bytes] = set()
    with path.open("rb") as file:
        while place + 8 <= end and len(kinds) < 100:
            file.seek(place)
            header = file.read(16)
            size, kind = struct.unpack(">I4s", header[:8])
            if not kinds and kind not in _FIRST_BOXES:  # another format
                return False
            kinds.add(kind)
            if size == 1 and len(header) == 16:
                size = struct.unpack(">Q", header[8:])[0]
            if size < 8:  # up to the end of the file, or damaged
                break
            place += size
    return bool(kinds) and not kinds & {b"moov", b"moof"}
