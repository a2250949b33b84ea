"""Hugging Face Space of gffusion: `gffusion demo` with the bundled models. Options can be added on the command line."""

import sys

from gffusion.cli import main

if __name__ == "__main__":
    main(["demo", "--bundled-only", "--host", "0.0.0.0", "--port", "7860", *sys.argv[1:]])
