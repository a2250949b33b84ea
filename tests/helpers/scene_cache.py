"""Render every scene of a test process once: half a second each, and most tests render the same ones.

To import this module replaces `render_scene`. Equal arguments give equal scenes, which tests/synthetic tests without this.
"""

import copy
import functools
import json

import numpy as np

from gffusion.synthetic import rendering
from gffusion.synthetic.rendering import RenderedScene

_render, _build = rendering.render_scene, rendering.build_street
_streets: dict[str, tuple[list[rendering.Thing], dict[str, object]]] = {}


def _build_once(rng: np.random.Generator) -> list[rendering.Thing]:
    """Build a street, which is the same in all sizes of a scene, and leave the generator as building does."""
    before = json.dumps(rng.bit_generator.state)
    if before not in _streets:
        _streets[before] = _build(rng), rng.bit_generator.state
    street, rng.bit_generator.state = _streets[before]
    return street


_render_once = functools.lru_cache(maxsize=100)(_render)


@functools.wraps(_render)
def render_scene(seed: int = 0, height: int = 480, width: int = 640) -> RenderedScene:
    """Return a copy, which a test may change."""
    return copy.deepcopy(_render_once(seed, height, width))


rendering.render_scene, rendering.build_street = render_scene, _build_once
