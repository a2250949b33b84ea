"""HTML of two images under a slider, which works by mouse, touch and keyboard. Does not import gradio."""

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gffusion.visualization.palette import color_classes
from gffusion.visualization.slider import to_data_address

_MAX_SIDE = 1600  # of the images shown; the files have the original size
_DESCRIPTIONS = {
    "visible": "visible image",
    "infrared": "infrared image",
    "fused": "fused image",
    "segmentation": "fused image with the classes in color",
}

STYLE = """
.compare { display: flex; flex-direction: column; gap: 8px; }
.compare .sides { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 8px; }
.compare .sides label { display: flex; align-items: center; gap: 6px; }
.compare select {
  appearance: auto; font: inherit; color: inherit; background: var(--input-background-fill); min-height: 36px; padding: 4px 8px;
  border: 1px solid var(--border-color-primary); border-radius: var(--radius-md);
}
.compare .stage {
  --split: 50%; position: relative; overflow: hidden; border-radius: var(--radius-lg); line-height: 0; background: #000;
}
.compare .stage:focus-within, .compare select:focus-visible { outline: 3px solid var(--color-accent); outline-offset: 2px; }
.compare .stage img { width: 100%; height: auto; margin: 0; }
.compare .stage img[hidden] { display: none; }
.compare .stage img.left {
  position: absolute; inset: 0; height: 100%; z-index: 1; clip-path: inset(0 calc(100% - var(--split)) 0 0);
}
.compare .stage::after {
  content: ""; position: absolute; z-index: 2; inset: 0 auto 0 var(--split); width: 4px; margin-left: -2px; background: #fff;
  box-shadow: 0 0 4px #000; pointer-events: none;
}
.compare .knob {
  position: absolute; z-index: 2; left: var(--split); top: 50%; width: 36px; height: 36px; margin: -18px 0 0 -18px;
  border-radius: 50%; background: #fff; color: #222; font-size: 18px; line-height: 36px; text-align: center;
  box-shadow: 0 0 4px #000; pointer-events: none;
}
.compare input[type="range"] {
  position: absolute; z-index: 3; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize;
  touch-action: pan-y;
}
.compare .legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0; padding: 0; list-style: none; }
.compare .legend span { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px; }
"""

SCRIPT = """
element.addEventListener('input', (event) => {
  const target = event.target, stage = element.querySelector('.stage');
  if (target.type === 'range') {
    stage.style.setProperty('--split', target.value + '%');
  } else if (target.tagName === 'SELECT') {
    const source = stage.querySelector(`[data-kind=${target.value}]`), shown = stage.querySelector('.' + target.name);
    shown.src = source.src;
    shown.alt = source.alt;
  }
});
watch('value', async () => {
  const image = element.querySelector('img.right');
  await image?.decode(); // it has its size then
  image?.scrollIntoView({ block: 'nearest' });
});
"""
"""Events are handled on the element of the component, which stays when its content is replaced."""


def render_slider(images: Mapping[str, NDArray[np.uint8]], classes: Mapping[int, str]) -> str:
    """Return HTML with two of the images, of which the reader chooses and moves a boundary between them.

    Args:
        images: (H, W) or (H, W, 3) of one size, by kind: `visible`, `infrared`, `fused` and perhaps `segmentation`.
        classes: Names of the classes by their ids, for the legend of the segmentation.
    """
    sources = {kind: to_data_address(Image.fromarray(image), _MAX_SIDE) for kind, image in images.items()}
    left, right = "visible", "segmentation" if "segmentation" in images else "fused"
    shown = "".join(
        f'<img class="{side}" src="{sources[kind]}" alt="{_DESCRIPTIONS[kind]}">'
        for side, kind in (("right", right), ("left", left))
    )
    hidden = "".join(
        f'<img hidden data-kind="{kind}" src="{source}" alt="{_DESCRIPTIONS[kind]}">'
        for kind, source in sources.items()
    )
    sides = "".join(
        f'<label>{side.capitalize()} <select name="{side}" aria-label="Image on the {side}">'
        + "".join(f"<option{' selected' * (kind == chosen)}>{kind}</option>" for kind in images)
        + "</select></label>"
        for side, chosen in (("left", left), ("right", right))
    )
    legend = "".join(
        f'<li><span style="background: rgb({",".join(map(str, color_classes(index)))})"></span>{escape(name)}</li>'
        for index, name in classes.items()
    )
    if legend:
        legend = f'<ul class="legend" aria-label="Classes">{legend}</ul>'
    return (
        f'<div class="compare"><div class="sides">{sides}</div><div class="stage">{shown}{hidden}'
        '<div class="knob" aria-hidden="true">&#8596;</div><input type="range" min="0" max="100" value="50" step="0.5" '
        f'aria-label="Boundary between the left and the right image, in percent"></div>{legend}</div>'
    )
