# %% [markdown]
# # Compare fusion methods
#
# `evaluate` measures models, saved images of other methods and classical baselines on the same pairs. The pairs of this notebook are rendered; with your own,
# set `data` to a folder with `visible/` and `infrared/`: nothing is written to a folder that exists. Needs `pip install "gffusion[plots]"`.

# %%
from pathlib import Path

from gffusion.synthetic.samples import write_scenes

data = Path("pairs")
if not data.exists():
    write_scenes(data, count=3, height=192, width=256)
    print("rendered", data)

# %% [markdown]
# Images of another method are a folder with the names of the pairs. Here, they are made by weighting both images equally; set `mine` to the folder of
# yours.

# %%
from gffusion.data import find_pairs, read_image, write_image

mine = Path("my_method")
if not mine.exists():
    mine.mkdir()
    for pair in find_pairs(data).pairs:
        visible, infrared = read_image(pair.visible), read_image(pair.infrared)
        write_image(mine / f"{pair.name}.png", (0.5 * visible + 0.5 * infrared[..., None]).round().astype("uint8"))

# %%
from gffusion.evaluation import evaluate

table = evaluate(
    data / "visible",
    data / "infrared",
    models=["gffusion-live", "gffusion-funet"],
    fused={"my method": mine},
    metrics=["EN", "SCD", "VIF", "Qabf", "SSIM", "Nabf"],
    output=Path("comparison"),
)
print(table)

# %% [markdown]
# Baselines are in parentheses. A method with `!` has a worse mean rank than a baseline, which learns nothing: improve it before you publish
# it. `comparison/` has the tables as Markdown, LaTeX and CSV, the values of each image, box plots, and the images side by side.

# %%
for path in sorted(Path("comparison").iterdir()):
    print(path.name)

# %% [markdown]
# Means hide how much images differ. Each row of `table.values` belongs to a method, each column to an image.

# %%
import matplotlib.pyplot as plt

metric = table.metrics.index("VIF")
plt.figure(figsize=(8, 4))
plt.boxplot([values[:, metric] for values in table.values], orientation="horizontal", tick_labels=table.methods)
plt.xlabel("VIF")
plt.tight_layout()
plt.show()
