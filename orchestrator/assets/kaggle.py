"""Base models from Kaggle, through the optional package ``kagglehub``. It has its own cache and credentials."""

import logging
from http import HTTPStatus
from pathlib import Path

from orchestrator.core.errors import AssetError, ModelError, UserError, first_line
from orchestrator.core.system.disk import disk_fault, unwritable

_NAME = "Check the name OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]"


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
        raise AssetError(f"model kaggle:{handle} could not be loaded: {_reason(error, handle)}") from error
    if not (folder / "config.json").is_file():
        files = sorted(path.name for path in folder.iterdir())
        raise ModelError(
            f"kaggle:{handle} is not a transformers model: {folder} has no config.json, it has "
            f"{', '.join(files[:5]) or 'no files'}. Name its variation for transformers or PyTorch."
        )
    return folder


def _reason(error: Exception, handle: str) -> str:
    """Return why a download failed, and the remedy. The errors' own texts have several lines, or names of classes."""
    import requests
    from kagglehub.exceptions import DataCorruptionError

    # The end of an answer is an error of the connection too.
    if isinstance(error, requests.exceptions.ChunkedEncodingError | DataCorruptionError):
        return "The download is incomplete. Run the command again."
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return "Kaggle does not answer. Check the network; offline, name the number of a downloaded version."
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == HTTPStatus.NOT_FOUND:
        return f"Kaggle has no such model, variation or version. {_NAME}."
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        page = "/".join(handle.split("/")[:2])
        return (
            f"Kaggle refuses it. Accept its conditions, if it has some, on https://www.kaggle.com/models/{page}, and "
            "set KAGGLE_API_TOKEN to a token of this account."
        )
    return f"{first_line(error)}. {_NAME}."
