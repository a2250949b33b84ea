"""Find and read safetensors weight files in folders and on the Hub, with errors that name the remedy."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import safetensors.torch
from huggingface_hub import _CACHED_NO_EXIST, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session
from safetensors import SafetensorError
from torch import Tensor
from transformers.utils import ADAPTER_CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file, logging

from .json_files import describe_type, read_json_object
from .weight_checks import MisfitError

logger = logging.get_logger(__name__)

# Arguments of a request to the Hub besides name and revision.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "token")

NO_PICKLES = (
    "Pickled weights (.bin, .pt, .pth) can run code and are not read: convert them, for example with "
    "https://huggingface.co/spaces/safetensors/convert."
)

_NEW_PARTS = (
    "If you changed the configuration (`num_labels`, ...), `ignore_mismatched_sizes=True` gives new, untrained parts."
)
_OTHER_CONFIGURATION = (
    "If you changed the configuration, undo it: these weights belong to parts that cannot be initialized anew. "
    "`GFFusionModel.from_backbones` creates a new model of another configuration, to be trained."
)
_ADAPTERS = (
    "The model was saved with adapters, as PEFT adds them: merge them before saving (`merge_and_unload()` of a PeftModel), or add "
    "the same adapters to a model and give it these weights by `load_state_dict`."
)
_PACKAGE = Path(__file__).parents[2]
_REINSTALL = "install gffusion again: pip install --force-reinstall --no-deps gffusion"
_ANSWER_AGE = 60.0  # seconds for which an answer about the Hub is used again
_answers: dict[str, tuple[float, bool]] = {}


def limit_to_cache(source: str | os.PathLike[str], hub_arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a request, with `local_files_only` if the source is on the Hub and the Hub does not answer.

    Otherwise, the client of the Hub repeats each request for half a minute.
    """
    if os.path.isdir(source) or hub_arguments.get("local_files_only") or can_reach_hub():
        return hub_arguments
    logger.warning_once(
        f"{constants.ENDPOINT} does not answer: {os.fspath(source)} is looked for in the cache, which may be older."
    )
    return {**hub_arguments, "local_files_only": True}


def can_reach_hub() -> bool:
    """Return whether the Hub answers within the client's time limit (HF_HUB_ETAG_TIMEOUT), in one of two attempts."""
    endpoint, now = constants.ENDPOINT, time.monotonic()
    if constants.HF_HUB_OFFLINE:
        return True  # the client says so at once
    asked, answer = _answers.get(endpoint, (-_ANSWER_AGE, False))
    if now - asked < _ANSWER_AGE:
        return answer
    for attempt in range(2):
        try:
            get_session().head(endpoint, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            answer = True
        except HTTPError:
            answer = False
        if answer or time.monotonic() - now > constants.HF_HUB_ETAG_TIMEOUT / 2:
            break
        time.sleep(1 - attempt)
    _answers[endpoint] = time.monotonic(), answer
    return answer


def warn_about_adapter(source: str | os.PathLike[str], subfolder: str) -> None:
    """Warn if a folder has an adapter of PEFT, which is not loaded with a model."""
    folder = str(Path(source, subfolder))
    if os.path.isfile(os.path.join(folder, ADAPTER_CONFIG_NAME)):
        logger.warning(
            f"{folder} has an adapter ({ADAPTER_CONFIG_NAME}), which is not loaded with the model: load the model that it was "
            f"trained with, then call `model.load_adapter({folder!r})`."
        )


def read_weights(paths: Sequence[str]) -> dict[str, Tensor]:
    """Read safetensors files."""
    return {name: value for path in paths for name, value in safetensors.torch.load_file(path).items()}


def read_index(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the shards that an index lists; raise OSError for others than .safetensors files in its folder."""
    places = read_json_object(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise OSError(
            f"{os.fspath(path)}: `weight_map` must be an object of files by tensor, got {describe_type(places)}"
        )
    for tensor, shard in places.items():
        if not isinstance(shard, str) or PurePath(shard).name != shard or not shard.endswith(".safetensors"):
            raise OSError(
                f"{os.fspath(path)} lists {shard!r} for {tensor!r}, but weight files must be .safetensors files in the same "
                "folder."
            )
    return sorted(set(places.values()))


def find_file(source: str | os.PathLike[str], name: str, subfolder: str = "", **hub_arguments: Any) -> str | None:
    """Return the local path of a file of a checkpoint, downloaded if necessary, or `None` if the checkpoint lacks it.

    Unlike transformers' `cached_file`, this raises OSError if the Hub does not answer and the cache does not have the file, so that
    callers do not fall back to a default.
    """
    if os.path.isdir(source):
        path = Path(source, subfolder, name)
        return str(path) if path.is_file() else None
    place: dict[str, Any] = {key: hub_arguments.get(key) for key in ("cache_dir", "revision")}
    options = {key: value for key, value in hub_arguments.items() if key not in {*place, "proxies"}}
    repo_id, file = os.fspath(source), str(PurePosixPath(subfolder, name))
    try:
        return hf_hub_download(repo_id, file, **place, **options)
    except LocalEntryNotFoundError:
        if try_to_load_from_cache(repo_id, file, **place) is _CACHED_NO_EXIST:
            return None
        raise
    except EntryNotFoundError:
        return None


@contextlib.contextmanager
def explained(what: str, source: str | os.PathLike[str], hint: str = "") -> Iterator[None]:
    """Convert errors inside the block to an `OSError` that says what to do, and ends with the hint."""
    is_bundled = _PACKAGE in Path(source).absolute().parents
    try:
        yield
    except (SafetensorError, KeyError) as error:
        advice = _REINSTALL if is_bundled else "download them again"
        raise OSError(f"The files of {what} in {os.fspath(source)!r} are damaged, {advice} ({error})") from error
    except OSError as error:
        if isinstance(error, MisfitError):
            advice = _NEW_PARTS if error.needs_new_parts else _OTHER_CONFIGURATION
            hint = f"{hint} {_ADAPTERS if error.has_adapters else advice}"
        elif is_bundled:
            hint = f"{hint} To restore the files, {_REINSTALL}"
        reason = _reason(error, source)
        parts = [reason if reason.endswith((".", "?")) else f"{reason}.", *hint.split()]
        raise OSError(f"Cannot load {what} from {os.fspath(source)!r}: {' '.join(parts)}") from error
    except HTTPError as error:
        raise OSError(
            f"Cannot load {what} from {os.fspath(source)!r}: the download was interrupted ({error}). Try again."
        ) from error


def locate_weights(source: str | os.PathLike[str], variant: str | None = None, **hub_arguments: Any) -> list[str]:
    """Return the local paths of a checkpoint's safetensors file or shards, downloaded if necessary; raise OSError without them.

    The variant is a part of the file names, such as "fp16".
    """
    single, index = (_add_variant(name, variant) for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
    unanswered = None
    for name in (single, index):
        try:
            path = find_file(source, name, **hub_arguments)
        except LocalEntryNotFoundError as error:  # a sharded checkpoint has no single file in the cache
            path, unanswered = None, unanswered or error
        if path is not None:
            break
    else:
        raise unanswered or OSError(f"it contains no {single}.{_name_variants(source)} {NO_PICKLES}")
    if name == single:
        return [path]
    shards = read_index(path)
    if os.path.isdir(source):
        files = [Path(path).with_name(shard) for shard in shards]
        if missing := [file.name for file in files if not file.is_file()]:
            raise OSError(f"{name} lists {missing[0]!r}, which is missing")
        return [str(file) for file in files]
    return [cached_file(source, shard, **hub_arguments) for shard in shards]


@contextlib.contextmanager
def replaced_weights(folder: Path, variant: str | None = None) -> Iterator[None]:
    """Remove what the block, which saves a checkpoint in the folder, did not replace.

    That is an index of earlier shards beside a new single file, or an earlier single file beside new shards.
    """
    single, index = (folder / _add_variant(name, variant) for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
    earlier = index.stat() if index.is_file() else None
    yield
    if single.is_file() and index.is_file():
        is_earlier = earlier is not None and index.stat().st_mtime_ns == earlier.st_mtime_ns
        (index if is_earlier else single).unlink()


def _add_variant(name: str, variant: str | None) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}" if variant else name


def _name_variants(source: str | os.PathLike[str]) -> str:
    """Return a sentence on the variants of the weights in a folder, or an empty text."""
    stem, _, suffix = SAFE_WEIGHTS_NAME.rpartition(".")
    names = [path.name.split(".")[1] for path in Path(source).glob(f"{stem}.*.{suffix}")]
    found = sorted({re.sub(r"-\d+-of-\d+$", "", name) for name in names})  # without the number of a shard
    return f" It has variants: pass variant={' or '.join(map(repr, found))}." if found else ""


def _reason(error: OSError, source: str | os.PathLike[str]) -> str:
    """Return cause and remedy for an error of the Hub client that transformers wrapped."""
    is_wrapped = isinstance(error.__cause__, OSError) and not isinstance(error, LocalEntryNotFoundError)
    cause = error.__cause__ if is_wrapped else error
    login = "log in with `hf auth login`, set HF_TOKEN, or pass `token`."
    match cause:
        case GatedRepoError():
            return f"access to it is restricted. Request access on {constants.ENDPOINT}/{source}, then {login}"
        case RepositoryNotFoundError():
            return (
                "it is neither a local folder nor a visible repository on the Hub. Check the name; for a private "
                f"repository, {login}"
            )
        case RevisionNotFoundError():
            return f"this revision does not exist. See {constants.ENDPOINT}/{source}/tree/main for branches and tags."
        case _ if isinstance(error.__cause__, HFValidationError):
            return "it is neither a local folder nor the name of a repository on the Hub."
        case LocalEntryNotFoundError() if isinstance(answer := cause.__cause__, HfHubHTTPError | FileMetadataError):
            return (
                f"it is not in the cache, and {constants.ENDPOINT} gives no usable answer ({str(answer).splitlines()[0].rstrip('.')}). Repeat the "
                "command later; if HF_ENDPOINT names a mirror, check it."
            )
        case LocalEntryNotFoundError() | OfflineModeIsEnabled():
            return (
                "it is not in the cache, and the Hub cannot be reached or is disabled (HF_HUB_OFFLINE, local_files_only). "
                f"On a machine with network access, `hf download {source}` fills the cache, and `gffusion pull` creates a "
                "folder with a complete model that needs no network."
            )
        case HfHubHTTPError() if cause.response.status_code == 401:
            return (
                "the Hub rejects the token. Log in again with `hf auth login`, or pass a valid one as HF_TOKEN or "
                "`token`."
            )
        case _:
            return " ".join(str(error).split())
