"""Silence for messages of transformers and peft that a person cannot act on."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence what is said of a new head, as if it were a fault, the progress bar of milliseconds, and four warnings.

    peft asks transformers for an attribute that was renamed, sees by itself which layers are stored transposed, says
    that it cannot take IA3's factors out of a weight exactly, which ``merged`` does not rely on, and looks for the
    ranks of experts, which it has set itself, among the layers alone.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", message="fan_in_fan_out")
            warnings.filterwarnings("ignore", message="Unmerge result can be inaccurate")
            warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys did not match")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
