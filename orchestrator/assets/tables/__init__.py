"""Read local files of rows: CSV, TSV, JSON, JSON lines and Parquet.

Values stay as they are written. Missing is what the format calls missing: an empty cell in CSV, null elsewhere.
"""

from orchestrator.assets.tables.before import read_as_before
from orchestrator.assets.tables.content import text_of
from orchestrator.assets.tables.files import FORMATS, check_start, read_file
from orchestrator.assets.tables.values import Wanted, checked_text

__all__ = ["FORMATS", "Wanted", "check_start", "checked_text", "read_as_before", "read_file", "text_of"]
