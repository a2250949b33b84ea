"""Silence other libraries, so that their messages do not mix with the output of the command."""


def quiet_libraries() -> None:
    """Make transformers and huggingface_hub print nothing but errors."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
