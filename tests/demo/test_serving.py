"""The served demo by HTTP: what it answers, what it refuses, and how it starts."""

import asyncio
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import start
from outcomes import Outcome

from gffusion.data import read_image
from gffusion.demo import videos
from gffusion.demo.settings import DemoSettings
from gffusion.demo.turns import Turns

gradio_client = pytest.importorskip("gradio_client", reason='the demo needs Gradio: pip install "gffusion[demo]"')
pytest.importorskip("gradio")

OPTIONS = ("gffusion-funet", False, False, "as saved with the model", False, "as the visible image")
SPACE = Path(__file__).parents[2] / "spaces" / "gffusion"


@pytest.fixture
def fuse(address: str, tmp_path: Path) -> Callable[..., Any]:
    """Upload two files and fuse them, as programs do."""
    client = gradio_client.Client(address, download_files=tmp_path / "downloads", verbose=False)

    def run(visible: str | None, infrared: str | None, *options: Any, api_name: str = "/fuse") -> Any:
        files = [None if path is None else gradio_client.handle_file(path) for path in (visible, infrared)]
        return client.predict(*files, *(options or OPTIONS), api_name=api_name)

    return run


def test_fused_file_is_that_of_the_command(
    fuse: Callable[..., Any], night: dict[str, str], gffusion: Callable[..., Outcome], tmp_path: Path
) -> None:
    slider, *buttons, _, metrics = fuse(*night.values())
    fused = buttons[0]["value"]
    assert gffusion("fuse", *night.values(), "-o", tmp_path / "fused.png", "--model", "gffusion-funet").exit_code == 0
    np.testing.assert_array_equal(read_image(fused), read_image(tmp_path / "fused.png"))
    assert Path(fused).name == "night_visible_fused.png" and not buttons[1]["visible"]
    assert slider.count("<img") == 3 and all(
        name in metrics for name in ("EN ↑", "SCD ↑", "VIF ↑", "Qabf ↑", "SSIM ↑", "Nabf ↓")
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"visible": None}, "choose a visible image and an infrared one"),
        ({"infrared": None}, "night_visible.png holds one image, not a visible and an infrared one"),
        ({"visible": "damaged"}, "cannot read the image damaged.png"),
        ({"infrared": "visible"}, "are the same file, night_visible.png"),
        ({"visible": "notes.txt"}, "notes.txt is refused: its suffix must be one of .png"),
        ({"visible": "https://huggingface.co/front/assets/huggingface_logo.png"}, "addresses are not opened"),
    ],
)
def test_bad_uploads_are_refused_in_one_line(
    fuse: Callable[..., Any],
    night: dict[str, str],
    tmp_path: Path,
    changed: dict[str, str | None],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "damaged.png").write_bytes(Path(night["visible"]).read_bytes()[:500])
    (tmp_path / "notes.txt").write_text("text")
    named = night | {"damaged": str(tmp_path / "damaged.png"), "notes.txt": str(tmp_path / "notes.txt")}
    files = night | {kind: named.get(name or "", name) for kind, name in changed.items()}
    with pytest.raises(Exception, match=message) as error:
        fuse(*files.values())
    assert (
        "\n" not in str(error.value)
        and str(tmp_path) not in str(error.value)
        and "gffusion-demo-" not in str(error.value)
    )
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.usefixtures("address")
def test_no_input_of_any_event_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio opens addresses for each kind of input, and for events that only the browser answers."""
    from gradio import processing_utils
    from gradio.state_holder import SessionState

    from gffusion.demo.page import create_page

    asked = []

    async def download(url: str, cache_dir: str) -> str:
        asked.append(url)
        return str(Path(cache_dir, "file.png"))

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", download)
    page = create_page(DemoSettings(("gffusion-live",)), Turns())
    inputs = [(number, event, place) for number, event in page.fns.items() for place in range(len(event.inputs))]
    assert {type(event.inputs[place]).__name__ for _, event, place in inputs} >= {"File", "Dropdown", "Textbox"}
    for number, event, place in inputs:
        values: list[Any] = [None] * len(event.inputs)
        address = f"http://192.0.2.1/{number}/{place}.png"  # an address for documentation
        values[place] = {"path": address, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(Exception, match="addresses are not opened"):
            asyncio.run(page.process_api(event, values, state=SessionState(page)))
    assert not asked


def test_large_uploads_are_refused(address: str) -> None:
    head = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="large.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    body = head + bytes(2 << 20) + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{address}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 413


def test_cancelled_requests_stop(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio lets their threads run, so that any number of them would compute at once."""
    pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')
    from video_files import write_pair

    running: list[int] = [0]

    def fuse_video(*arguments: Any, **options: Any) -> Any:
        running.append(running[-1] + 1)
        try:
            return original(*arguments, **options)
        finally:
            running.append(running[-1] - 1)

    original = videos.fuse_video
    monkeypatch.setattr(videos, "fuse_video", fuse_video)
    client = gradio_client.Client(address, download_files=False, verbose=False)
    clips = [gradio_client.handle_file(str(path)) for path in write_pair(tmp_path, count=60)]
    for _ in range(3):
        started = len(running)
        job = client.submit(*clips, "gffusion-tiny", False, True, api_name="/fuse_video")
        while len(running) == started:
            time.sleep(0.05)
        job.cancel()
    client.predict(*clips, "gffusion-live", False, False, api_name="/fuse_video")
    assert max(running) == 1 and running[-1] == 0


def test_models_that_are_not_offered_are_refused(fuse: Callable[..., Any], night: dict[str, str]) -> None:
    with pytest.raises(Exception, match=r"not in the list of choices|must be one of"):
        fuse(*night.values(), "organization/street", *OPTIONS[1:])


def test_page_loads_nothing_from_other_hosts(address: str) -> None:
    with urllib.request.urlopen(address) as answer:
        policy, page = answer.headers["content-security-policy"], answer.read().decode()
    assert policy.startswith("default-src 'self'") and "http" not in policy
    for forbidden in ('src="http', 'rel="preconnect"', "fonts.googleapis", "@import"):
        assert forbidden not in page


@pytest.mark.slow
@pytest.mark.processes
def test_space_starts_and_stops(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = str(SPACE / "app.py"), "--host", "127.0.0.1", "--port", str(port)
    with start(*command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/config") as answer:
            assert b"gffusion-tiny" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
    assert line == f"the demo is at http://127.0.0.1:{port}/ (Ctrl-C stops it)\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share"], "--share is refused"),
        (["--bundled-only", "--model", "organization/street"], "--bundled-only allows gffusion-tiny, "),
        (["--device", "cuda:7"], "--device cuda:7"),
        (["--host", "192.0.2.1"], "cannot listen on --host 192.0.2.1: "),  # an address for documentation
    ],
)
def test_wrong_options(gffusion: Callable[..., Outcome], options: list[str], message: str) -> None:
    outcome = gffusion("demo", *options)
    assert outcome.exit_code == 2
    assert outcome.err.startswith("gffusion: error: ") and message in outcome.err and outcome.err.count("\n") == 1


SERVE_AND_ASK = """
import sys, urllib.request
from gffusion.demo.serving import check_address, serve
from gffusion.demo.settings import DemoSettings

check_address(sys.argv[1])
with serve(DemoSettings(("gffusion-live",)), sys.argv[1]) as (_, address), urllib.request.urlopen(address) as answer:
    print(address, answer.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_addresses_of_ipv6(run_script: Callable[..., subprocess.CompletedProcess[str]], host: str) -> None:
    """In processes of their own: Gradio keeps the folder of its first page."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6")
    done = run_script(SERVE_AND_ASK, host)
    address, status = done.stdout.split()[-2:]
    assert address.startswith("http://[::1]:") and status == "200", done.stderr


def test_port_in_use(gffusion: Callable[..., Outcome]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = gffusion("demo", "--port", server.getsockname()[1])
    assert outcome.exit_code == 2 and "Address already in use" in outcome.err and "choose another one" in outcome.err
