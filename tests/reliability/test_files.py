"""Pipes, devices and endless inputs, outputs that are no regular files, and names that are no names."""

import os
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hostile_images import make_scene

from gffusion.data import match_pairs, read_coco, read_image, read_labels, read_size, write_image
from gffusion.data.boxes.base import read_text
from gffusion.data.urls import read_url
from gffusion.utils.atomic import replace_file


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Return the files of a pair."""
    rng = np.random.default_rng(0)
    write_image(tmp_path / "visible.png", make_scene(rng))
    write_image(tmp_path / "infrared.png", make_scene(rng, 1))
    return tmp_path / "visible.png", tmp_path / "infrared.png"


@pytest.fixture(params=["pipe", "socket", "device", "link to a device"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a path that is no regular file."""
    path = tmp_path / "special.png"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif request.param == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    return path


class TestSpecialFiles:
    def test_as_input(self, special: Path) -> None:
        for read in (read_image, read_labels, read_size, read_text, read_coco):
            with pytest.raises(OSError, match=r"(pipe|socket|device), not a regular file"):
                read(special)

    def test_in_the_command(self, gffusion: Callable, special: Path, pair: tuple[Path, Path]) -> None:
        for files in ((special, pair[1]), (pair[0], special), (special,)):
            done = gffusion("fuse", *files, "-o", "out.png", "-m", "gffusion-funet")
            assert done.exit_code == 2 and "not a regular file" in done.err and done.err.count("\n") == 1

    def test_as_output(self, gffusion: Callable, special: Path, pair: tuple[Path, Path]) -> None:
        """It is replaced only if that is asked for."""
        mode = special.lstat().st_mode
        with pytest.raises(OSError, match="not a regular file"):
            replace_file(special, b"")
        if special.suffix:
            command = ("fuse", *pair, "-o", special, "-m", "gffusion-funet")
            done = gffusion(*command)
            assert done.exit_code == 2 and "not a regular file" in done.err
            assert special.lstat().st_mode == mode
            assert gffusion(*command, "--overwrite").exit_code == 0
            assert read_image(special).shape == (48, 64, 3) and not special.is_symlink()
            assert Path("/dev/zero").is_char_device()

    def test_links(self, tmp_path: Path) -> None:
        """A link to a file is replaced by a file; the target is unchanged. A dangling one is refused."""
        (tmp_path / "target").write_bytes(b"target")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        replace_file(tmp_path / "link", b"new")
        assert (tmp_path / "target").read_bytes() == b"target" and (tmp_path / "link").read_bytes() == b"new"
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
        with pytest.raises(OSError, match="symbolic link"):
            replace_file(tmp_path / "dangling", b"new")


def test_files_larger_than_any_image(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(3 << 30)  # sparse
    started = time.process_time()
    with pytest.raises(OSError, match="bytes"):
        read_image(tmp_path / "huge.png")
    assert time.process_time() - started < 1


class TestNames:
    @pytest.mark.parametrize("name", ["..png", ".png", "...JPG"])
    def test_without_a_name(self, gffusion: Callable, pair: tuple[Path, Path], tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(pair[0].read_bytes())
        for words in ((tmp_path / name, pair[1], "-o", tmp_path / "out"), (*pair, "-o", tmp_path / "new" / name)):
            done = gffusion("fuse", *words, "-m", "gffusion-funet")
            assert done.exit_code == 2 and "has no name before its suffix" in done.err

    @pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
    def test_both_unicode_forms(
        self, gffusion: Callable, pair: tuple[Path, Path], tmp_path: Path, forms: tuple[str, str]
    ) -> None:
        """macOS stores decomposed names. The output has the name of the visible file."""
        names = [f"{unicodedata.normalize(form, 'Wärmebild é 각')}.png" for form in forms]
        for folder, name, source in zip(("visible", "infrared"), names, pair, strict=True):
            (tmp_path / folder).mkdir()
            source.rename(tmp_path / folder / name)
        folders = tmp_path / "visible", tmp_path / "infrared"
        assert len(match_pairs(*folders).pairs) == 1
        done = gffusion("fuse", *folders, "-o", tmp_path / "out", "-m", "gffusion-funet")
        assert done.exit_code == 0, done.err
        assert [file.name for file in (tmp_path / "out").iterdir()] == [names[0]]


class _Server(BaseHTTPRequestHandler):
    """Answer with too many bytes, too few, too slowly, or redirect to another kind of address."""

    def do_GET(self) -> None:
        kind = self.path.strip("/")
        self.send_response(302 if kind.startswith("to") else 200)
        if kind.startswith("to"):
            self.send_header(
                "Location",
                {"to-file": "file:///etc/passwd", "to-ftp": "ftp://127.0.0.1/x", "to-self": "/to-self"}[kind],
            )
        if kind in ("declared", "short"):
            self.send_header("Content-Length", {"declared": str(10**12), "short": "1000"}[kind])
        self.end_headers()
        try:
            for _ in range({"endless": 10**9, "slow": 10**9}.get(kind, 1)):
                self.wfile.write(b"x" * (1 if kind == "slow" else 1 << 16 if kind == "endless" else 10))
                self.wfile.flush()
                if kind == "slow":
                    time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


class TestAddresses:
    @pytest.fixture
    def address(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("endless", "more than 1,000,000 bytes"),
            ("declared", "more than 1,000,000 bytes"),
            ("short", "10 of 1000 bytes"),
            ("slow", "longer than 3 s"),
            ("to-file", "Redirection .* is not allowed"),
            ("to-ftp", "unknown url type"),
            ("to-self", "redirect"),
        ],
    )
    def test_limits(self, address: str, kind: str, message: str) -> None:
        with pytest.raises(OSError, match=f"Cannot read the image at {address}/{kind}: .*{message}"):
            read_url(f"{address}/{kind}", timeout=0.5 if kind == "slow" else 20, max_bytes=1_000_000)

    def test_whole(self, address: str) -> None:
        assert read_url(f"{address}/whole") == b"x" * 10
