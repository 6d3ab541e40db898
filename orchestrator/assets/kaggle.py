"""Base models from Kaggle, through the optional package ``kagglehub``. It has its own cache and credentials."""

import logging
from pathlib import Path

from orchestrator.core.errors import AssetError, ModelError, UserError, first_line
from orchestrator.core.system.disk import disk_fault, unwritable

_REMEDY = (
    "Check the name OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION] and the network. A private model, or one with "
    "conditions, needs KAGGLE_API_TOKEN and your consent on its page. Offline, name the number of a downloaded version."
)


def kaggle_model(handle: str) -> Path:
    """Return the folder of a Kaggle model, downloaded into kagglehub's cache. Its name is the version's number.

    Args:
        handle: ``OWNER/MODEL/FRAMEWORK/VARIATION``, the newest version, or with ``/VERSION`` at its end.

    Raises:
        UserError: kagglehub is not installed.
        AssetError: the model does not exist, is refused, or cannot be downloaded.
        ModelError: the files are not a transformers model.
    """
    try:
        import kagglehub
    except ImportError as error:
        raise UserError(f"kaggle:{handle} needs the package kagglehub: pip install 'loratory[kaggle]'") from error
    logging.getLogger("kagglehub").setLevel(logging.ERROR)
    try:
        folder = Path(kagglehub.model_download(handle))
    except Exception as error:  # kagglehub has no common base of its errors; the message has it
        if (why := disk_fault(error)) is not None:
            cache = "Kaggle's cache (set KAGGLEHUB_CACHE to another folder)"
            raise AssetError(f"model kaggle:{handle} could not be loaded: {unwritable(cache, why)}") from error
        reason = "Kaggle does not answer." if _is_unreachable(error) else first_line(error)
        raise AssetError(f"model kaggle:{handle} could not be loaded: {reason} {_REMEDY}") from error
    if not (folder / "config.json").is_file():
        files = sorted(path.name for path in folder.iterdir())
        raise ModelError(
            f"kaggle:{handle} is not a transformers model: {folder} has no config.json, it has "
            f"{', '.join(files[:5]) or 'no files'}. Name its variation for transformers or PyTorch."
        )
    return folder


def _is_unreachable(error: Exception) -> bool:
    """Return whether no server answered; the text of such an error has the names of classes and functions."""
    import requests

    return isinstance(error, requests.ConnectionError | requests.Timeout)
