# %% [markdown]
# # Align a rig of two cameras
#
# Two cameras that are fixed to each other see the scene from slightly different positions, with different fields of view. This notebook moves
# rendered infrared images by a known amount, estimates the position from the images, and compares both.

# %%
import matplotlib.pyplot as plt
import numpy as np

from gffusion.cameras import Rig
from gffusion.cameras.warping import warp_image
from gffusion.synthetic.rendering import render_scene

# %% [markdown]
# ## Pairs
#
# With your own images, set only `pairs` in this cell, to arrays as `gffusion.data.read_image` returns them, and leave out *Compare*.

# %%
SIZE, INFRARED_SIZE = (240, 320), (120, 160)
scenes = [render_scene(seed, *SIZE) for seed in range(3)]
truth = Rig(np.array([[1.25, 0, -0.10], [0, 1.25, -0.14], [0, 0, 1]]))  # the infrared camera sees 80 % of the width
to_visible = np.linalg.inv(truth.to_pixels(SIZE, INFRARED_SIZE))
infrared = [warp_image(scene.infrared, None, to_visible, INFRARED_SIZE)[0] for scene in scenes]
pairs = [(scene.visible, image) for scene, image in zip(scenes, infrared, strict=True)]

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for axis, image in zip(axes, pairs[0], strict=True):
    axis.imshow(image, cmap="gray")
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Estimate
#
# Edges of all pairs are compared. `sure` says whether the result can be used without looking at it: the command line refuses others with exit code 2.

# %%
from gffusion.cameras.estimation import estimate_rig

estimate = estimate_rig([(visible, image, None) for visible, image in pairs])
print(estimate.describe())
print("sure:", estimate.sure)

# %% [markdown]
# ## Compare
#
# The rendered images were moved by a known amount.

# %%
corners = np.array([[0, 0, 1], [320, 0, 1], [320, 240, 1], [0, 240, 1]])


def positions(rig):
    """Return where the corners of the visible image lie in the infrared image, in pixels."""
    mapped = corners @ rig.to_pixels(SIZE, INFRARED_SIZE).T
    return mapped[:, :2] / mapped[:, 2:]


error = np.linalg.norm(positions(estimate.rig) - positions(truth), axis=1)
print(f"error at the corners: {error.mean():.2f} pixels of the infrared image")

# %% [markdown]
# ## Look at it
#
# In a checkerboard of both images, lines continue across the squares. Edges that lie on each other are white.

# %%
from gffusion.cameras import apply_rig
from gffusion.visualization.alignment import draw_alignment

aligned = apply_rig(*pairs[0], None, estimate.rig)
plt.figure(figsize=(12, 5))
plt.imshow(draw_alignment(aligned.visible, aligned.infrared, aligned.missing))
plt.axis("off")
plt.show()

# %% [markdown]
# ## Use it
#
# Save the rig once, and pass it to every command: `gffusion fuse visible/ infrared/ -o fused/ --align rig.json`. In Python, `ReadOptions(align=rig)` aligns
# pairs while they are read.

# %%
from pathlib import Path

estimate.rig.save(Path("rig.json"))
print(Path("rig.json").read_text())
