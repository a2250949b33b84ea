# %% [markdown]
# # Fine-tune on your own thermal images
#
# This notebook makes a small dataset of rendered pairs with boxes, as a detection dataset has them, makes label maps of the boxes, fine-tunes a
# bundled model, and compares the model before and after. To use your own data, put it into a folder with `visible/`, `infrared/` and, if you have
# them, `boxes/` (YOLO, VOC or COCO) with `classes.txt`, and set `data` to it: nothing is rendered into a folder that exists.
#
# Two epochs on twelve small pairs only show the steps: train longer on more pairs. Needs `pip install "gffusion[plots]"`.

# %%
import shutil
from pathlib import Path

from gffusion.synthetic.samples import write_scenes

data = {"train": Path("thermal/train"), "val": Path("thermal/val")}
for seed, (split, count) in enumerate({"train": 12, "val": 3}.items()):
    if not data[split].exists():
        write_scenes(data[split], count=count, seed=100 * seed, height=96, width=128)
        shutil.rmtree(data[split] / "labels")  # which are made below
        print("rendered", data[split])
print(sorted(path.name for path in data["train"].iterdir()))

# %% [markdown]
# ## Label maps from boxes
#
# The segmentation loss needs a class for every pixel. `ThresholdMasks` finds the object in each box; look at the result before you train. `gffusion masks`
# does the same on the command line. Without boxes, skip this step: the model is then trained without the segmentation loss.

# %%
from gffusion.data import find_pairs
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import ThresholdMasks

for folder in data.values():
    found = find_pairs(folder)
    todo = [pair for pair in found.pairs if pair.labels is None]
    for result in write_labels(todo, folder / "labels", ThresholdMasks(), found.class_names):
        assert result.error is None, result.error
print("classes", found.class_names)

# %% [markdown]
# ## Train
#
# `FusionDataset` reads pairs and labels, and transforms change all of them together. DINOv2's input is made small here, to save time: leave out the
# options of `create_model` for your images.

# %%
from gffusion import FusionTrainer, FusionTrainingArguments, create_model
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip

train = FusionDataset(data["train"], Compose([RandomCrop(64), RandomFlip()]))
validation = FusionDataset(data["val"])
model = create_model("gffusion-tiny", segmenter_image_size=[112, 140], segmenter_windows=[1, 1], segmenter_scales=[1])
arguments = FusionTrainingArguments(
    "thermal/run",
    num_train_epochs=2,
    head_start_epoch=1,
    per_device_train_batch_size=4,
    learning_rate=3e-4,
    report_to=[],
    overwrite_output_dir=True,
)
trainer = FusionTrainer(model, arguments, train, validation)
trainer.train()

# %% [markdown]
# `log.jsonl` has one line for each epoch and evaluation.

# %%
import json

import matplotlib.pyplot as plt

log = [json.loads(line) for line in Path("thermal/run/log.jsonl").read_text().splitlines()]
epochs = [record["epoch"] + 1 for record in log]
plt.plot(epochs, [record["loss"] for record in log], marker="o")
plt.title("Training loss")
plt.xlabel("epoch")
plt.show()

# %% [markdown]
# ## Use the result
#
# `thermal/run/best` is a folder with weights, image processor and a model card. `gffusion fuse ... --model thermal/run/best` uses it, and `gffusion push
# thermal/run/best your-org/name` publishes it.

# %%
from gffusion import load_image_processor, predict
from gffusion.data import read_image

tuned = create_model("thermal/run/best")
first = find_pairs(data["val"]).pairs[0]
pair = (read_image(first.visible), read_image(first.infrared))
before = predict(create_model("gffusion-tiny"), load_image_processor("gffusion-tiny"), [pair])[0].fused
after = predict(tuned, load_image_processor("thermal/run/best"), [pair])[0].fused
figure, axes = plt.subplots(1, 4, figsize=(14, 3), layout="constrained")
for axis, title, image in zip(axes, ("visible", "infrared", "before", "after"), (*pair, before, after), strict=True):
    axis.imshow(image, cmap="gray")
    axis.set_title(title)
    axis.axis("off")
plt.show()
