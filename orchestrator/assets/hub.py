"""Say what to do when the hub cannot be reached or refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.core.errors import AssetError

HINT = (
    "Check the name, its revision and the network. A private or gated repository needs HF_TOKEN. If it was downloaded "
    "before, HF_HUB_OFFLINE=1 uses that copy. A local path works without the hub."
)


@contextmanager
def unreachable(what: str) -> Iterator[None]:
    """Turn what Hugging Face's libraries raise for a missing, refused or unreachable repository into ``AssetError``."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        yield
    except (OSError, HfHubHTTPError, EntryNotFoundError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AssetError(f"{what} could not be loaded from the hub: {reason.strip()}\n{HINT}") from error
