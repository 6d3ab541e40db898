"""Suppress messages of transformers and peft that need no action."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries(*, ties: bool = True) -> Iterator[None]:
    """Suppress the progress bar of loading, the report about a new head, and four warnings inside the block.

    The warnings: peft uses a renamed attribute of transformers; it corrects ``fan_in_fan_out`` itself; it cannot
    unmerge IA3 exactly, which ``merged`` does not need; it misses its own rank patterns for experts.

    Args:
        ties: whether to show peft's warnings about trained weights that are tied in the base model.
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
            if not ties:
                warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
                warnings.filterwarnings("ignore", message="Input and output embeddings are no longer tied")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
