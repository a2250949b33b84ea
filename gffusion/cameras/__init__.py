"""Images as cameras deliver them: radiometric files, false colors, missing pixels and alignment. Knows no folders."""

from .frames import InfraredFrame
from .rig import Rig

__all__ = ["InfraredFrame", "Rig"]
