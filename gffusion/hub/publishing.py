"""Publish models on the Hub."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCardData, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id
from transformers import BaseImageProcessor
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from gffusion._version import __version__
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.encoders import BACKBONE_CLASSES
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_checks import build_on_meta
from gffusion.models.gffusion.weight_files import can_reach_hub
from gffusion.utils.atomic import temporary_folder
from gffusion.utils.yaml_text import read_front_matter
from gffusion.zoo import load_image_processor, locate
from gffusion.zoo.checks import check_can_be_saved
from gffusion.zoo.loading import find_bundled
from gffusion.zoo.registry import is_on_hub, locate_folder

from .card_images import find_mentioned_images, find_shown_images
from .cards import FusionCard
from .inspection import find_problems, find_weight_files, read_config
from .links import omit_outside
from .rendering import is_unedited, set_source

logger = logging.getLogger(__name__)

CARD = "README.md"

# The modules that a push with code uploads.
TRAVELING_FILES = frozenset(
    item.name for item in files("gffusion.models.gffusion").iterdir() if item.name.endswith(".py")
) - {"__init__.py"}


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    full: bool | None = None,
    with_code: bool = False,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    force: bool = False,
    token: str | None = None,
) -> str:
    """Publish the model in a folder in one commit, and return its URL: weights, configurations, model card and its images.

    Files that were uploaded before an interruption are not uploaded again. The code example of a generated card is changed
    to load from the repository. Only an edited card replaces an edited card in the repository. If neither folder nor
    repository has a card, a card that describes the architecture is published.

    Args:
        folder: Folder of the model, as written by `save_pretrained` or a training run, or the name of a bundled model.
        repo_id: Repository, `organization/name`, or `name` for your own account; created if needed.
        full: Whether to include the frozen encoders. Otherwise the configuration names their repositories. By default, the
            weights are published as they were saved: with the encoders if these have no repository.
        with_code: Whether to include the code, so that the model loads without gffusion by
            `AutoModel.from_pretrained(repo_id, trust_remote_code=True)`.
        private: Whether a new repository is private. Defaults to the setting of the organization.
        revision: Branch, created if needed. Defaults to `main`.
        commit_message: First line of the commit message. Defaults to a line with the version of gffusion.
        force: Whether to publish despite the problems found by [`find_problems`].
        token: Access token. Defaults to the one stored by `hf auth login`.

    Raises:
        ValueError: If `model` is no GFFusionModel or has problems, or `repo_id` is not a repository name.
        OSError: If the folder has no readable model, or the Hub refuses.
    """
    folder = locate_folder(folder)
    config, full = _check(folder, full, force)
    api, repo_id = _connect(repo_id, token)
    with temporary_folder() as staging:
        published = _collect_files(folder, staging, config, repo_id, full, with_code)
        with _explain_hub_errors(repo_id):
            api.create_repo(repo_id, private=private, exist_ok=True)
            if private and not api.model_info(repo_id).private:
                raise ValueError(
                    f"{repo_id} exists and is public: make it private in its settings, or choose another name."
                )
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            present = api.list_repo_files(repo_id, revision=revision)
            if CARD in present and is_unedited(published[CARD].read_bytes()):
                card = Path(api.hf_hub_download(repo_id, CARD, revision=revision)).read_bytes()
                if card == published[CARD].read_bytes():  # of the same command before
                    del published[CARD]
                elif not (folder / CARD).exists() or not is_unedited(card):
                    logger.warning(
                        "The model card of %s is kept: check that it describes these weights. To replace it, delete README.md there first.",
                        repo_id,
                    )
                    del published[CARD]
            outdated = find_outdated_files(present, published)
            deletions = [CommitOperationDelete(name) for name in outdated]
            additions = [CommitOperationAdd(*file) for file in published.items()]
            message = commit_message or f"Upload model with gffusion {__version__}"
            commit = api.create_commit(repo_id, [*deletions, *additions], commit_message=message, revision=revision)
            if outdated:
                logger.warning("%s: deleted files of an earlier model: %s.", repo_id, ", ".join(outdated))
            return str(commit.commit_url)


def find_published_files(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    full: bool | None = None,
    with_code: bool = False,
    force: bool = False,
) -> dict[str, int]:
    """Return the names and sizes in bytes of the files that [`push`] would publish, without network; arguments as there.

    Raises:
        ValueError: If the model has problems, or `repo_id` is not a repository name.
        OSError: If the folder has no readable model.

    Examples:
        >>> list(find_published_files("gffusion-funet", "lab/street"))
        ['model.safetensors', 'README.md', 'config.json', 'preprocessor_config.json']
    """
    folder = locate_folder(folder)
    config, full = _check(folder, full, force)
    with _explain_hub_errors(repo_id):
        validate_repo_id(repo_id)
    with temporary_folder() as staging:
        published = _collect_files(folder, staging, config, repo_id, full, with_code)
        sizes = {name: path.stat().st_size for name, path in published.items()}
        return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _check(folder: Path, full: bool | None, force: bool) -> tuple[GFFusionConfig, bool]:
    """Return the configuration, and whether the encoders are published; raise ValueError if the model has problems."""
    config = read_config(folder)
    full = config.backbone_weights == "included" if full is None else full
    problems = find_problems(folder, full=full)
    if problems and not force:
        raise ValueError(
            f"The model was not published: {'; '.join(problems)}. To publish it anyway, pass `force=True` or `--force`."
        )
    if own := [name for name in config.architectures or [] if name != GFFusionModel.__name__]:
        logger.warning(
            "The model was saved by %s, whose code is not published: others load GFFusionModel with its weights.",
            ", ".join(own),
        )
    return config, full


def push_model(
    model: GFFusionModel,
    repo_id: str,
    *,
    image_processor: GFFusionImageProcessor | None = None,
    full: bool | None = None,
    **options: Any,
) -> str:
    """Publish a model from memory, with a model card, and return the URL of the commit.

    A bundled model that was not changed is published with its card and its weight file. For other models, the card describes
    the architecture.

    Args:
        model: Model to publish.
        repo_id: Repository, `organization/name`, or `name` for your own account; created if needed.
        image_processor: Image processor of the model. Defaults to `GFFusionImageProcessor()`.
        full: Whether to include the frozen encoders. By default, they are included if the configuration names no source.
        options: Further arguments of [`push`].

    Raises:
        ValueError: If model or image processor have problems, or `repo_id` is not a repository name.
        OSError: If the Hub refuses.
    """
    check_can_be_saved(model)
    processor = GFFusionImageProcessor() if image_processor is None else image_processor
    if not isinstance(processor, BaseImageProcessor):
        raise ValueError(
            f"`image_processor` must be a GFFusionImageProcessor, got {processor!r:.200}: pass `load_image_processor(...)`."
        )
    with temporary_folder() as folder:
        try:
            model.save_pretrained(folder, include_backbones=full)
            if full is not False and (name := find_bundled(model)):
                for file in (CARD, SAFE_WEIGHTS_NAME):
                    shutil.copyfile(Path(locate(name), file), folder / file)
            processor.save_pretrained(folder)
            return push(folder, repo_id, **options)
        except ValueError as error:  # which names files of the temporary folder
            text = str(error).replace(str(folder / CONFIG_NAME), "`model.config`")
            raise ValueError(text.replace(str(folder / IMAGE_PROCESSOR_NAME), "`image_processor`")) from error


def prepare_repository(repo_id: str) -> None:
    """Create a repository if needed, and check write access before there is a model to publish.

    Raises:
        ValueError: If `repo_id` is not a repository name.
        OSError: If the Hub refuses or cannot be reached.
    """
    api, repo_id = _connect(repo_id, None)
    with _explain_hub_errors(repo_id):
        api.create_repo(repo_id, exist_ok=True)
        api.auth_check(repo_id, write=True)  # for an existing repository, create_repo needs no write access


def find_outdated_files(present: Iterable[str], published: Iterable[str]) -> list[str]:
    """Return the files of a repository to delete with a push: old weights, code of gffusion and adapters of PEFT that would still be loaded.

    All other files belong to the user and are kept. Code is deleted only next to gffusion's own model code.

    Examples:
        >>> find_outdated_files(["modeling_gffusion.py", "losses.py", "inference.py"], ["config.json"])
        ['modeling_gffusion.py', 'losses.py']
    """
    old = set(present) - set(published)
    # After a release, add the names of modules that were renamed or removed.
    code = TRAVELING_FILES if "modeling_gffusion.py" in present else frozenset()
    # With PEFT, AutoModel would load the base model of an adapter instead.
    weights = re.compile(
        r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|adapter_(config\.json|model\.safetensors)"
    )
    return [name for name in present if name in old and (name in code or weights.fullmatch(name))]


def _connect(repo_id: str, token: str | None) -> tuple[HfApi, str]:
    """Return a client, and the name of the repository with the account if no organization is given."""
    api = HfApi(token=token, library_name="gffusion", library_version=__version__)
    with _explain_hub_errors(repo_id):
        validate_repo_id(repo_id)
        if not can_reach_hub():
            raise OSError(
                f"The Hub at {constants.ENDPOINT} cannot be reached. Check the network, then repeat the command."
            )
        return api, repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"


def _collect_files(
    folder: Path, staging: Path, config: GFFusionConfig, repo_id: str, full: bool, with_code: bool
) -> dict[str, Path]:
    """Return the files to publish by name in the repository; files that differ from the folder are written to `staging`."""
    card = (folder / CARD).read_bytes() if (folder / CARD).is_file() and omit_outside([CARD], folder) else b""
    text = card.decode(errors="replace")
    images = find_mentioned_images(text, folder)
    found = {name: folder / name for name in omit_outside(images, folder)}
    if missing := [name for name in find_shown_images(text) if name not in images]:
        logger.warning("The model card shows images that are not in %s: %s.", folder, ", ".join(missing))
    if full and config.backbone_weights == "external":
        GFFusionModel.from_pretrained(folder).save_pretrained(staging, include_backbones=True)
        config.backbone_weights = "included"
    else:
        weights = find_weight_files(folder)
        index = [] if folder / SAFE_WEIGHTS_NAME in weights else [folder / SAFE_WEIGHTS_INDEX_NAME]
        found |= {path.name: path for path in [*weights, *index] if path.is_file()}
    _remove_local_paths(config, full)
    _save_settings(folder, staging, config, with_code)
    if card:
        _check_metadata(folder / CARD)
        (staging / CARD).write_bytes(set_source(card, repo_id))
    else:
        FusionCard(model_name=repo_id.rpartition("/")[2], hub_id=repo_id, config=config).save(staging)
    return found | {path.name: path for path in staging.iterdir()}


def _remove_local_paths(config: GFFusionConfig, full: bool) -> None:
    """Remove folders of this machine from a configuration, except those without which the model cannot be loaded."""
    for name in BACKBONE_CLASSES:
        option, encoder = f"{name}_name_or_path", getattr(config, f"{name}_config")
        if (full or not getattr(config, f"needs_{name}")) and not is_on_hub(getattr(config, option)):
            setattr(config, option, None)
        if encoder is not None and not is_on_hub(encoder._name_or_path):
            encoder._name_or_path = ""


def _check_metadata(card: Path) -> None:
    """Raise ValueError for metadata that the Hub would reject, before a repository is created."""
    try:
        ModelCardData(**read_front_matter(card))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{card} was not published: its metadata, between the lines '---', is not valid YAML for the Hub: {error}"
        ) from None


def _save_settings(folder: Path, staging: Path, config: GFFusionConfig, with_code: bool) -> None:
    """Write the configurations of model and image processor and, if requested, the code."""
    parts: dict[str, Any] = {"AutoConfig": config}
    if (folder / IMAGE_PROCESSOR_NAME).is_file():
        parts["AutoImageProcessor"] = load_image_processor(folder)
    for part in parts.values():
        part.__dict__.pop("auto_map", None)  # left by an earlier push
    if with_code:
        model: Any = build_on_meta(GFFusionModel, config)
        for name, part in ({"AutoModel": model} | parts).items():
            part._auto_class = name  # read by custom_object_save; the class would keep it for all later saves
            custom_object_save(part, staging, config=config if part is model else part)
            del part._auto_class
    for part in parts.values():
        part.save_pretrained(staging)


@contextlib.contextmanager
def _explain_hub_errors(repo_id: str) -> Iterator[None]:
    """Raise errors of the Hub client as ValueError or OSError that say what to do."""
    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a repository name such as organization/name: {error}") from None
    except (HTTPError, RuntimeError) as error:  # RuntimeError: an upload, whose cause has the details
        cause = error if isinstance(error, HTTPError) else error.__cause__
        if isinstance(cause, HTTPError) and not isinstance(cause, HfHubHTTPError):  # no answer
            raise OSError(
                f"The Hub cannot be reached ({cause}). Check the network, then repeat the command; files that were uploaded "
                "are not uploaded again."
            ) from error
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else 0
        remedies = {
            401: "log in with `hf auth login`, or pass a valid token as HF_TOKEN or `token`",
            403: f"the token needs write access to {repo_id.partition('/')[0]!r}, see its settings on the Hub",
            404: "it does not exist, or the token has no access to it",
        }
        remedy = remedies.get(status, "try again; files that were uploaded are not uploaded again")
        details = (cause.server_message if isinstance(cause, HfHubHTTPError) else None) or error
        raise OSError(f"Cannot publish {repo_id}: {remedy}. {details}") from error
