"""The general text on which forgetting is measured."""

import numpy as np

from orchestrator.assets.data import read_table
from orchestrator.core.data import Source
from orchestrator.core.errors import DataError
from orchestrator.core.seeds import derive_seed
from orchestrator.evaluation.forgetting import TEXTS

FEWEST = 10
"""Fewest texts: ten texts have 45 similarities."""


def general_texts(source: Source) -> list[str]:
    """Return up to ``TEXTS`` texts of a source, drawn without replacement: the same ones for every sweep and trial.

    Blank texts and copies are left out.

    Args:
        source: has a column ``text``.

    Raises:
        AssetError: the source is missing or cannot be reached.
        DataError: there is no column ``text``, or it has too few different texts.
    """
    rows = read_table(source)
    if "text" not in rows.column_names:
        columns = ", ".join(rows.column_names)
        raise DataError(
            f"data.general: column 'text' not found in {source} (columns: {columns}). Rename a column to text."
        )
    texts = [*dict.fromkeys(text for value in rows["text"] if value is not None and (text := str(value).strip()))]
    if len(texts) < FEWEST:
        raise DataError(
            f"data.general: {source} has {len(texts)} different texts, at least {FEWEST} are needed. Add rows, or name "
            "bbc-news."
        )
    order = np.random.default_rng(derive_seed("general text")).permutation(len(texts))
    return [texts[place] for place in order[:TEXTS]]
