"""Keeps other libraries' reports and progress bars out of the command's output."""


def quiet_libraries() -> None:
    """Let transformers and huggingface_hub print errors only."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
