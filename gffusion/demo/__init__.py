"""The demo in a browser: `gffusion demo`, and the Hugging Face Space in `spaces/gffusion`."""
