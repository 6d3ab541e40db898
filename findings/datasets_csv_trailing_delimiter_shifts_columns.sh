#!/usr/bin/env bash
# datasets 5.2.0: a delimiter at the end of every CSV line shifts all columns by one, without a warning.
#
# Expected: an error, or an unnamed column on the right.
# Observed: pandas uses the first column as an index if lines have one cell more than the header. The text goes to a
# column `__index_level_0__`, the label becomes the text, and the labels are missing. All expected column names exist.
#
# Output:
#   {'text': 1, 'label': None, '__index_level_0__': 'a good film'}
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0
run <<'PY'
from pathlib import Path

import datasets

datasets.disable_progress_bars()
Path("rows.csv").write_text("text,label\na good film,1,\na bad film,0,\n")
row = datasets.load_dataset("csv", data_files="rows.csv", split="train", cache_dir="cache")[0]
print(row)
assert row == {"text": 1, "label": None, "__index_level_0__": "a good film"}
PY
