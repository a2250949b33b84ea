"""Publish a run: checks before the first step, and the upload after the last step."""

import os
from pathlib import Path

from gffusion.hub.inspection import find_unavailable_encoders
from gffusion.hub.publishing import prepare_repository, push
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.escaping import quote_word

from .arguments import FusionTrainingArguments


def check_publishable(arguments: FusionTrainingArguments, model: GFFusionModel) -> None:
    """Create the repository, and check that the weights can be published at the end of the run.

    Raises:
        OSError: If the Hub refuses the request or cannot be reached.
        ValueError: If frozen encoders are not available on the Hub, or `hub_model_id` is not a repository name.
    """
    repo_id, best = arguments.hub_model_id or "", os.path.join(arguments.output_dir, "best")
    if not model.find_unsourced() and (problems := find_unavailable_encoders(model.config)):
        raise ValueError(
            f"`push_to_hub` would fail at the end: {'; '.join(problems)}. Or train without `push_to_hub`, and then run "
            f"`gffusion push {quote_word(best)} {repo_id} --full`."
        )
    prepare_repository(repo_id)


def push_finished(folder: Path, repo_id: str) -> str:
    """Publish the weights of a finished run, or raise OSError with the command that publishes them later."""
    try:
        return push(folder, repo_id)
    except (OSError, ValueError) as error:
        raise OSError(
            f"The training is finished and its weights are in {folder.parent}, but they were not published: {error} "
            f"To publish them later: `gffusion push {quote_word(str(folder))} {repo_id}`."
        ) from error
