"""Read local files of rows: CSV, TSV, JSON, JSON lines and Parquet.

Values stay as they are written. Missing is what the format calls missing: an empty cell in CSV, null elsewhere.
"""

from orchestrator.assets.tables.before import read_as_before
from orchestrator.assets.tables.files import FORMATS, read_file
from orchestrator.assets.tables.values import Wanted, checked_text

__all__ = ["FORMATS", "Wanted", "checked_text", "read_as_before", "read_file"]
