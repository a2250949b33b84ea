"""Silence other libraries, so that their messages do not mix with the output of the command."""

import logging as standard_logging
import sys

from .printing import print_line


class _WaitPrinter(standard_logging.Handler):
    """Print why the Hub client waits, which can take minutes."""

    def emit(self, record: standard_logging.LogRecord) -> None:
        if "Rate limited" in (message := record.getMessage()):
            print_line(f"huggingface_hub: {message}", err=True)


_wait_printer = _WaitPrinter()


def quiet_libraries() -> None:
    """Make transformers, huggingface_hub and tifffile print nothing but errors, and how long the Hub refuses requests."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    standard_logging.getLogger("tifffile").setLevel(standard_logging.ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logger = hub_logging.get_logger()
    hub_logger.removeHandler(_wait_printer)  # of a call before
    for handler in hub_logger.handlers:
        handler.setLevel(standard_logging.ERROR)
    hub_logger.setLevel(standard_logging.WARNING)
    hub_logger.addHandler(_wait_printer)
    from gffusion.utils.progress import get_download_bar  # saves start-up time

    # The Hub client shows its bars in terminals only.
    if (bar := get_download_bar()) is not None:
        vars(sys.modules["huggingface_hub.utils.tqdm"])["tqdm"] = bar
