"""Errors of the Hugging Face hub, and offline mode if the hub does not answer."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.core.errors import AssetError
from orchestrator.core.system.disk import disk_fault, unwritable

ANSWER_S = 4.0
"""Timeout in seconds, for the connection and again for the answer."""
TRIES = 2
"""Number of requests without an answer before the hub counts as unreachable. A busy machine may miss one answer."""
HINT = (
    "Check the name, its revision and the network; HF_ENDPOINT names a mirror. A private or gated repository needs "
    "HF_TOKEN. HF_HUB_OFFLINE=1 uses an earlier download. Local paths and packaged names (see `doctor`) work without "
    "the hub."
)

_UNREACHABLE: dict[str, str] = {}
"""Reason by endpoint, for hubs without an answer; this process stays offline for them."""


@contextmanager
def hub_errors(asset: str) -> Iterator[None]:
    """Raise ``AssetError`` for a missing, refused or unreachable repository in the block.

    If the hub does not answer, the block runs in offline mode: it uses earlier downloads, or fails at once.

    Args:
        asset: the model or data set, for the message.
    """
    problem = _go_offline_if_unreachable()
    try:
        yield
    except _http_errors() as error:
        if problem is None and (refusal := _refusal(error)) is not None:
            raise AssetError(f"{asset} could not be loaded from the hub: {refusal}") from error
        if (why := disk_fault(error)) is not None:
            cache = "the hub's cache (set HF_HOME to another folder)"
            raise AssetError(f"{asset} could not be loaded from the hub: {unwritable(cache, why)}") from error
        message = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
        reason = message if problem is None else f"{problem}, and there is no local copy"
        raise AssetError(f"{asset} could not be loaded from the hub: {reason}\n{HINT}") from error


def _http_errors() -> tuple[type[Exception], ...]:
    """Return the base of the HTTP client's errors, and those of huggingface_hub's own ones.

    The client's errors, such as an answer that ends too early, reach us unchanged.
    """
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    client = next(base for base in HfHubHTTPError.__bases__ if base is not OSError)
    return client, OSError, EntryNotFoundError


def _refusal(error: BaseException) -> str | None:
    """Return the hub's answer and the remedy in one sentence each; None if the reason is another one.

    transformers and datasets raise errors of their own from those of huggingface_hub.
    """
    from huggingface_hub import errors

    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for kind, sentence in (
        (
            errors.GatedRepoError,
            "it is gated. Accept its conditions on its page on the hub, and set HF_TOKEN to a token of this account.",
        ),
        (errors.RevisionNotFoundError, "it has no such revision. Name a commit, tag or branch that exists."),
        (
            errors.RepositoryNotFoundError,
            "it does not exist, or it is private. Check the name; a private repository needs HF_TOKEN.",
        ),
    ):
        if any(isinstance(each, kind) for each in chain):
            return sentence
    missing = next((each for each in chain if isinstance(each, errors.RemoteEntryNotFoundError)), None)
    if missing is None:
        client = _http_errors()[0]
        if any(isinstance(each, client) and not isinstance(each, errors.HfHubHTTPError) for each in chain):
            return "the connection ended before its files were complete. Run the command again."
        return None
    file = str(missing.response.url).rpartition("/")[2]
    return f"it has no {file}. Name a repository with files for transformers or datasets."


def _go_offline_if_unreachable() -> str | None:
    """Switch to offline mode if the hub does not answer, and return the reason; None if it answers.

    Online, the libraries would retry every file, for more than a minute in all.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return _UNREACHABLE.get(constants.ENDPOINT)  # None if the user chose offline mode
    problem = _request_problem(constants.ENDPOINT)
    if problem is not None:
        _UNREACHABLE[constants.ENDPOINT] = problem
        # The libraries read the variable once. It applies to later imports and to child processes.
        os.environ["HF_HUB_OFFLINE"] = "1"
        constants.HF_HUB_OFFLINE = True
    return problem


@functools.cache
def _request_problem(endpoint: str) -> str | None:
    """Return why ``endpoint`` did not answer a request; None after any answer. The result is cached."""
    from huggingface_hub import get_session

    problem = ""
    for _ in range(TRIES):
        try:
            get_session().head(endpoint, timeout=ANSWER_S)
        except Exception as error:  # noqa: BLE001  (any error of the HTTP client means no answer; the message has it)
            problem = f"{endpoint} does not answer ({str(error).strip() or type(error).__name__})"
        else:
            return None
    return problem
