"""How the shipped gffusion-tiny weights were made. Run the scripts from the repository root with `python -m`."""
