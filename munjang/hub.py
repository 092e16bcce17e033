"""The door for the Hugging Face hub: short waits, one clear error, and `HF_HUB_OFFLINE` honoured."""

from __future__ import annotations

import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from munjang.errors import MissingInputError, MunjangError, UnavailableError

#: Seconds until an unreachable hub is given up; huggingface_hub's own retries take minutes.
REACH_TIMEOUT = 5.0


def is_offline() -> bool:
    """True if the user asked for no network (`HF_HUB_OFFLINE=1` or `TRANSFORMERS_OFFLINE=1`)."""
    return any(
        os.environ.get(v, "").upper() in {"1", "ON", "YES", "TRUE"} for v in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def require_hub(what: str, hint: str) -> None:
    """Check within `REACH_TIMEOUT` seconds that the hub answers.

    Args:
        what: what is wanted from it, for the message.
        hint: what to do without a hub.

    Raises:
        UnavailableError: the user asked for no network, or the hub does not answer.
    """
    if is_offline():
        raise UnavailableError(f"{what} is not on this machine and HF_HUB_OFFLINE forbids to fetch it", hint=hint)
    problem = _knock()
    if problem:
        raise UnavailableError(
            f"{what} is not on this machine and the model hub cannot be reached",
            where=_endpoint(),
            got=problem,
            hint=hint,
        )


def _knock() -> str | None:
    """Ask the hub for anything at all; returns what went wrong, or None if it answered, whatever it said."""
    outcome: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(_endpoint(), method="HEAD")
            urllib.request.urlopen(request, timeout=REACH_TIMEOUT).close()
            outcome.append(None)
        except urllib.error.HTTPError:
            outcome.append(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.append(str(getattr(error, "reason", None) or error) or type(error).__name__)

    # Looking a name up has no time limit of its own, so the whole attempt runs beside us.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_TIMEOUT)
    return outcome[0] if outcome else f"no answer within {REACH_TIMEOUT:g} s"


def fetch_dataset_file(repository: str, config: str, split: str, hint: str) -> Path:
    """The Parquet file of a data set on the hub, from the local cache or downloaded.

    Args:
        repository: such as `klue/klue`.
        config: the configuration's name, `default` where there is one only.
        split: the split's name on the hub.
        hint: what to do without a hub.

    Raises:
        UnavailableError: no hub. MissingInputError: the hub has no such file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    arguments = {
        "repo_id": repository,
        "filename": f"{config}/{split}/0000.parquet",
        "repo_type": "dataset",
        # The hub converts every data set to Parquet under this revision, so no code of the data set runs here.
        "revision": "refs/convert/parquet",
    }
    try:
        return Path(hf_hub_download(**arguments, local_files_only=True))
    except LocalEntryNotFoundError:
        require_hub(f"the data set {repository}", hint)
    try:
        address = hf_hub_url(**{key: arguments[key] for key in ("repo_id", "filename", "repo_type", "revision")})
        _within_deadline(lambda: get_hf_file_metadata(address, timeout=REACH_TIMEOUT))
        return Path(hf_hub_download(**arguments, etag_timeout=REACH_TIMEOUT))
    except Exception as error:
        raise _translated(error, f"{config}/{split} of {repository}", hint) from None


def fetch_model(repository: str, hint: str, check: Callable[[Path], None] = lambda folder: None) -> Path:
    """The snapshot folder of a model on the hub, from the local cache or downloaded (safetensors only).

    Args:
        repository: such as `intfloat/multilingual-e5-small`.
        hint: what to do without a hub.
        check: raises where a folder is not whole; so a download that was broken off is taken up again.

    Raises:
        UnavailableError: no hub. MissingInputError: the hub has no such model. Whatever `check` raises.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*/*.json", "*/*.safetensors", "README.md"]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
        check(folder)
        return folder
    except HFValidationError as error:
        raise MissingInputError(
            f"no model named {repository!r}", got=str(error).splitlines()[0][:200], hint=hint
        ) from None
    except (LocalEntryNotFoundError, OSError, MunjangError):
        require_hub(f"the model {repository!r}", hint)
    try:
        _within_deadline(lambda: HfApi().model_info(repository, timeout=REACH_TIMEOUT))
        folder = Path(snapshot_download(repository, allow_patterns=patterns, etag_timeout=REACH_TIMEOUT))
    except Exception as error:
        raise _translated(error, f"model {repository!r}", hint) from None
    check(folder)
    return folder


def _within_deadline(ask: Callable[[], object]) -> None:
    """Ask the hub one small thing and give it up after `REACH_TIMEOUT`, whatever its client would retry.

    Raises:
        TimeoutError: no answer in time. Whatever `ask` raises.
    """
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            ask()
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(REACH_TIMEOUT)
    if not outcome:
        raise TimeoutError(f"no answer within {REACH_TIMEOUT:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def _translated(error: Exception, what: str, hint: str) -> MunjangError:
    """An error of the hub's client, whatever its HTTP library raised, as one of ours."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    got = " ".join(str(error).split())[:200] or type(error).__name__
    # "Not here and not reached" is a kind of "not found" to the client, but not to the user.
    absent = isinstance(error, RepositoryNotFoundError | EntryNotFoundError | RevisionNotFoundError)
    absent = absent or getattr(getattr(error, "response", None), "status_code", None) == 404
    if absent and not isinstance(error, LocalEntryNotFoundError):
        return MissingInputError(f"the hub has no {what}", got=got, hint=hint)
    return UnavailableError(f"the hub did not give {what}", where=_endpoint(), got=got, hint=hint)
