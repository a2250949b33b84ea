"""HTML of the images of a result under a slider, with a legend. Does not import gradio."""

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from gffusion.visualization.palette import color_classes
from gffusion.visualization.slider import ImageSlider

STYLE = """
.gffusion-slider { max-width: none !important; }
.gffusion-slider select { appearance: auto; margin: 0; background: var(--input-background-fill); min-height: 36px; padding: 4px 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0; padding: 0; list-style: none; }
.legend span { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px; }
"""

SCRIPT = """
watch('value', async () => {
  await element.querySelector('img.right')?.decode(); // it has its size then
  element.querySelector('figure')?.scrollIntoView({ block: 'nearest' });
});
"""


def render_slider(images: Mapping[str, NDArray[np.uint8]], classes: Mapping[int, str]) -> str:
    """Return HTML with two of the images, of which the reader chooses and moves a boundary between them.

    Args:
        images: (H, W) or (H, W, 3) of one size, by kind: `visible`, `infrared`, `fused` and perhaps `segmentation`.
        classes: Names of the classes by their ids, for the legend of the segmentation.
    """
    legend = "".join(
        f'<li><span style="background: rgb({",".join(map(str, color_classes(index)))})"></span>{escape(name)}</li>'
        for index, name in classes.items()
    )
    return ImageSlider(images).to_html() + f'<ul class="legend" aria-label="Classes">{legend}</ul>' * bool(legend)
