"""Reads rows from local files (CSV, TSV, JSON, JSON Lines, Parquet, Arrow), folders and databases.

Values are not converted. An empty cell in CSV and null in other formats are missing values.
"""

from orchestrator.assets.tables.content import read_text
from orchestrator.assets.tables.files import FORMATS, check_start, read_file
from orchestrator.assets.tables.folder import read_folder
from orchestrator.assets.tables.legacy import read_with_datasets
from orchestrator.assets.tables.several import local_paths, read_local
from orchestrator.assets.tables.sql import read_sql
from orchestrator.assets.tables.sqlite import database_of, read_sqlite
from orchestrator.assets.tables.values import TaskColumns, can_be_text, cast_text

__all__ = [
    "FORMATS",
    "TaskColumns",
    "can_be_text",
    "cast_text",
    "check_start",
    "database_of",
    "local_paths",
    "read_file",
    "read_folder",
    "read_local",
    "read_sql",
    "read_sqlite",
    "read_text",
    "read_with_datasets",
]
