"""Scripts that produced the weights of gffusion-tiny. Run them from the repository root with `python -m`."""
