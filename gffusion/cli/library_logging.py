"""Silence other libraries, so that their messages do not mix with the output of the command."""

import logging as standard_logging
import sys


def quiet_libraries() -> None:
    """Make transformers, huggingface_hub and tifffile print nothing but errors."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    standard_logging.getLogger("tifffile").setLevel(standard_logging.ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    from gffusion.utils.progress import get_download_bar  # saves start-up time

    # The Hub client shows its bars in terminals only.
    if (bar := get_download_bar()) is not None:
        vars(sys.modules["huggingface_hub.utils.tqdm"])["tqdm"] = bar
