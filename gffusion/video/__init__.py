"""Fuse videos and live streams. Reading and writing videos needs PyAV: `pip install "gffusion[video]"`."""
