"""Publishing: folders with models to the Hub, and models with all that they need into folders that load offline."""

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, cached_file

from gffusion._version import __version__
from gffusion.models.gffusion.checkpointing import BACKBONE_CLASSES
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo.registry import create_model, load_image_processor, locate

from .cards import FusionCard
from .inspection import find_problems, is_on_hub, read_config, weight_files
from .rendering import is_untouched, with_source

logger = logging.getLogger(__name__)

CARD = "README.md"

PICTURES = ("*.png", "*.jpg", "*.jpeg", "*.webp")

# What a repository must not keep from an older version: shards and code would be loaded beside the new files. What else
# is there, somebody has put there.
_CODE = frozenset(
    {
        "checkpointing.py",
        "config_limits.py",
        "configuration_gffusion.py",
        "finet.py",
        "funet.py",
        "image_ops.py",
        "image_processing_gffusion.py",
        "losses.py",
        "modeling_gffusion.py",
        "ssnet.py",
        "weight_files.py",
        # Names of earlier versions.
        "backbones.py",
        "functional.py",
        "safety.py",
    }
)
_REPLACED = ("model*.safetensors", "model*.safetensors.index.json")


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    full: bool = False,
    with_code: bool = False,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    force: bool = False,
    token: str | None = None,
) -> str:
    """Publish the model of a folder, in one commit: weights, configuration, image processor, card and its pictures.

    What was sent before an interruption is not sent again. The snippet of a generated card then loads from the repository;
    a card that a person has edited stays as it is, in the folder and in the repository, unless both are edited: then the
    folder's is the newer one. A folder without card gets one with the facts of the architecture, unless the repository has
    a card already.

    Args:
        folder: Folder with the model, as `save_pretrained` or a training leaves it.
        repo_id: Repository, `organisation/name`, or `name` for one of your own; created if needed.
        full: Whether to add the frozen encoders. Otherwise they stay where the configuration names them.
        with_code: Whether to add the code, so that people without gffusion can load the model by
            `AutoModel.from_pretrained(repo_id, trust_remote_code=True)`.
        private: Whether a new repository is private. Defaults to what the organisation prefers.
        revision: Branch, created if needed. Defaults to `main`.
        commit_message: First line of the commit. Defaults to naming gffusion and its version.
        force: Whether to publish in spite of what [`find_problems`] finds.
        token: Access token. Defaults to the one that `hf auth login` has stored.

    Returns:
        The address of the commit.

    Raises:
        ValueError: If the folder should not be published as it is, or `repo_id` is no name of a repository.
        OSError: If the folder holds no model that can be read, or the Hub refuses.
    """
    folder = Path(folder)
    config = read_config(folder)
    problems = find_problems(folder, full=full)
    if problems and not force:
        raise ValueError(
            f"{folder} was not published: {'; '.join(problems)}. To publish all the same, force it (`force`, --force)."
        )
    message = commit_message or f"Upload model with gffusion {__version__}"
    api = _client(token)
    repo_id = _full_name(api, repo_id)
    with tempfile.TemporaryDirectory() as staging:
        files = _stage(folder, Path(staging), config, repo_id, full, with_code)
        with _explained(repo_id):
            return _upload(api, files, repo_id, private, revision, message, keep_card=not (folder / CARD).exists())


def prepare_repository(repo_id: str, *, token: str | None = None) -> None:
    """Create a repository unless it exists, and make sure that it may be written to, before there is a model to publish.

    Args:
        repo_id: Repository, `organisation/name`, or `name` for one of your own.
        token: Access token. Defaults to the one that `hf auth login` has stored.

    Raises:
        ValueError: If `repo_id` is no name of a repository.
        OSError: If the Hub refuses, or cannot be reached.
    """
    api = _client(token)
    repo_id = _full_name(api, repo_id)
    with _explained(repo_id):
        api.create_repo(repo_id, exist_ok=True)
        api.auth_check(repo_id, write=True)  # the line above is content with seeing a repository that exists


def pull(
    name: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
) -> Path:
    """Fetch a model with its frozen encoders into one folder, which loads without network, on any machine.

    Whole or not at all; what the Hub's cache has is not fetched again.

    Args:
        name: Name of a model of the zoo, folder, or Hub id.
        folder: Folder to make.
        revision: Branch, tag or commit of a model on the Hub.
        token: Access token. Defaults to the one that `hf auth login` has stored.

    Returns:
        The folder.

    Raises:
        FileExistsError: If `folder` exists and is not empty.
        OSError: If there is no such model, or it cannot be fetched or written.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: choose another one, or remove it.")
    given = {"revision": revision, "token": token}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    model = create_model(name, **options)
    processor = load_image_processor(name, **options)
    card = cached_file(locate(name), CARD, _raise_exceptions_for_missing_entries=False, **options)
    folder = folder.absolute()  # "." has no name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as staging:
            whole = Path(staging) / folder.name
            model.save_pretrained(whole, include_backbones=True)
            processor.save_pretrained(whole)
            if card is not None:
                shutil.copyfile(card, whole / CARD)
            if folder.exists():
                folder.rmdir()
            whole.rename(folder)
    except OSError as error:
        raise OSError(f"Cannot write {folder}: {error}. Name another folder, or free its place.") from error
    return folder


def push_model(model: GFFusionModel, repo_id: str, *, full: bool | None = None, **options: Any) -> str:
    """Publish a model from memory, with the default image processor.

    Args:
        model: The model.
        repo_id: Repository, `organisation/name`; created if needed.
        full: Whether to add the frozen encoders. Defaults to doing so where no source is known that holds them.
        options: Further arguments of [`push`].

    Returns:
        The address of the commit.

    Raises:
        ValueError: If the model should not be published as it is, or `repo_id` is no name of a repository.
        OSError: If the Hub refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, include_backbones=full)
        GFFusionImageProcessor().save_pretrained(folder)
        return push(
            folder, repo_id, full=GFFusionConfig.from_pretrained(folder).backbone_weights == "included", **options
        )


def _client(token: str | None) -> HfApi:
    return HfApi(token=token, library_name="gffusion", library_version=__version__)


def _full_name(api: HfApi, repo_id: str) -> str:
    """Return `organisation/name` of a repository that may be one of the user's own."""
    with _explained(repo_id):
        validate_repo_id(repo_id)
        return repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"


def _stage(
    folder: Path, staging: Path, config: GFFusionConfig, repo_id: str, full: bool, with_code: bool
) -> dict[str, Path]:
    """Return what is to be published, by its name in the repository; what is not in the folder goes to `staging`."""
    card = (folder / CARD).read_bytes() if (folder / CARD).is_file() else b""
    pictures = [path for pattern in PICTURES for path in folder.glob(pattern)]
    files = {path.name: path for path in pictures if path.name in _shown(card)}
    if full and config.backbone_weights == "external":
        model = GFFusionModel.from_pretrained(folder)
        model.save_pretrained(staging, include_backbones=True)
        config.backbone_weights = "included"
    else:
        weights = [*weight_files(folder), folder / SAFE_WEIGHTS_INDEX_NAME]
        files |= {path.name: path for path in weights if path.is_file()}
    if full:
        for name in BACKBONE_CLASSES:  # the folders of whoever publishes are nobody's business
            if not is_on_hub(getattr(config, f"{name}_name_or_path")):
                setattr(config, f"{name}_name_or_path", None)
    _save_settings(folder, staging, config, with_code)
    if card:
        _check_metadata(folder / CARD)
        (staging / CARD).write_bytes(with_source(card, repo_id))
    else:
        _make_card(config, repo_id).save(staging)
    return files | {path.name: path for path in staging.iterdir()}


def _check_metadata(card: Path) -> None:
    """Find out before there is a repository what the Hub would refuse."""
    try:
        ModelCard(card.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(
            f"{card} was not published: its metadata, between the lines '---', is no YAML that the Hub reads: {error}"
        ) from None


def _shown(card: bytes) -> set[str]:
    """Return the names of files that a card may show, in Markdown or HTML."""
    return {
        unquote(word).rpartition("/")[2] for word in re.findall(r"[^\s()\[\]<>\"']+", card.decode(errors="replace"))
    }


def _save_settings(folder: Path, staging: Path, config: GFFusionConfig, with_code: bool) -> None:
    """Write the configurations of model and image processor, and the code if it is wanted."""
    processors = (
        [GFFusionImageProcessor.from_pretrained(folder)] if (folder / "preprocessor_config.json").is_file() else []
    )
    for part in (config, *processors):
        part.__dict__.pop("auto_map", None)  # of an earlier publication
    with _carrying_code() if with_code else contextlib.nullcontext():
        if with_code:
            with torch.device("meta"):
                custom_object_save(GFFusionModel(config), staging, config=config)
        for part in (config, *processors):
            part.save_pretrained(staging)


@contextlib.contextmanager
def _carrying_code() -> Iterator[None]:
    """Let the classes save their code with them; otherwise every later save of this process would do so, too."""
    classes: dict[Any, str] = {
        GFFusionConfig: "AutoConfig",
        GFFusionModel: "AutoModel",
        GFFusionImageProcessor: "AutoImageProcessor",
    }
    previous = {cls: cls._auto_class for cls in classes}
    try:
        for cls, name in classes.items():
            cls.register_for_auto_class(name)
        yield
    finally:
        for cls, name in previous.items():
            cls._auto_class = name


def _make_card(config: GFFusionConfig, repo_id: str) -> FusionCard:
    with torch.device("meta"):
        model = GFFusionModel(config)
    return FusionCard(
        model_name=repo_id.rpartition("/")[2],
        hub_id=repo_id,
        config=config,
        parameters=model.num_parameters(),
        trainable_parameters=model.num_parameters(only_trainable=True),
    )


def _upload(
    api: HfApi,
    files: dict[str, Path],
    repo_id: str,
    private: bool | None,
    revision: str | None,
    message: str,
    keep_card: bool,
) -> str:
    """Make one commit of the files; what an older version left, and would be loaded beside them, goes."""
    api.create_repo(repo_id, private=private, exist_ok=True)
    if private and not api.model_info(repo_id).private:
        raise ValueError(f"{repo_id} exists and is public: make it private in its settings, or name another one.")
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    present = api.list_repo_files(repo_id, revision=revision)
    if CARD in present and is_untouched(files[CARD].read_bytes()):
        published = Path(api.hf_hub_download(repo_id, CARD, revision=revision)).read_bytes()
        if keep_card or not is_untouched(published):
            logger.warning(
                "The card of %s stays as it is: make sure that it tells the truth of these weights.", repo_id
            )
            del files[CARD]
    old = [name for name in present if name not in files and "/" not in name]
    outdated = [name for name in old if name in _CODE or any(fnmatch(name, pattern) for pattern in _REPLACED)]
    operations = [*map(CommitOperationDelete, outdated), *(CommitOperationAdd(*file) for file in files.items())]
    return str(api.create_commit(repo_id, operations, commit_message=message, revision=revision).commit_url)


@contextlib.contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Say what to do where the Hub refuses, or cannot be reached."""
    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no name of a repository such as organisation/name: {error}") from None
    except (HTTPError, RuntimeError) as error:  # RuntimeError: an upload, whose cause says more
        cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else 0
        remedies = {
            401: "log in with `hf auth login`, or give a valid token as HF_TOKEN or `token`",
            403: f"the token needs the right to write to {repo_id.partition('/')[0]!r}, which its settings on the Hub show",
            404: "it is not there, or the token may not see it",
        }
        remedy = remedies.get(status, "try again; what has been sent is not sent again")
        said = (cause.server_message if isinstance(cause, HfHubHTTPError) else None) or error
        raise OSError(f"Cannot publish {repo_id}: {remedy}. {said}") from error
