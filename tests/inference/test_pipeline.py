"""The "image-fusion" pipeline of transformers: inputs, batches, options, and files that cannot be read."""

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from camera_files import encode, flir_jpeg, render_pair, to_counts
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import CLIPImageProcessor, pipeline

from gffusion import GFFusionImageProcessor, GFFusionModel, ImageFusionPipeline
from gffusion.data import read_pair, write_image

Pair = tuple[NDArray[Any], NDArray[Any]]
Direct = Callable[..., NDArray[Any]]


def make_pair(height: int = 40, width: int = 48, seed: int = 0) -> Pair:
    """Return a smooth color image and a smooth gray image."""
    rows, columns = np.mgrid[:height, :width] / 8
    waves = [0.5 + 0.5 * np.sin(seed + channel + rows + channel * columns) for channel in range(4)]
    images = np.rint(255 * np.stack(waves, axis=-1)).astype(np.uint8)
    return images[..., :3].copy(), images[..., 3].copy()


@pytest.fixture(scope="module")
def direct(checkpoint: Path) -> Direct:
    """Fuse one pair of arrays without the pipeline."""
    model, processor = GFFusionModel.from_pretrained(checkpoint), GFFusionImageProcessor()

    def run(pair: Pair, **options: Any) -> NDArray[Any]:
        with torch.no_grad():
            outputs = model(**processor(pair, return_tensors="pt", **options))
        (fused,) = processor.post_process_fusion(outputs, pair, "np")
        return fused

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with `make_pair()` as files, and a text file named like an image."""
    folder = tmp_path_factory.mktemp("files")
    for name, image in zip(("visible", "infrared"), make_pair(), strict=True):
        PIL.Image.fromarray(image).save(folder / f"{name}.png")
    (folder / "text.png").write_text("no image")
    return folder


def test_integers_beyond_16_bits_need_a_range(fuse: ImageFusionPipeline) -> None:
    visible, infrared = make_pair()
    counts = infrared.astype(np.int32) * 1000
    expected = fuse((visible, infrared), infrared_range=(20, 240))
    assert np.array_equal(fuse(visible, counts - 50000, infrared_range=(-30000, 190000)), expected)
    with pytest.raises(ValueError, match=r"values in \[0, 1\].*, got -50000 to .*infrared_range="):
        fuse(visible, counts - 50000)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64", "<i4", ">i4", ">u2", "int16"])
def test_integers_of_16_bits_in_any_type(fuse: ImageFusionPipeline, dtype: str) -> None:
    """Arithmetic on ROS's mono16 gives int32 or int64."""
    visible, infrared = make_pair()
    counts = infrared.astype(np.uint16) * 100 + 7000
    counts = counts // 2 if dtype == "int16" else counts
    expected = fuse((visible, counts), infrared_range=(7000, 32000))
    for wide in (counts.astype(dtype), torch.from_numpy(counts.astype(np.int32))):
        assert np.array_equal(fuse((visible, wide), infrared_range=(7000, 32000)), expected)
    color = visible.astype(np.uint16) * 257
    assert np.array_equal(fuse(color.astype(dtype if dtype != "int16" else "i4"), counts), fuse(color, counts))


def test_two_arguments(fuse: ImageFusionPipeline, files: Path) -> None:
    pair = str(files / "visible.png"), str(files / "infrared.png")
    expected = np.asarray(fuse(pair))
    assert np.array_equal(fuse(*pair), expected)
    assert np.array_equal(fuse(pair[0], infrared=Path(pair[1])), expected)
    assert np.array_equal(fuse(*map(PIL.Image.open, pair)), expected)
    assert np.array_equal(fuse(*make_pair(), batch_size=2), expected)
    with pytest.raises(ValueError, match=r"Expected a visible and an infrared path.*got only '.*visible\.png'"):
        fuse(pair[0])
    with pytest.raises(ValueError, match=r"With two arguments.*list and list"):
        fuse([pair[0]], [pair[1]])


@pytest.fixture
def server(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the files in a thread; return the address."""

    class QuietHandler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(files))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@contextlib.contextmanager
def batch_sizes(fuse: ImageFusionPipeline) -> Iterator[list[int]]:
    """Record the number of pairs in each batch of the model."""
    sizes: list[int] = []
    project = fuse.model.project_semantics
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fuse.model, "project_semantics", lambda *inputs: (sizes.append(len(inputs[0])), project(*inputs))[1]
        )
        yield sizes


def assert_same(images: list[PIL.Image.Image], expected: list[NDArray[Any]]) -> None:
    """Allow one gray level, because the order of summation may differ."""
    assert len(images) == len(expected)
    for image, array in zip(images, expected, strict=True):
        np.testing.assert_allclose(np.asarray(image).astype(float), array, atol=1)


class TestSources:
    FORMS: dict[str, Callable[[Pair, Path], Any]] = {
        "paths": lambda pair, folder: (folder / "visible.png", folder / "infrared.png"),
        "strings": lambda pair, folder: [str(folder / "visible.png"), str(folder / "infrared.png")],
        "pil": lambda pair, folder: tuple(map(PIL.Image.fromarray, pair)),
        "arrays": lambda pair, folder: pair,
        "tensors": lambda pair, folder: list(map(torch.from_numpy, pair)),
        "dict": lambda pair, folder: dict(zip(("visible", "infrared"), pair, strict=True)),
        "dict_of_paths": lambda pair, folder: {name: folder / f"{name}.png" for name in ("infrared", "visible")},
        "path_and_array": lambda pair, folder: (folder / "visible.png", pair[1]),
        "bytes": lambda pair, folder: [(folder / f"{name}.png").read_bytes() for name in ("visible", "infrared")],
        "files": lambda pair, folder: tuple((folder / f"{name}.png").open("rb") for name in ("visible", "infrared")),
        "dict_of_bytes": lambda pair, folder: {
            name: (folder / f"{name}.png").read_bytes() for name in ("visible", "infrared")
        },
        "array_and_bytes": lambda pair, folder: (pair[0], (folder / "infrared.png").read_bytes()),
    }

    @pytest.mark.parametrize("form", FORMS)
    def test_one_pair(self, fuse: ImageFusionPipeline, direct: Direct, files: Path, form: str) -> None:
        image = fuse(self.FORMS[form](make_pair(), files))
        assert isinstance(image, PIL.Image.Image) and image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), direct(make_pair()))

    def test_files_that_hold_both(self, fuse: ImageFusionPipeline, tmp_path: Path) -> None:
        visible, infrared = render_pair()
        counts = to_counts(infrared)
        (tmp_path / "rgbt.png").write_bytes(encode(np.dstack([visible, (250 * infrared).astype(np.uint8)]), "PNG"))
        (tmp_path / "flir.jpg").write_bytes(flir_jpeg(counts, encode(visible, "PNG"), (96, 128), (1.0, 0, 0)))
        expected = fuse((visible, (250 * infrared).astype(np.uint8)))
        np.testing.assert_array_equal(fuse(tmp_path / "rgbt.png"), expected)
        expected = fuse((visible, counts), infrared_range="percentile")
        for alone in (tmp_path / "flir.jpg", (visible, tmp_path / "flir.jpg")):
            np.testing.assert_array_equal(fuse(alone), expected)

    def test_contents_of_files(self, fuse: ImageFusionPipeline, tmp_path: Path) -> None:
        """Radiometric files, counts of 16 bits and EXIF orientation, as bytes and file objects."""
        visible, infrared = render_pair()
        counts, exif = to_counts(infrared), PIL.Image.Exif()
        exif[0x0112] = 6
        turned = encode(np.rot90(visible).copy(), "JPEG", exif=exif), encode(counts, "PNG")
        radiometric = flir_jpeg(counts, encode(visible, "PNG"), (96, 128), (1.0, 0, 0))
        pairs = [turned, (turned[0], radiometric), (radiometric, radiometric)]
        paths = [tuple(tmp_path / f"{number}_{kind}" for kind in "vi") for number in range(3)]
        for pair, contents in zip(paths, pairs, strict=True):
            [path.write_bytes(content) for path, content in zip(pair, contents, strict=True)]
        expected = [np.asarray(image) for image in fuse(paths, infrared_range="percentile")]
        for read in (bytes, io.BytesIO):
            given = [tuple(map(read, contents)) for contents in pairs]
            assert_same(fuse(given, infrared_range="percentile"), expected)
            assert_same([fuse(*pair, infrared_range="percentile") for pair in given], expected)
            np.testing.assert_array_equal(fuse(read(radiometric)), fuse(paths[2][0]))
            folder = fuse(given[:2], infrared_range="folder")  # reads each more than once
            assert_same(folder, [np.asarray(image) for image in fuse(paths[:2], infrared_range="folder")])

    def test_urls(self, fuse: ImageFusionPipeline, direct: Direct, server: str) -> None:
        image = fuse((f"{server}/visible.png", f"{server}/infrared.png"))
        np.testing.assert_array_equal(np.asarray(image), direct(make_pair()))

    def test_gray_visible_with_16_bits(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        visible, infrared = make_pair()
        pair = visible[..., 0] * np.uint16(257), infrared
        image = fuse(pair)
        assert image.mode == "I;16"
        np.testing.assert_allclose(np.asarray(image).astype(int), direct(pair).astype(int), atol=1)

    @pytest.mark.parametrize("as_file", [True, False])
    def test_visible_range(self, fuse: ImageFusionPipeline, tmp_path: Path, as_file: bool) -> None:
        """Images of 12 bits are fused as the same ones in 16 bits."""
        visible, infrared = make_pair()
        few: Any = visible.astype(np.uint16) * np.uint16(16)
        expected = fuse((visible.astype(np.uint16) * np.uint16(257), infrared))
        if as_file:
            write_image(few_file := tmp_path / "few.png", few)
            PIL.Image.fromarray(infrared).save(tmp_path / "infrared.png")
            few, infrared = str(few_file), str(tmp_path / "infrared.png")  # type: ignore[assignment]
        found = fuse((few, infrared), visible_range=(0, 4080))
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
        with pytest.raises(ValueError, match="has 8 bits: leave it out"):
            fuse(make_pair(), visible_range=(0, 4080))


class TestSeveralPairs:
    def test_list(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        pairs = [make_pair(seed=seed) for seed in range(3)]
        for inputs in (pairs, tuple(pairs)):
            images = fuse(inputs)
            assert isinstance(images, list)
            assert_same(images, [direct(pair) for pair in pairs])
        assert len(fuse(pairs[:1])) == 1
        assert fuse([]) == []
        assert len(fuse(pairs[:2])) == len(fuse([list(pair) for pair in pairs[:2]])) == 2  # not one pair

    def test_mixed_sizes(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        sizes = [(40, 48), (40, 48), (48, 40), *[(20, 27)] * 5, (40, 48)]
        pairs = [make_pair(*size, seed=seed) for seed, size in enumerate(sizes)]
        expected = [direct(pair) for pair in pairs]
        with batch_sizes(fuse) as seen:
            assert_same(fuse(pairs, batch_size=4), expected)
        assert seen == [2, 1, 4, 1, 1]
        with batch_sizes(fuse) as seen:
            assert_same(fuse(pairs), expected)
        assert seen == [1] * len(pairs)

    def test_equal_numbers_for_different_sizes(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        """Sizes are those of the upright images: Pillow gives (width, height), NumPy (height, width)."""
        wide, tall = make_pair(40, 48), make_pair(48, 40)
        turned = [PIL.Image.fromarray(np.rot90(image).copy()) for image in wide]
        for image in turned:
            image.getexif()[0x0112] = 6  # turn right to show
        gray = [image[..., 0] if image.ndim == 3 else image for image in wide]
        upright = [PIL.Image.fromarray(image) for image in tall]
        images = fuse([tuple(turned), tuple(upright), tuple(gray)], batch_size=3)
        assert_same(images, [direct(wide), direct(tall), direct((gray[0], gray[1]))])

    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_generators_are_read_as_needed(self, fuse: ImageFusionPipeline, direct: Direct, batch_size: int) -> None:
        read = []

        def endless() -> Iterator[Pair]:
            while True:
                read.append(len(read))
                yield make_pair(seed=read[-1])

        stream = fuse(endless(), batch_size=batch_size)
        assert_same([next(stream)], [direct(make_pair(seed=0))])
        assert len(read) == batch_size  # no image waits for the next batch
        assert_same(list(islice(stream, 3)), [direct(make_pair(seed=seed)) for seed in (1, 2, 3)])

    def test_random_state_and_environment_are_kept(
        self, fuse: ImageFusionPipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A preview during a seeded training does not change the training."""
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
        environment, state = dict(os.environ), torch.get_rng_state()
        fuse(*make_pair())
        fuse([make_pair(), make_pair(seed=1)], batch_size=2)
        assert torch.equal(torch.get_rng_state(), state)
        assert dict(os.environ) == environment

    def test_datasets(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        class Pairs(Dataset[Pair]):
            def __len__(self) -> int:
                return 3

            def __getitem__(self, index: int) -> Pair:
                return make_pair(seed=index)  # does not end at its length

        images = list(islice(fuse(Pairs()), 5))
        assert_same(images, [direct(make_pair(seed=seed)) for seed in range(3)])


class TestOptions:
    def test_segment(self, fuse: ImageFusionPipeline, checkpoint: Path) -> None:
        pairs = [make_pair(seed=0), make_pair(20, 27, seed=1), make_pair(20, 27, seed=2)]
        results = fuse(pairs, segment=True, batch_size=2)
        assert_same([result["fused"] for result in results], [np.asarray(image) for image in fuse(pairs)])
        model, processor = GFFusionModel.from_pretrained(checkpoint), GFFusionImageProcessor()
        for result, pair in zip(results, pairs, strict=True):
            with torch.no_grad():
                logits = model(**processor(pair, return_tensors="pt"), segment=True).logits[0]
            labels = np.asarray(result["labels"])
            assert (labels.dtype, labels.shape) == (np.uint8, pair[1].shape)
            expected = logits.argmax(dim=0).numpy()[: labels.shape[0], : labels.shape[1]]
            assert (labels == expected).mean() > 0.99  # rounding decides between equally likely classes
        assert set(fuse(pairs[0], segment=True)) == {"fused", "labels"}

    def test_infrared_range(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        visible, infrared = make_pair()
        thermal = visible, infrared.astype(np.uint16) * 10 + 29000
        expected = direct(thermal, infrared_range=[29000, 31550])
        assert_same([fuse(thermal, infrared_range=[29000, 31550])], [expected])
        assert np.abs(expected.astype(int) - direct(thermal)).max() > 2
        assert_same([fuse(thermal, infrared_range="percentile")], [direct(thermal, infrared_range="percentile")])

    def test_given_once_for_all_calls(self, checkpoint: Path, direct: Direct) -> None:
        options = {"infrared_range": "percentile", "batch_size": 2, "timeout": 5, "device": "cpu"}
        fuse = pipeline("image-fusion", model=str(checkpoint), segment=True, **options)
        pairs = [make_pair(seed=seed) for seed in range(3)]
        with batch_sizes(fuse) as seen:
            results = fuse(pairs)
        assert seen == [2, 1]
        assert_same([result["fused"] for result in results], [direct(p, infrared_range="percentile") for p in pairs])
        assert isinstance(fuse(pairs[0], segment=False), PIL.Image.Image)

    def test_model_and_processor_as_objects(self, checkpoint: Path, direct: Direct) -> None:
        model = GFFusionModel.from_pretrained(checkpoint)
        fuse = pipeline("image-fusion", model=model, image_processor=GFFusionImageProcessor(size_divisor=16))
        assert_same([fuse(make_pair())], [direct(make_pair(), size_divisor=16)])
        with pytest.raises(ValueError, match="must be a GFFusionImageProcessor, got CLIPImageProcessor"):
            pipeline("image-fusion", model=model, image_processor=CLIPImageProcessor())


class TestRangesOfSeveralImages:
    pairs = [
        (visible, 7000 + scale * infrared.astype(np.uint16))
        for scale, (visible, infrared) in enumerate(map(make_pair, [40] * 3, [48] * 3, range(3)), start=4)
    ]

    def test_folder(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        limits = np.percentile([infrared for _, infrared in self.pairs], [0.1, 99.9]).tolist()
        expected = [direct(pair, infrared_range=limits) for pair in self.pairs]
        assert_same(fuse(self.pairs, infrared_range="folder", batch_size=2), expected)
        with pytest.raises(ValueError, match=r"a generator can be read only once: pass a list"):
            fuse(iter(self.pairs), infrared_range="folder")

    def test_smooth_range(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        limits, expected = np.percentile(self.pairs[0][1], [0.1, 99.9]), []
        for pair in self.pairs:
            limits = limits + (np.percentile(pair[1], [0.1, 99.9]) - limits) / 5
            expected.append(direct(pair, infrared_range=limits.tolist()))
        options = {"infrared_range": "percentile", "smooth_range": 5, "batch_size": 2}
        assert_same(fuse(self.pairs, **options), expected)
        assert_same(list(fuse(iter(self.pairs), **options)), expected)

    def test_inverted_with_gain_control(self, fuse: ImageFusionPipeline, direct: Direct) -> None:
        options = {"infrared_range": "percentile", "invert": True, "agc": "plateau", "plateau_limit": 0.5}
        assert_same([fuse(self.pairs[0], **options)], [direct(self.pairs[0], **options)])

    def test_outside_the_range(self, fuse: ImageFusionPipeline) -> None:
        with pytest.raises(ValueError, match=r"100% of the infrared image is outside the range 0 to 255"):
            fuse(self.pairs[0], infrared_range=[0, 255])


class TestErrors:
    def test_files(self, fuse: ImageFusionPipeline, files: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"nowhere.png"):
            fuse((files / "nowhere.png", files / "infrared.png"))
        with pytest.raises(OSError, match=r"text.png: it is not a PNG"):
            fuse((files / "visible.png", files / "text.png"))

    def test_urls(self, fuse: ImageFusionPipeline, server: str) -> None:
        for name, cause in [("nowhere.png", "404"), ("text.png", "not a PNG, JPEG"), ("with space.png", "")]:
            with pytest.raises(OSError, match=f"annot read the image (at )?{server}/{name}: .*{cause}"):
                fuse((f"{server}/visible.png", f"{server}/{name}"))

    def test_urls_that_do_not_answer(self, fuse: ImageFusionPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}/visible.png"
            start = time.monotonic()
            with pytest.raises(OSError, match=f"Cannot read the image at {address}: .*timed out"):
                fuse((address, address), timeout=0.2)
            assert time.monotonic() - start < 15  # the default is 20


def test_noise_behind_a_shutter_is_noted(fuse: ImageFusionPipeline, caplog: pytest.LogCaptureFixture) -> None:
    """Only among pairs that can be counted, of which three show what is usual."""
    visible, infrared = make_pair()
    scene, noise = 7000 + np.uint16(30) * infrared, 9000 + infrared % np.uint16(4)
    pairs = [(visible, values) for values in (noise, scene, scene // 10 + 9000, scene, noise)]
    small = [(visible[:36], noise[:36])]  # of another size, of which no range is usual
    for given, expected in ((pairs + small, "pair 1, pair 5 of 6"), (pairs[:2], ""), (iter(pairs), "")):
        caplog.clear()
        fused = list(fuse(given, infrared_range="percentile", batch_size=2))
        notes = [message for message in caplog.messages if "below 3 % of the usual one" in message]
        assert len(fused) > 1 and [note.partition(":")[0] for note in notes] == [expected] * bool(expected)


def test_notes_are_those_of_read_pair(
    new_pipeline: ImageFusionPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A frame that both images have is no border of a registration."""
    visible, infrared = make_pair(60, 80)
    files = tmp_path / "visible.png", tmp_path / "infrared.png"
    for file, image in zip(files, (visible, infrared), strict=True):
        framed = image.copy()
        framed[[*range(9), *range(-9, 0)]] = 255
        write_image(file, framed)
    notes = read_pair(*files).notes
    new_pipeline(*files)
    assert len(notes) == 1 and notes[0].startswith("both images have the same bars")
    (message,) = caplog.messages
    assert message.partition(": ")[2].startswith(notes[0])


def test_each_kind_of_note_is_logged_once_for_all_calls(
    new_pipeline: ImageFusionPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also with other numbers and of other files, so that a service does not log for every upload."""
    visible, infrared = make_pair()
    for value in (0, 90, 200):
        file = tmp_path / f"{value}.png"
        write_image(file, np.full_like(infrared, value))
        new_pipeline(visible, file)
        new_pipeline(visible, file.read_bytes())
    (message,) = caplog.messages
    assert f"{tmp_path / '0.png'}: all infrared values are 0, as behind a closed shutter" in message
