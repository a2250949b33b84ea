# %% [markdown]
# # Quick start
#
# Fuse a pair of images with a bundled model, segment it, and measure the result. Nothing is downloaded: the model is part of the package,
# and the pair is rendered. To use your own pair, replace `scene.visible` and `scene.infrared` by arrays of equal size.
#
# Needs `pip install "gffusion[plots]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from gffusion.synthetic.rendering import render_scene

scene = render_scene(seed=0, height=240, width=320)
print("visible", scene.visible.shape, scene.visible.dtype)  # (H, W, 3), RGB
print("infrared", scene.infrared.shape, scene.infrared.dtype)  # (H, W), bright is hot

# %% [markdown]
# `create_model` loads a model by name, and `load_image_processor` what prepares its images. `predict` runs both on a list of pairs.

# %%
from gffusion import create_model, load_image_processor, predict

model = create_model("gffusion-tiny")
processor = load_image_processor("gffusion-tiny")
(result,) = predict(model, processor, [(scene.visible, scene.infrared)], segment=True)
print("fused", result.fused.shape, result.fused.dtype)
print("classes", model.config.id2label)

# %% [markdown]
# The person in the glare is visible in the infrared image only, the sign in the visible image only. The fused image shows both.

# %%
from gffusion.visualization.overlay import overlay

images = {
    "visible": scene.visible,
    "infrared": scene.infrared,
    "fused": result.fused,
    "segmented": overlay(result.fused, result.labels),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
for axis, (name, image) in zip(axes.flat, images.items(), strict=True):
    axis.imshow(image, cmap="gray")
    axis.set_title(name)
    axis.axis("off")
plt.show()

# %% [markdown]
# Metrics compare the fused image with its sources. Compare them with those of a classical baseline: here, the maximum of both images.

# %%
from gffusion.evaluation.baselines import fuse_luma
from gffusion.metrics import compute_metrics, to_luma8

visible, infrared, fused = (to_luma8(image) for image in (scene.visible, scene.infrared, result.fused))
maximum = to_luma8(fuse_luma("maximum", visible.numpy(), infrared.numpy()))
for name, image in (("gffusion-tiny", fused), ("maximum", maximum)):
    values = compute_metrics(image, visible, infrared, metrics=["EN", "SCD", "VIF", "Qabf", "SSIM", "Nabf"])
    print(f"{name:14}", "  ".join(f"{metric} {value.item():.3f}" for metric, value in values.items()))

# %% [markdown]
# Save the result as an image. For files and folders, `gffusion fuse` does all of this in one command, and keeps the metadata of the visible image.

# %%
from pathlib import Path

from gffusion.data import write_image

write_image(Path("fused.png"), result.fused)
write_image(Path("labels.png"), result.labels)
print("saved", np.unique(result.labels).tolist(), "as class numbers")
