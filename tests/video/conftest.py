"""Rendered clips and the smallest bundled model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')

from gffusion import create_model
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob, VideoReport
from gffusion.zoo import load_image_processor


@pytest.fixture(scope="session")
def funet() -> GFFusionModel:
    """Return FuNet alone."""
    return create_model("gffusion-funet")


@pytest.fixture
def fuse(funet: GFFusionModel, tmp_path: Path) -> Callable[..., tuple[Path, VideoReport]]:
    """Fuse two videos to tmp_path/fused.mp4, and return its path and the report."""

    def run(
        visible: Path,
        infrared: Path,
        name: str = "fused.mp4",
        model: GFFusionModel = funet,
        infrared_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> tuple[Path, VideoReport]:
        job = VideoJob(visible, infrared, tmp_path / name)
        processor = load_image_processor("gffusion-funet", **(infrared_options or {}))
        return job.fused, fuse_video(job, model, processor, **options)

    return run
