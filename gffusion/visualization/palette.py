"""Colors of classes."""

import numpy as np

# Colours of label maps, as far apart as twelve can be; class 0 is left transparent.
PALETTE = np.array(
    [
        (0, 0, 0),
        (230, 60, 60),
        (60, 180, 75),
        (70, 120, 240),
        (245, 190, 30),
        (170, 60, 200),
        (40, 200, 210),
        (240, 120, 200),
        (150, 110, 40),
        (170, 240, 90),
        (250, 140, 60),
        (120, 120, 150),
    ],
    dtype=np.uint8,
)
