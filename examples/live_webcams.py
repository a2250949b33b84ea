"""Fuse two webcams live and show the result: `python examples/live_webcams.py --visible 0 --infrared 1`.

Cameras are numbers or addresses, as OpenCV takes them. Find the position of the infrared camera first with `gffusion align`, and
pass its file as `--align`. Press q to stop. Needs OpenCV: `pip install opencv-python`.
"""

import argparse
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

try:
    import cv2
except ImportError:
    raise SystemExit("live_webcams.py: error: webcams need OpenCV: pip install opencv-python") from None

from gffusion import create_model, load_image_processor
from gffusion.cli.device import choose_device
from gffusion.data import ReadOptions
from gffusion.data.rigs import parse_align
from gffusion.video.stream import FusionStream

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--visible", default="0")
parser.add_argument("--infrared", default="1")
parser.add_argument("--model", default="gffusion-live")
parser.add_argument("--device", default="cpu")
parser.add_argument("--align", default="resize", help="none, resize or the file of a rig")
options = parser.parse_args()


class Camera:
    """Hand over the frames of a camera as they come, in a thread, so that a slow camera does not delay the other one."""

    def __init__(self, name: str, push: Callable[[Any], None]) -> None:
        self._capture = cv2.VideoCapture(int(name) if name.isdecimal() else name)
        if not self._capture.isOpened():
            raise OSError(
                f"cannot open the camera {name}: check its number or address, and that no other program uses it"
            )
        self._push = push
        self.is_running = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while self.is_running:
                is_read, frame = self._capture.read()
                if not is_read:
                    break
                self._push(frame[..., ::-1])  # BGR -> RGB
        finally:
            self.is_running = False

    def close(self) -> None:
        """Stop reading, and release the camera."""
        self.is_running = False
        self._thread.join()
        self._capture.release()


def main() -> None:
    """Show fused images until q is pressed or a camera stops."""
    device = choose_device(options.device)
    read_options = ReadOptions(align=parse_align(options.align), keep_borders=True)
    model, processor = create_model(options.model, use_segmenter=False).to(device), load_image_processor(options.model)
    with (
        FusionStream(model, processor, read_options) as stream,
        closing(Camera(options.infrared, stream.push_infrared)) as infrared,
        closing(Camera(options.visible, stream.push_visible)) as visible,
    ):
        while visible.is_running and infrared.is_running:
            try:
                result = stream.latest()
            except (ValueError, MemoryError) as error:  # of one pair, such as while a camera is calibrated
                result = None
                print(f"pair left out: {error}", end="\r")
            if result is not None:
                cv2.imshow(f"gffusion: press q to stop ({options.model})", result.fused[..., ::-1])
            if cv2.waitKey(5) == ord("q"):
                break
        else:
            print(f"the camera {options.infrared if visible.is_running else options.visible} has no more frames")
    print(stream.statistics)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, cv2.error) as error:
        raise SystemExit(f"live_webcams.py: error: {error}") from None
