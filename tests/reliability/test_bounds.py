"""Limits on videos and on the work that a configuration asks for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from video_files import write_pair

from gffusion import GFFusionConfig
from gffusion.data import ReadOptions
from gffusion.video.reading import VideoFile


class TestVideos:
    def test_frames_larger_than_allowed(self, tmp_path: Path) -> None:
        visible, _ = write_pair(tmp_path, 3)
        pixels = next(VideoFile(visible).read()).frame.width * next(VideoFile(visible).read()).frame.height
        with pytest.raises(ValueError, match=rf"visible.*more than {pixels - 1:,}.*--max-pixels {pixels}"):
            VideoFile(visible, pixels - 1)
        file = VideoFile(visible, pixels)
        assert len(list(file.read())) == 3
        file._max_pixels = pixels // 2  # as if frames grew after the header
        assert len(list(file.read())) == 0 and file.damaged

    def test_command(self, gffusion: Callable, tmp_path: Path) -> None:
        pair = write_pair(tmp_path, 3)
        done = gffusion("fuse", *pair, "-o", tmp_path / "out.mp4", "-m", "gffusion-funet", "--max-pixels", 100)
        assert done.exit_code == 2 and "more than 100" in done.err and done.err.count("\n") == 1
        assert not (tmp_path / "out.mp4").exists()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
    def test_special_files(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(OSError, match="a pipe, not a regular file"):
            VideoFile(tmp_path / "pipe.mp4", ReadOptions().max_pixels)

    def test_damaged_files(self, gffusion: Callable, tmp_path: Path) -> None:
        """At any place: one line, or a video of the frames that can be read."""
        visible, infrared = write_pair(tmp_path, 4)
        content = visible.read_bytes()
        for index, place in enumerate(range(0, len(content), len(content) // 7)):
            for kind, damaged in (
                ("cut", content[:place]),
                ("zeros", content[:place] + bytes(64) + content[place + 64 :]),
                ("ones", content[:place] + b"\xff" * 16 + content[place + 16 :]),
            ):
                (tmp_path / "damaged.mp4").write_bytes(damaged)
                output = tmp_path / f"{kind}-{index}.mp4"
                done = gffusion("fuse", tmp_path / "damaged.mp4", infrared, "-o", output, "-m", "gffusion-funet")
                assert done.exit_code in (0, 1, 2) and "Traceback" not in done.err, (kind, index, done.err)
                assert output.exists() == (done.exit_code < 2), (kind, index, done.err)


TOO_MUCH: list[tuple[dict[str, Any], str]] = [
    ({"clip_image_size": [4096, 4096]}, "`clip_image_size` must give .* at most 16,384 patches"),
    ({"segmenter_image_size": [3584, 3584]}, "`segmenter_image_size` must give .* at most 16,384 patches"),
    ({"segmenter_image_size": [1792, 1008], "segmenter_scales": [1, 2]}, "36,864 at scale 2"),
    ({"segmenter_scales": [1, *(1 + index / 100 for index in range(1, 17))]}, "at most 16 scales, got 17"),
    ({"clip_config": {"image_size": 4096, "patch_size": 16}}, "`clip_config` must give at most 16,384 patches"),
]


@pytest.mark.parametrize(("fields", "message"), TOO_MUCH)
def test_work_that_a_configuration_asks_for(fields: dict[str, Any], message: str) -> None:
    """The number of patches, whose attention takes time and memory by its square."""
    with pytest.raises(ValueError, match=message):
        GFFusionConfig(**fields)


def test_large_inputs_of_published_encoders() -> None:
    config = GFFusionConfig(clip_image_size=[1024, 1024], segmenter_image_size=[518, 518], segmenter_scales=[1, 2])
    assert config.clip_grid == (64, 64)
