"""Draw palettes, overlays, plots and sheets from arrays and names; no files are read here."""
