"""Digest of rows, to compare the data of two runs."""

import hashlib
import json
from typing import TYPE_CHECKING

from orchestrator.objective.rows.slice_columns import PREFIX

if TYPE_CHECKING:
    import datasets

PART = 1000
"""Rows read at a time."""


def digest(rows: "datasets.Dataset", *, slices: bool = False) -> str:
    """Return 16 hexadecimal digits, a hash of all rows in order.

    Args:
        rows: the rows.
        slices: hash the columns kept for slices, instead of the others.
    """
    sha256, encode = hashlib.sha256(), json.JSONEncoder(sort_keys=True, default=str).encode
    kept = [name for name in rows.column_names if name.startswith(PREFIX) == slices]
    selected = rows.select_columns(kept)
    for start in range(0, len(rows), PART):
        columns = selected[start : start + PART]  # one access for many rows: access row by row is many times slower
        for values in zip(*columns.values(), strict=True):
            sha256.update(encode(dict(zip(columns, values, strict=True))).encode())
            sha256.update(b"\n")
    return sha256.hexdigest()[:16]


def has_slices(rows: "datasets.Dataset") -> bool:
    """Return whether rows have columns kept for slices."""
    return any(name.startswith(PREFIX) for name in rows.column_names)
