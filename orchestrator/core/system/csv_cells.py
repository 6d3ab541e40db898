"""Long cells of CSV files."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_cells() -> Iterator[None]:
    """Remove the csv module's limit of 131,072 characters per cell in the block."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
