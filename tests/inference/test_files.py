"""Fusing files with a simple model: outputs, batches and errors."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from read_back import read_pixels
from torch import Tensor

from gffusion import GFFusionConfig, GFFusionImageProcessor, GFFusionOutput, create_model, load_image_processor
from gffusion.data import ImagePair, ReadOptions, read_pair
from gffusion.inference.file_jobs import FusionJob, FusionResult, read_job, start_workers
from gffusion.inference.files import fuse_files
from gffusion.inference.predict import predict
from gffusion.visualization.palette import PALETTE


class BrighterOfBoth(torch.nn.Module):
    """A model that returns the larger value of each pixel, and class 1 where that is the infrared one."""

    device = torch.device("cpu")
    config = GFFusionConfig()

    def __init__(self, memory: int = 100) -> None:
        super().__init__()
        self.eval()
        self.memory = memory
        self.batches: list[tuple[int, ...]] = []

    def forward(self, visible_values: Tensor, infrared_values: Tensor, segment: bool = False) -> GFFusionOutput:
        self.batches.append(tuple(visible_values.shape))
        if len(visible_values) > self.memory:
            raise torch.OutOfMemoryError("out of memory")
        both = torch.stack([visible_values[:, :1], infrared_values])  # (2, B, 1, H, W)
        return GFFusionOutput(fused_values=both.amax(0), logits=both[:, :, 0].movedim(0, 1) if segment else None)


@pytest.fixture(autouse=True)
def simple_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `predict` call the simple model."""
    monkeypatch.setattr(
        "gffusion.inference.predict.run_model", lambda model, row_bands, encode, graphs, **inputs: model(**inputs)
    )
    monkeypatch.setattr(
        "gffusion.inference.predict.predict_labels", lambda model, outputs, **inputs: outputs.logits.argmax(dim=1)
    )


def make_job(folder: Path, name: str, height: int = 40, width: int = 50, dtype: Any = np.uint8) -> FusionJob:
    rng = np.random.default_rng(len(name) + height)
    paths = [folder / f"{name}_{kind}.png" for kind in ("visible", "infrared", "fused")]
    for path in paths[:2]:
        Image.fromarray(rng.integers(0, np.iinfo(dtype).max, (height, width), dtype, endpoint=True)).save(path)
    return FusionJob(ImagePair(name, paths[0], paths[1]), paths[2])


def run(jobs: list[FusionJob], model: Any, batch_size: int = 1) -> dict[str, FusionResult]:
    results = list(fuse_files(jobs, model, GFFusionImageProcessor(), batch_size))
    assert len(results) == len(jobs)
    return {result.job.pair.name: result for result in results}


def check(job: FusionJob) -> None:
    np.testing.assert_array_equal(
        read_pixels(job.fused), np.maximum(read_pixels(job.pair.visible), read_pixels(job.pair.infrared))
    )


class TestFuseFiles:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
    def test_every_image_in_its_own_file(self, tmp_path: Path, batch_size: int) -> None:
        jobs = [make_job(tmp_path, "x" * length, height=40 + 4 * (length > 3)) for length in range(1, 7)]
        results = run(jobs, BrighterOfBoth(), batch_size)
        assert [result.error for result in results.values()] == [None] * 6
        for job in jobs:
            check(job)

    def test_neighbors_of_one_size_are_batched(self, tmp_path: Path) -> None:
        heights = [40, 40, 40, 44, 44, 40]
        jobs = [make_job(tmp_path, f"pair{number}", height=height) for number, height in enumerate(heights)]
        model = BrighterOfBoth()
        run(jobs, model, batch_size=2)
        assert [(batch[0], batch[2]) for batch in model.batches] == [(2, 40), (1, 40), (2, 44), (1, 40)]

    def test_16_bits_and_small_images_come_back_exactly(self, tmp_path: Path) -> None:
        job = make_job(tmp_path, "small", height=9, width=11, dtype=np.uint16)
        model = BrighterOfBoth()
        assert run([job], model)["small"].error is None
        assert read_pixels(job.fused).dtype == np.uint16
        check(job)
        assert model.batches == [(1, 3, 32, 32)]  # padded to the model's minimum

    @pytest.mark.parametrize("kind", [Path, str])
    def test_label_map_and_overlay(self, tmp_path: Path, kind: type) -> None:
        plain = make_job(tmp_path, "plain")
        pair = ImagePair("plain", kind(plain.pair.visible), kind(plain.pair.infrared))
        outputs = (kind(tmp_path / name) for name in ("plain_fused.png", "labels.png", "overlay.png"))
        job = FusionJob(pair, *outputs)
        assert run([job], BrighterOfBoth())["plain"].error is None
        expected = read_pixels(job.pair.infrared) > read_pixels(job.pair.visible)
        np.testing.assert_array_equal(read_pixels(tmp_path / "labels.png"), expected)
        fused, colors = read_pixels(job.fused)[..., None], read_pixels(tmp_path / "overlay.png")
        mixed = np.where(expected[..., None], fused / 2 + PALETTE[1] / 2, fused)
        np.testing.assert_allclose(colors, mixed, atol=0.5)

    def test_float_images_as_png_without_their_georeference(self, tmp_path: Path) -> None:
        job = dataclasses.replace(make_job(tmp_path, "pair"), keep_metadata=True)
        visible, infrared = np.random.default_rng(0).random((40, 50), np.float32), read_pixels(job.pair.infrared)
        job = dataclasses.replace(job, pair=ImagePair("pair", tmp_path / "visible.tif", job.pair.infrared))
        tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0.0,) * 6, True)]
        tifffile.imwrite(job.pair.visible, visible, extratags=tags)
        options = ReadOptions(align="resize", reference="infrared")
        [result] = fuse_files([job], BrighterOfBoth(), GFFusionImageProcessor(), read_options=options)
        assert "georeference left out: it does not fit the frame of the infrared image" in result.notes
        expected = np.rint(65535 * np.maximum(visible, infrared / np.float32(255)).astype(np.float64))
        assert read_pixels(job.fused).dtype == np.uint16
        np.testing.assert_allclose(read_pixels(job.fused), expected, atol=1)

    def test_thermal_file_keeps_the_georeference(self, tmp_path: Path) -> None:
        job = make_job(tmp_path, "pair")
        pair = ImagePair("pair", tmp_path / "visible.tif", job.pair.infrared)
        job = dataclasses.replace(job, pair=pair, thermal=tmp_path / "thermal.tif", keep_metadata=True)
        tags = [(33550, "d", 3, (2.0, 2.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 6.0, 0.0), True)]
        tifffile.imwrite(pair.visible, np.arange(2000, dtype=np.uint8).reshape(40, 50), extratags=tags)
        assert run([job], BrighterOfBoth())["pair"].error is None
        with tifffile.TiffFile(job.thermal) as file:
            assert file.pages[0].tags[33922].value == (0.0, 0.0, 0.0, 5.0, 6.0, 0.0)  # type: ignore[union-attr]
            np.testing.assert_array_equal(file.asarray(), read_pixels(pair.infrared))

    @pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".png"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_formats_that_cannot_hold_the_depth_are_noted(self, tmp_path: Path, dtype: type, suffix: str) -> None:
        job = make_job(tmp_path, "pair")
        job = FusionJob(ImagePair("pair", tmp_path / "deep.tif", job.pair.infrared), tmp_path / f"fused{suffix}")
        largest = 1 if dtype is np.float32 else np.iinfo(dtype).max
        tifffile.imwrite(job.pair.visible, np.linspace(0, largest, 2000).reshape(40, 50).astype(dtype))
        is_reduced = dtype is not np.uint8 and suffix != ".png"
        notes = run([job], BrighterOfBoth())["pair"].notes
        assert notes == (f"{suffix} files cannot hold the bit depth of the visible image",) * is_reduced

    def test_one_bad_pair_in_a_batch(self, tmp_path: Path) -> None:
        """One pair fails in the processor, one cannot be read, one cannot be written."""
        jobs = [make_job(tmp_path, name) for name in ("first", "float", "text", "blocked", "last")]
        values = np.full((40, 50), 273.15, np.float32)
        Image.fromarray(values).save(tmp_path / "kelvin.tif")
        jobs[1] = FusionJob(ImagePair("float", jobs[1].pair.visible, tmp_path / "kelvin.tif"), jobs[1].fused)
        jobs[2].pair.infrared.write_text("hello")
        jobs[3] = FusionJob(jobs[3].pair, tmp_path / "no_such_folder" / "fused.png")
        results = run(jobs, BrighterOfBoth(), batch_size=5)
        for name, cause in {"float": "273.15", "text": "text_infrared.png", "blocked": "no_such_folder"}.items():
            assert cause in (results[name].error or "")
        for job in (jobs[0], jobs[4]):
            assert results[job.pair.name].error is None
            check(job)
        assert not jobs[1].fused.exists() and not jobs[2].fused.exists()
        assert not list(tmp_path.glob(".*"))

    def test_too_large_batch_is_fused_one_by_one(self, tmp_path: Path) -> None:
        jobs = [make_job(tmp_path, f"pair{number}") for number in range(3)]
        model = BrighterOfBoth(memory=1)
        assert {result.error for result in run(jobs, model, batch_size=3).values()} == {None}
        assert [batch[0] for batch in model.batches] == [3, 1, 1, 1]
        for job in jobs:
            check(job)

    @pytest.mark.parametrize("place", ["read_pair", "predict", "write_with_metadata"])
    def test_memory_runs_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        """For one pair, the others are fused: Python raises without a message, and torch a RuntimeError on a CPU."""
        jobs = [make_job(tmp_path, name) for name in ("first", "huge", "last")]
        module = "gffusion.inference.files" if place == "predict" else "gffusion.inference.file_jobs"
        error = RuntimeError("DefaultCPUAllocator: can't allocate memory") if place == "predict" else MemoryError()
        calls, whole = iter((None, error, None)), getattr(sys.modules[module], place)

        def run_out(*arguments: Any, **options: Any) -> Any:
            if (reason := next(calls)) is not None:
                raise reason
            return whole(*arguments, **options)

        monkeypatch.setattr(f"{module}.{place}", run_out)
        results = run(jobs, BrighterOfBoth())
        assert {name for name, result in results.items() if result.error is None} == {"first", "last"}
        assert (results["huge"].error or "").startswith("not enough memory for this image")

    @pytest.mark.parametrize("batch_size", [1, 2])
    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("input tensor must fit into 32-bit index math"),
            NotImplementedError("not implemented for MPS"),
            RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`"),
        ],
    )
    def test_operations_that_the_device_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, batch_size: int
    ) -> None:
        """Only the pair fails that needs them, in one line."""

        def fail_on_large(model: Any, processor: Any, pairs: Any, *options: Any) -> Any:
            if any(pair.visible.shape[0] == 60 for pair in pairs):
                raise type(error)(f"{error}\nException raised from here")
            return predict(model, processor, pairs, *options)

        monkeypatch.setattr("gffusion.inference.files.predict", fail_on_large)
        jobs = [make_job(tmp_path, name, height) for name, height in (("first", 40), ("large", 60), ("last", 40))]
        results = run(jobs, BrighterOfBoth(), batch_size)
        assert results.pop("large").error == str(error)
        assert [result.error for result in results.values()] == [None, None]

    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_broken_gpu_ends_the_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
        """The pairs before it are written, and those after it are not tried, so that the same command continues."""
        pairs: list[Any] = []

        def break_down(model: Any, processor: Any, batch: Any, *options: Any) -> Any:
            pairs.extend(batch)
            if len(pairs) > 2:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with more")
            return predict(model, processor, batch, *options)

        monkeypatch.setattr("gffusion.inference.files.predict", break_down)
        jobs = [make_job(tmp_path, f"pair{number}") for number in range(6)]
        results = list(fuse_files(jobs, BrighterOfBoth(), GFFusionImageProcessor(), batch_size))
        errors = {result.job.pair.name: result.error for result in results}
        assert sorted(errors) == ["pair0", "pair1", "pair2"] and (errors["pair0"], errors["pair1"]) == (None, None)
        assert (errors["pair2"] or "").startswith(
            "CUDA error: an illegal memory access was encountered: the GPU cannot"
        )
        assert [job.fused.exists() for job in jobs] == [True, True] + [False] * 4

    def test_large_bounds(self, tmp_path: Path) -> None:
        """The bound costs no memory, and holds for the metadata, too."""
        job = dataclasses.replace(make_job(tmp_path, "pair"), keep_metadata=True)
        results = list(fuse_files([job], BrighterOfBoth(), GFFusionImageProcessor(), 1, ReadOptions(max_pixels=10**18)))
        assert results[0].error is None
        job.pair.visible.write_bytes(job.pair.visible.read_bytes() + b"0" * 300)
        images = read_pair(job.pair.visible, job.pair.infrared)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gffusion.inference.file_jobs.read_pair", lambda *_: images)
            patch.setattr("gffusion.data.bounds._HEADER_BYTES", 0)
            assert "has more than 16 bytes" in (read_job(job, ReadOptions(max_pixels=1)).error or "")

    def test_reads_only_a_little_ahead(self, tmp_path: Path) -> None:
        """Memory does not grow with the number of files."""
        job, taken = make_job(tmp_path, "pair"), []

        def many() -> Iterator[FusionJob]:
            for _ in range(200):
                taken.append(job)
                yield job

        results = fuse_files(many(), BrighterOfBoth(), GFFusionImageProcessor(), batch_size=2)
        for _ in range(10):
            assert next(results).error is None
        assert len(taken) < 40
        results.close()
        check(job)
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize("batch_size", [0, -1, 2.5, "2", True])
    def test_batch_size_must_be_positive(self, tmp_path: Path, batch_size: Any) -> None:
        with pytest.raises(ValueError, match=f"`batch_size` must be a whole number of at least 1, got {batch_size!r}"):
            run([make_job(tmp_path, "pair")], BrighterOfBoth(), batch_size)

    @pytest.mark.parametrize("workers", [0, -1, 1.5, "2", True])
    def test_number_of_workers_must_be_positive(self, workers: Any) -> None:
        with pytest.raises(ValueError, match=f"`workers` must be a whole number of at least 1, got {workers!r}"):
            next(fuse_files([], BrighterOfBoth(), GFFusionImageProcessor(), workers=workers))

    def test_nothing_to_do(self) -> None:
        assert run([], BrighterOfBoth()) == {}

    def test_frozen_infrared_images_are_noted(self, tmp_path: Path) -> None:
        """As files that a camera writes during its calibration; not if pairs share a file, or nothing moves at all."""
        jobs = [make_job(tmp_path, name, 40, 50, np.uint16) for name in ("a", "bb", "ccc", "dddd", "eeeee", "f")]
        for name, original in (("bb_infrared", "a_infrared"), ("ccc_infrared", "a_infrared")):
            (tmp_path / f"{name}.png").write_bytes((tmp_path / f"{original}.png").read_bytes())
        jobs[4] = dataclasses.replace(jobs[4], pair=dataclasses.replace(jobs[4].pair, infrared=jobs[3].pair.infrared))
        for kind in ("visible", "infrared"):
            getattr(jobs[5].pair, kind).write_bytes(getattr(jobs[4].pair, kind).read_bytes())
        noted = [name for name, result in run(jobs, BrighterOfBoth()).items() if result.notes]
        assert noted == ["bb", "ccc"]
        for number, job in enumerate(jobs):  # one small target that moves between the pixels that a sample would have
            image = np.zeros((40, 50), np.uint16)
            image[1 + number, 2] = 60000
            Image.fromarray(image).save(job.pair.infrared)
        notes = [note for result in run(jobs[:4], BrighterOfBoth()).values() for note in result.notes]
        assert len(notes) == 4 and all("will look flat" in note for note in notes)


@pytest.fixture
def processes() -> Iterator[Executor]:
    with start_workers(2, processes=True) as executor:
        yield executor


def test_many_workers_keep_order_and_images(
    tmp_path: Path, processes: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(tmp_path, f"pair{'x' * number}", height=40 + number % 2) for number in range(9)]
    jobs[4].pair.infrared.write_text("hello")
    sound, images = jobs[:4] + jobs[5:], []
    for workers, threads in ((1, 1), (4, 3), (processes, 3)):
        monkeypatch.setattr("gffusion.inference.files._count_fusing_threads", lambda model, count=threads: count)
        results = list(fuse_files(jobs, BrighterOfBoth(), GFFusionImageProcessor(), 2, workers=workers))
        assert [result.job.fused for result in results if result.error is None] == [job.fused for job in sound]
        assert [result.job.fused for result in results if result.error] == [jobs[4].fused]
        images.append([job.fused.read_bytes() for job in sound])
    assert images[0] == images[1] == images[2]


@pytest.mark.parametrize(("alone_pixels", "hooked", "most"), [(2**21, False, 2), (2**21, True, 1), (1, False, 1)])
def test_batches_that_are_fused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: None, alone_pixels: int, hooked: bool, most: int
) -> None:
    """Two on CPUs; not large ones, because of the memory, nor with hooks, which users do not expect to run twice."""
    running, seen = [], []

    def watch(*arguments: Any) -> Any:
        running.append(None)
        time.sleep(0.02)
        seen.append(len(running))
        running.pop()
        return predict(*arguments)

    model = create_model("gffusion-live")
    if hooked:
        model.register_forward_hook(lambda *values: None)
    monkeypatch.setattr("gffusion.inference.files.predict", watch)
    monkeypatch.setattr("gffusion.inference.files._ALONE_PIXELS", alone_pixels)
    jobs = [make_job(tmp_path, f"pair{number}") for number in range(8)]
    results = list(fuse_files(jobs, model, load_image_processor("gffusion-live"), workers=4))
    assert [result.error for result in results] == [None] * 8
    assert max(seen) == most


def test_process_that_was_killed(tmp_path: Path, processes: Executor) -> None:
    process = processes.submit(os.getpid).result()
    os.kill(process, signal.SIGKILL)
    jobs = [make_job(tmp_path, f"pair{'x' * number}") for number in range(3)]
    with pytest.raises(OSError, match="a process that reads and writes images was ended"):
        list(fuse_files(jobs, BrighterOfBoth(), GFFusionImageProcessor(), workers=processes))


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Also if it is killed, so that it cannot end them."""
    code = (
        "import os, time\nfrom gffusion.inference.file_jobs import start_workers\nif __name__ == '__main__':\n"
        "    print(start_workers(1, processes=True).submit(os.getpid).result(), flush=True)\n    time.sleep(60)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(600):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the process still runs")
