"""Images as cameras deliver them: radiometric files, false colors, missing pixels and alignment. Knows no folders."""

from .alignment import Align, align_images
from .frames import InfraredFrame
from .rig import Rig
from .warping import AlignedImages, Reference, align_labels, apply_rig

__all__ = ["Align", "AlignedImages", "InfraredFrame", "Reference", "Rig", "align_images", "align_labels", "apply_rig"]
