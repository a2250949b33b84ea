"""Draw palettes, overlays, figures and sheets from arrays."""
