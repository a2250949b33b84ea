# %% [markdown]
# # Fuse videos and live streams
#
# The videos of this notebook are made of a rendered street, over which the cameras pan. Needs `pip install "gffusion[video,plots]"`.

# %%
from fractions import Fraction
from pathlib import Path

import av

from gffusion.synthetic.rendering import render_scene

scene = render_scene(seed=4, height=160, width=320)
WIDTH, FRAMES = 192, 24


def write_video(path, image):
    """Write a video in which the view moves to the right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = WIDTH, image.shape[0], "yuv420p"
        for index in range(FRAMES):
            left = 4 * index
            view = image[:, left : left + WIDTH]
            frame = av.VideoFrame.from_ndarray(view.copy(), format="rgb24" if view.ndim == 3 else "gray")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


write_video("visible.mp4", scene.visible)
write_video("infrared.mp4", scene.infrared)

# %% [markdown]
# ## Files
#
# Frames are matched by their time stamps. `gffusion fuse visible.mp4 infrared.mp4 -o fused.mp4` is the same on the command line.

# %%
from gffusion import create_model, load_image_processor
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob

model, processor = create_model("gffusion-live"), load_image_processor("gffusion-live")
Path("fused.mp4").unlink(missing_ok=True)
report = fuse_video(VideoJob(Path("visible.mp4"), Path("infrared.mp4"), Path("fused.mp4")), model, processor)
print(report.frames, "frames", report.notes)

# %%
import matplotlib.pyplot as plt

with av.open("fused.mp4") as container:
    fused = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
for axis, index in zip(axes, (0, FRAMES // 2, FRAMES - 1), strict=True):
    axis.imshow(fused[index])
    axis.set_title(f"frame {index}")
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Flicker
#
# `flicker` measures changes of brightness that the inputs do not have: below one gray level is hardly visible.

# %%
import numpy as np

from gffusion.metrics import to_luma8
from gffusion.metrics.functional import flicker


def read_luma(path):
    """Return the gray levels of all frames."""
    with av.open(path) as container:
        return [to_luma8(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


print(f"{flicker(*(read_luma(path) for path in ('fused.mp4', 'visible.mp4', 'infrared.mp4'))):.2f} gray levels")

# %% [markdown]
# ## Live
#
# `FusionStream` takes frames as cameras deliver them and never lags behind: a newer pair replaces one that waits.

# %%
import time

from gffusion.video.stream import FusionStream

with FusionStream(model, processor) as stream:
    for index in range(5):
        view = slice(4 * index, 4 * index + WIDTH)
        stream.push(scene.visible[:, view], scene.infrared[:, view], time=index / 12)
        time.sleep(1 / 12)
        result = stream.latest(timeout=20)
        print(f"time {result.time:.2f} s, brightness {np.mean(result.fused):.1f}, dropped {result.dropped}")
