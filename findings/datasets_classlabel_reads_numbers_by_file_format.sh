#!/usr/bin/env bash
# datasets 5.2.0: with class names that are numbers, CSV and JSON Lines files with the same labels give other classes, and
# a label that is no class name becomes a class.
#
# Expected: ClassLabel(names=["3", "2", "1", "0"]) means the same for all file formats, and a label outside the names is
# an error.
# Observed: numbers of a JSON file are positions in the list of names; the same numbers of a CSV file are names. So a 3
# is the class "3" or the class "0". If a text is no name, it is read as a position: with names 1, 2 and 3, the label 0 of
# a CSV file becomes the class "1", like the label 1. Star ratings, sorted otherwise or with one rating left out, get
# wrong labels without a message. (ClassLabel's own checks of positions: issues 8481 and 8494 of datasets.)
#
# Output:
#   names 3, 2, 1, 0: labels 3, 1, 0 of CSV are 3, 1, 0; of JSON Lines are 0, 2, 3
#   names 1, 2, 3:    labels 3, 1, 0 of CSV are 3, 1, 1
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0
run <<'PY'
import json
from pathlib import Path

import datasets

datasets.disable_progress_bars()
LABELS = [3, 1, 0]
Path("rows.csv").write_text("text,label\n" + "".join(f"a film,{label}\n" for label in LABELS))
Path("rows.jsonl").write_text("".join(json.dumps({"text": "a film", "label": label}) + "\n" for label in LABELS))


def classes(form, names):
    label = datasets.ClassLabel(names=names)
    features = datasets.Features({"text": datasets.Value("string"), "label": label})
    file = {"csv": "rows.csv", "json": "rows.jsonl"}[form]
    rows = datasets.load_dataset(form, data_files=file, features=features, split="train", cache_dir="".join(names))
    return label.int2str(rows["label"][:])


def shown(values):
    return ", ".join(map(str, values))


downwards, some = ["3", "2", "1", "0"], ["1", "2", "3"]
csv, lines, outside = classes("csv", downwards), classes("json", downwards), classes("csv", some)
print(f"names {shown(downwards)}: labels {shown(LABELS)} of CSV are {shown(csv)}; of JSON Lines are {shown(lines)}")
print(f"names {shown(some)}:    labels {shown(LABELS)} of CSV are {shown(outside)}")
assert csv == ["3", "1", "0"]
assert lines == ["0", "2", "3"]
assert outside == ["3", "1", "1"]
PY
