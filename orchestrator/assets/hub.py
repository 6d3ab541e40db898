"""The hub: whether it answers, and what to do when it does not, or refuses."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.core.errors import AssetError

ANSWER_S = 4.0
"""Seconds within which the hub must take a connection, and again answer on it."""
TRIES = 2
"""A single late answer, of a busy machine say, is no silence."""
HINT = (
    "Check the name, its revision and the network; HF_ENDPOINT names a mirror. A private or gated repository needs "
    "HF_TOKEN. If it was downloaded before, HF_HUB_OFFLINE=1 uses that copy. A local path works without the hub, and "
    "so does a packaged name (`doctor` lists them)."
)

_FOUND_SILENT: dict[str, str] = {}
"""Hubs that this process does without, and how they failed to answer, in words."""


@contextmanager
def unreachable(what: str) -> Iterator[None]:
    """Turn what Hugging Face's libraries raise for a missing, refused or unreachable repository into ``AssetError``.

    If the hub does not answer at all, copies of earlier downloads are used, and what has none fails at once.
    """
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    silence = _without_a_silent_hub()
    try:
        yield
    except (OSError, HfHubHTTPError, EntryNotFoundError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
        reason = said if silence is None else f"{silence}, and there is no copy of it here"
        raise AssetError(f"{what} could not be loaded from the hub: {reason}\n{HINT}") from error


def _without_a_silent_hub() -> str | None:
    """Go offline if the hub does not answer, and return in words what was tried; None if it does, or is not asked.

    The libraries would try every file again and again, for more than a minute in all.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return _FOUND_SILENT.get(constants.ENDPOINT)  # not there: the user went offline, and knows
    silence = _silence(constants.ENDPOINT)
    if silence is not None:
        _FOUND_SILENT[constants.ENDPOINT] = silence
        # They read the variable once. It reaches those that are not imported yet, and processes that we start.
        os.environ["HF_HUB_OFFLINE"] = "1"
        constants.HF_HUB_OFFLINE = True
    return silence


@functools.cache
def _silence(endpoint: str) -> str | None:
    """Return in words how ``endpoint`` failed to answer a short request; None if it said anything. Asked once."""
    from huggingface_hub import get_session

    told = ""
    for _ in range(TRIES):
        try:
            get_session().head(endpoint, timeout=ANSWER_S)
        except Exception as error:  # noqa: BLE001  whatever the client raises, nobody answered; the words are passed on
            told = f"{endpoint} does not answer ({str(error).strip() or type(error).__name__})"
        else:
            return None
    return told
