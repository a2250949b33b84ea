"""Memory does not grow with the number of pairs or frames; docs/benchmarks/memory.json has runs of thousands of them."""

import gc
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from gffusion import create_model
from gffusion.data import ImagePair
from gffusion.inference.file_jobs import FusionJob
from gffusion.inference.files import fuse_files
from gffusion.synthetic.rendering import render_scene
from gffusion.video.fuser import FrameFuser
from gffusion.zoo import load_image_processor

COUNT = 40
LIMIT = 200_000  # bytes; one pair of images of 240 x 320 pixels has 300,000


def measure_growth(steps: Iterator[object]) -> int:
    """Go through an iterator, and return by how many bytes objects of Python, arrays and tensors grow in its second half.

    The memory of the process is not measured: when it grows depends on the allocator and on the tests before.
    """

    def measure() -> int:
        gc.collect()
        tensors = {
            thing.untyped_storage().data_ptr(): thing.untyped_storage().nbytes()
            for thing in gc.get_objects()
            if type(thing) in (torch.Tensor, torch.nn.Parameter) and thing.layout == torch.strided
        }
        return tracemalloc.get_traced_memory()[0] + sum(tensors.values())

    tracemalloc.start()
    try:
        for _ in itertools.islice(steps, COUNT // 2):
            pass
        middle, rest = measure(), sum(1 for _ in steps)
        assert rest == COUNT // 2
        return measure() - middle
    finally:
        tracemalloc.stop()


def test_pairs(tmp_path: Path) -> None:
    """Of two sizes in turn, so that batches and tiles change."""
    pairs = []
    for index, size in enumerate(((48, 64), (240, 320))):
        scene = render_scene(index, *size)
        for kind in ("visible", "infrared"):
            Image.fromarray(getattr(scene, kind)).save(tmp_path / f"{kind}-{index}.png")
        pairs.append(ImagePair(str(index), *(tmp_path / f"{kind}-{index}.png" for kind in ("visible", "infrared"))))
    jobs = [FusionJob(pairs[index % 2], tmp_path / f"fused-{index % 4}.png") for index in range(COUNT)]
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    assert measure_growth(fuse_files(jobs, model, processor)) < LIMIT


def test_frames() -> None:
    scene = render_scene(0, 240, 480)
    fuser = FrameFuser(create_model("gffusion-live"), load_image_processor("gffusion-live"))

    def fuse() -> Iterator[object]:
        for index in range(COUNT):
            columns = slice(index, index + 320)
            yield fuser.fuse([fuser.prepare(scene.visible[:, columns], scene.infrared[:, columns])])[0].fused.mean()

    assert measure_growth(fuse()) < LIMIT
