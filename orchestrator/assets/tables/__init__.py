"""Reads local files of rows: CSV, TSV, JSON, JSON Lines and Parquet.

Values are not converted. An empty cell in CSV and null in other formats are missing values.
"""

from orchestrator.assets.tables.content import read_text
from orchestrator.assets.tables.files import FORMATS, check_start, read_file
from orchestrator.assets.tables.legacy import read_with_datasets
from orchestrator.assets.tables.values import TaskColumns, cast_text

__all__ = ["FORMATS", "TaskColumns", "cast_text", "check_start", "read_file", "read_text", "read_with_datasets"]
