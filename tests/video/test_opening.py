"""Recordings without their index, and those of FLIR, are told from other files that cannot be read."""

import struct
from pathlib import Path

import pytest
from video_files import visible_frame, write_video

from gffusion.video.opening import lacks_index
from gffusion.video.reading import VideoFile


def test_a_cut_recording(tmp_path: Path) -> None:
    path = write_video(tmp_path / "drive.mp4", (visible_frame(index) for index in range(8)))
    content = path.read_bytes()
    assert not lacks_index(path)
    assert content.index(b"moov") > content.index(b"mdat")
    path.write_bytes(content[: len(content) // 2])
    assert lacks_index(path)
    with pytest.raises(
        OSError, match=r"cannot read the video .*drive\.mp4: the recording was cut off, before the index"
    ):
        VideoFile(path)
    path.write_bytes(content[:100].replace(b"ftyp", b"JFIF"))
    assert not lacks_index(path)
    with pytest.raises(OSError, match="Invalid data"):
        VideoFile(path)


def test_a_recording_of_flir(tmp_path: Path) -> None:
    (tmp_path / "flight.SEQ").write_bytes(b"FFF\0" + bytes(100))
    with pytest.raises(
        ValueError, match=r"flight\.SEQ: recordings of FLIR .* are not read: split them into 16-bit TIFF"
    ):
        VideoFile(tmp_path / "flight.SEQ")


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(b"ftyp", 8), (b"mdat", 1)], True),
        ([(b"ftyp", 8), (b"mdat", 0)], True),
        ([(b"ftyp", 8), (b"moov", 8)], False),
        ([(b"ftyp", 8), (b"free", 8), (b"moof", 8)], False),
        ([(b"RIFF", 8)], False),
        ([], False),
    ],
)
def test_boxes(tmp_path: Path, boxes: list[tuple[bytes, int]], expected: bool) -> None:
    """Of a size that is given in 64 bits, or that is that of the rest."""
    content = b"".join(
        struct.pack(">I4s", size, kind) + (struct.pack(">Q", 16) if size == 1 else b"") for kind, size in boxes
    )
    (tmp_path / "a.MP4").write_bytes(content)
    assert lacks_index(tmp_path / "a.MP4") is expected
