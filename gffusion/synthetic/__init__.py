"""Render pairs for `gffusion sample`, examples and tests."""
