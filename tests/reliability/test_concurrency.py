"""One model in several threads and processes: the bytes of a single thread, and no hang in forked processes."""

import http.client
import io
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from crash_cases import IS_WHOLE
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch.utils.data import DataLoader, Dataset
from transformers import pipeline

from gffusion import GFFusionModel, create_model, list_models
from gffusion.data import FusionDataset, read_image
from gffusion.inference.predict import predict
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.synthetic.rendering import render_scene
from gffusion.video.stream import FusionStream
from gffusion.zoo import load_image_processor

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
SIZES = [(48, 64), (64, 64), (40, 72), (48, 64), (96, 120)]
BUNDLED = list_models(status="bundled")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    scenes = [render_scene(seed, *size) for seed, size in enumerate(SIZES)]
    return [(scene.visible, scene.infrared) for scene in scenes]


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def torch_threads(request: pytest.FixtureRequest) -> int:
    """Let torch divide operations among as many threads, which `keep_threads` undoes."""
    torch.set_num_threads(request.param)
    return request.param


@pytest.fixture(params=["hybrid", "parallel", *(BUNDLED if IS_WHOLE else BUNDLED[:1])])
def make_model(request: pytest.FixtureRequest, tiny_model: Callable[..., GFFusionModel]) -> Callable[[], GFFusionModel]:
    """Make models with the same weights that have never been run: their hooks and forms for CPUs are not there yet."""
    name = request.param
    return (lambda: create_model(name)) if name in BUNDLED else lambda: tiny_model(paradigm=name).eval()


def run(model: GFFusionModel, pair: Pair, segment: bool) -> list[NDArray[np.uint8]]:
    """Return the fused image, and the labels if they are asked for."""
    found = predict(model, GFFusionImageProcessor(), [pair], segment)[0]
    return [found.fused] if found.labels is None else [found.fused, found.labels]


def are_equal(first: list[NDArray[Any]], second: list[NDArray[Any]]) -> bool:
    return len(first) == len(second) and all(map(np.array_equal, first, second))


def call_in_threads(function: Callable[[int], Any], count: int) -> list[Any]:
    """Return the results of a function of the numbers below `count`, called by six threads that start together."""
    together = threading.Barrier(6, timeout=300)
    with ThreadPoolExecutor(6, initializer=together.wait) as executor:
        return list(executor.map(function, range(count)))


def test_predict(make_model: Callable[[], GFFusionModel], torch_threads: int, pairs: list[Pair]) -> None:
    """From the first call on, in which hooks of encoders are set and the forms for CPUs are built."""
    fresh, serial = make_model(), make_model()

    def job(model: GFFusionModel, index: int) -> list[NDArray[np.uint8]]:
        return run(model, pairs[index % len(pairs)], model.config.use_segmenter and index % 2 == 0)

    found = call_in_threads(lambda index: job(fresh, index), 30)
    wrong = [index for index, images in enumerate(found) if not are_equal(images, job(serial, index))]
    assert not wrong
    assert torch.get_num_threads() == torch_threads


def test_pipeline_with_options_of_each_call(tiny_model: Callable[..., GFFusionModel], pairs: list[Pair]) -> None:
    """Options belong to a call: other threads do not see them."""
    fuse = pipeline("image-fusion", model=tiny_model().eval(), image_processor=GFFusionImageProcessor())
    options: list[dict[str, Any]] = [
        {},
        {"segment": True},
        {"invert": True},
        {"infrared_range": (20, 200)},
        {"infrared_range": "percentile", "agc": "plateau"},
        {"batch_size": 2},
    ]

    def call(index: int) -> list[NDArray[Any]]:
        chosen = options[index % len(options)]
        results = fuse([pairs[index % len(pairs)]] * 2, **chosen)
        images = [list(result.values()) if isinstance(result, dict) else [result] for result in results]
        return [np.asarray(image) for part in images for image in part]

    expected = [call(index) for index in range(30)]
    assert len({part[0].tobytes() for part in expected}) > len(pairs)  # options change the images
    assert all(map(are_equal, call_in_threads(call, 30), expected))


def test_streams_share_a_model(tiny_model: Callable[..., GFFusionModel], pairs: list[Pair]) -> None:
    model, processor = tiny_model().eval(), GFFusionImageProcessor()

    def stream(index: int) -> list[NDArray[Any]]:
        with FusionStream(model, processor, segment=index % 2 == 0, semantic_every=1 + index % 3) as opened:
            opened.push(*pairs[index % len(pairs)])
        result = opened.latest()
        assert result is not None
        return [result.fused] if result.labels is None else [result.fused, result.labels]

    expected = [stream(index) for index in range(12)]
    assert all(map(are_equal, call_in_threads(stream, 12), expected))


def test_web_server(tiny_model: Callable[..., GFFusionModel], pairs: list[Pair]) -> None:
    """A server answers every request in a thread of its own."""
    model = tiny_model().eval()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrays = np.load(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"]))))
            images, answer = run(model, (arrays["visible"], arrays["infrared"]), True), io.BytesIO()
            np.savez(answer, *images)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer.getvalue())))
            self.end_headers()
            self.wfile.write(answer.getvalue())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(index: int) -> list[NDArray[Any]]:
        visible, infrared = pairs[index % len(pairs)]
        body = io.BytesIO()
        np.savez(body, visible=visible, infrared=infrared)
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=300)
        connection.request("POST", "/", body.getvalue())
        return list(np.load(io.BytesIO(connection.getresponse().read())).values())

    try:
        answers = call_in_threads(ask, 24)
    finally:
        server.shutdown()
    assert all(are_equal(answer, run(model, pairs[i % len(pairs)], True)) for i, answer in enumerate(answers))


fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def in_fork(function: Callable[[], bool]) -> bool:
    """Return the result of a function in a forked process, which must end within five minutes."""
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if function() else 1))
    process.start()
    process.join(300)
    process.kill()
    process.join()
    return process.exitcode == 0


@fork
@pytest.mark.parametrize("choices", [{}, {"paradigm": "parallel"}], ids=["hybrid", "parallel"])
def test_fork_after_the_model_ran(
    tiny_model: Callable[..., GFFusionModel], pairs: list[Pair], two_threads: None, choices: dict[str, Any]
) -> None:
    """The threads of OpenMP and of our pool do not exist in the child."""
    model, product = tiny_model(**choices).eval(), torch.ones(1000, 1000)
    expected = run(model, pairs[-1], True)
    assert (product @ product)[0, 0] == 1000
    assert in_fork(lambda: are_equal(run(model, pairs[-1], True), expected) and (product @ product)[0, 0] == 1000)
    assert torch.get_num_threads() == 2


@fork
@pytest.mark.parametrize("truncated", ["refuse", "fill"])
def test_fork_while_another_thread_decodes(
    tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, truncated: Literal["refuse", "fill"]
) -> None:
    """Decoders share settings of Pillow, which a thread that does not exist in the child would never give back."""
    for name in ("whole.png", "whole.bmp", "short.jpg"):
        Image.fromarray(pairs[0][0]).save(tmp_path / name)
    content = (tmp_path / "short.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(content[: len(content) * 2 // 3])
    entered, leave = threading.Event(), threading.Event()

    load = ImageFile.ImageFile.load

    def wait_in_thread(image: ImageFile.ImageFile) -> Any:
        if threading.current_thread() is thread and not entered.is_set():
            entered.set()
            leave.wait(300)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", wait_in_thread)
    name = "short.jpg" if truncated == "fill" else "whole.bmp"
    thread = threading.Thread(target=read_image, args=(tmp_path / name,), kwargs={"truncated": truncated})
    thread.start()
    assert entered.wait(300)

    def read() -> bool:
        whole, filled = read_image(tmp_path / "whole.png"), read_image(tmp_path / "short.jpg", truncated="fill")
        return whole.shape == filled.shape

    try:
        assert in_fork(read)
    finally:
        leave.set()
        thread.join()


class Prepared(Dataset[dict[str, Any]]):
    """Pairs as the image processor prepares them, in the workers."""

    def __init__(self, dataset: FusionDataset, processor: GFFusionImageProcessor) -> None:
        self._dataset, self._processor = dataset, processor

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self._dataset.pairs[index]
        images = read_image(pair.visible), read_image(pair.infrared)
        prepared = self._processor([images], return_tensors="pt")
        return {**self._dataset[index], "prepared": prepared["visible_values"][0]}


@pytest.mark.processes
@pytest.mark.parametrize("method", [pytest.param("fork", marks=fork), pytest.param("spawn", marks=pytest.mark.slow)])
def test_data_loaders(
    tiny_model: Callable[..., GFFusionModel], scenes: Path, pairs: list[Pair], two_threads: None, method: str
) -> None:
    """Workers of both kinds return what the process itself reads, also after it ran a model.

    A spawned one serves both rounds: it inherits nothing, so that another one would do the same.
    """
    run(tiny_model().eval(), pairs[0], True)
    dataset = Prepared(FusionDataset(scenes), load_image_processor("gffusion-funet"))
    count = {"fork": 2, "spawn": 1}[method]
    options: dict[str, Any] = {"multiprocessing_context": method, "persistent_workers": method == "spawn"}
    loader = DataLoader(dataset, batch_size=None, num_workers=count, timeout=240, **options)
    for _ in range(2):
        for index, item in enumerate(loader):
            expected = dataset[index]
            assert item.keys() == expected.keys()
            assert all(
                torch.equal(item[name], value) if isinstance(value, torch.Tensor) else item[name] == value
                for name, value in expected.items()
            )
