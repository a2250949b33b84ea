"""Publishing a run: what is checked before its first step, and what is done after its last."""

import os
from pathlib import Path
from typing import Any

from gffusion.hub.inspection import find_missing_sources, read_config
from gffusion.hub.publishing import prepare_repository, push
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .arguments import FusionTrainingArguments


def check_publishable(arguments: FusionTrainingArguments, model: GFFusionModel) -> None:
    """Check that the weights can be published at the end of the run, and create their repository.

    Raises:
        OSError: If the Hub refuses, or cannot be reached.
        ValueError: If nobody else could get the frozen encoders, or `hub_model_id` is no name of a repository.
    """
    repo_id = arguments.hub_model_id or ""
    slim = set(model.backbones) <= model._external_backbones
    if slim and (problems := find_missing_sources(model.config)):
        best = os.path.join(arguments.output_dir, "best")
        raise ValueError(
            f"`push_to_hub` would be refused at the end: {'; '.join(problems)}. Or leave `push_to_hub` off, and then run "
            f"`gffusion push {best} {repo_id} --full`."
        )
    prepare_repository(repo_id)


def push_weights(folder: Path, repo_id: str, **options: Any) -> str:
    """Publish a folder of weights, with the frozen encoders where they were saved with the rest.

    Args:
        folder: "best" of a run.
        repo_id: Repository, "name" or "organisation/name".
        options: Options of [`push`].

    Returns:
        Address of the commit.

    Raises:
        OSError: If the Hub refuses.
        ValueError: If the weights should not be published as they are.
    """
    full = read_config(folder).backbone_weights == "included"
    return push(folder, repo_id, **{"full": full} | options)


def push_finished(folder: Path, repo_id: str) -> str:
    """Publish the weights of a finished run, and return the address of the commit.

    Raises:
        OSError: If that fails, with the command that does it later.
    """
    try:
        return push_weights(folder, repo_id)
    except (OSError, ValueError) as error:
        full = " --full" if read_config(folder).backbone_weights == "included" else ""
        raise OSError(
            f"The training is finished and its weights are in {folder.parent}, but they were not published: {error} "
            f"To publish them later: `gffusion push {folder} {repo_id}{full}`."
        ) from error
