#!/usr/bin/env bash
# datasets 5.2.0: the JSON builder rewrites strings in date format, even with string features.
#
# Expected: features={"text": Value("string")} keeps the strings of the file.
# Observed: the reader first converts a column with only date strings to timestamps. The cast to string then prints the
# timestamps: "2024-01-05" becomes "2024-01-05 00:00:00", and the T of ISO times is lost. With a single other string in
# the column, all strings are kept, so a small sample may not show the problem.
#
# Output:
#   no features      timestamp[s] [datetime.datetime(2024, 1, 5, 0, 0), datetime.datetime(2023, 11, 30, 10, 0)]
#   string features  string ['2024-01-05 00:00:00', '2023-11-30 10:00:00']
#   one other string string ['2024-01-05', '2023-11-30T10:00:00', 'a film']
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0
run <<'PY'
import json
from pathlib import Path

import datasets

datasets.disable_progress_bars()
strings = datasets.Features({"text": datasets.Value("string")})


def read(name, texts, features):
    Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = datasets.load_dataset("json", data_files=f"{name}.jsonl", split="train", features=features, cache_dir=name)
    return rows.features["text"].dtype, rows["text"][:]


dates = ["2024-01-05", "2023-11-30T10:00:00"]
found = {
    "no features": read("plain", dates, None),
    "string features": read("typed", dates, strings),
    "one other string": read("mixed", [*dates, "a film"], None),
}
for name, (kind, texts) in found.items():
    print(f"{name:16} {kind} {texts}")
assert found["no features"][0] == "timestamp[s]"
assert found["string features"] == ("string", ["2024-01-05 00:00:00", "2023-11-30 10:00:00"])
assert found["one other string"] == ("string", [*dates, "a film"])
PY
