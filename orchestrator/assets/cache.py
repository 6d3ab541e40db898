"""The cache folder, and the environment of Hugging Face's libraries."""

import logging
import os
from pathlib import Path


def cache_root() -> Path:
    """Return ``$LORATORY_CACHE``, or this system's cache folder for Loratory (``~/.cache/loratory`` on Linux)."""
    chosen = os.environ.get("LORATORY_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("loratory", appauthor=False)


def quiet_hugging_face() -> None:
    """Switch off telemetry, download counts and progress bars. Variables set by the user are kept.

    The libraries read these variables at their first import, so call this function before every such import.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # If it is installed, peft imports it, and it then warns about a kernel on the hub.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
