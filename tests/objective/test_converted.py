"""Rows converted in parts: the same rows and errors as in memory, mapped from the cache, in bounded memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.assets import token_store
from orchestrator.assets.data import read_table
from orchestrator.assets.tables import files
from orchestrator.assets.tables.large import LARGE_BYTES
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.converted import PART, Converted, converted
from orchestrator.objective.rows.digest import digest

ROWS = 2 * PART + 100
Row = Callable[[int], dict[str, Any]]


def _turns(*contents: str) -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(contents)
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def _chat(row: int) -> dict[str, Any]:
    """Return a conversation; the last rows have another system message, and some rows are left out."""
    system = {"role": "system", "content": "brief" if row < ROWS - 50 else "polite"}
    turns = _turns(f"What is {row}?", "" if row % 400 == 7 else f"A number, {row}.", "Thanks!")
    return {"messages": [system, *turns], "group": row // 2, "origin": f"origin {row % 3}"}


def _preference(row: int) -> dict[str, Any]:
    """Return a pair; all rows of the second part are left out, and a few others."""
    rejected = " Yes." if row // PART == 1 or row % 300 == 1 else f" No, {row}."
    return {"prompt": f"Is {row} odd?", "chosen": " Yes.", "rejected": rejected, "origin": row % 3}


def _chat_preference(row: int) -> dict[str, Any]:
    chosen, rejected = (_turns(f"Is {row} odd?", answer) for answer in ("Yes.", f"No, {row}."))
    return {"chosen": chosen, "rejected": rejected, "origin": None if row % 3 else "web"}


def _spans(row: int) -> dict[str, Any]:
    return {"text": f"Anna met Bob{row}.", "entities": [{"start": 0, "end": 4, "label": "PERSON"}], "origin": row % 3}


def _tags(row: int) -> dict[str, Any]:
    """Return words with tags; the last row alone tells IOBES from IOB2."""
    tags = ["O", "O"] if row < ROWS - 1 else ["O", "S-PERSON"]
    return {"tokens": ["hello", f"Anna{row}"], "tags": tags if row % 2 else ["B-PERSON", "E-PERSON"], "origin": row % 3}


def _answers(row: int) -> dict[str, Any]:
    answers = {"text": ["1"], "answer_start": [4]} if row % 5 else None
    return {"question": f"Who is {row}?", "context": f"The 1 in {row // 4}.", "answers": answers, "origin": row % 3}


TASKS: dict[str, tuple[str, Row]] = {
    "chat": ("chat", _chat),
    "preference": ("preference", _preference),
    "chat_preference": ("chat_preference", _chat_preference),
    "spans": ("entities", _spans),
    "tags": ("entities", _tags),
    "answers": ("extractive_qa", _answers),
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "chat": ({"messages": [{"role": "king", "content": ""}]}, rf'row {ROWS - 1}, {ROWS}: role "king" is unknown'),
    "preference": ({"prompt": " ", "chosen": "a", "rejected": "b"}, f"no prompt in row {ROWS - 1}, {ROWS}"),
    "chat_preference": ({"chosen": _turns("a"), "rejected": _turns("b")}, f"row {ROWS - 1}: no prompt"),
    "spans": ({"text": "", "entities": [{"start": 0, "end": 1, "label": "A"}]}, f"row {ROWS - 1}: the entity"),
    "tags": ({"tokens": ["a"], "tags": ["I-A"]}, f"row {ROWS - 1}, word 1 has 'I-A' after the start, and 1 more"),
    "answers": ({"question": "a", "context": "a", "answers": {"text": ["b"]}}, rf"\(row {ROWS - 1}\): the answer 'b'"),
}


@pytest.fixture(autouse=True)
def _empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token_store.FOLDER, str(tmp_path / "store"))


def _written(path: Path, row: Row, *last: dict[str, Any]) -> DataPlan:
    rows = [*map(row, range(ROWS - len(last))), *last]
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    columns = {"origin": "origin"}
    return DataPlan(source=Source(origin=Origin.LOCAL, name=str(path)), columns=columns, validation=50, test=50)


def _described(splits: Splits) -> object:
    digests = [(digest(rows), digest(rows, slices=True)) for rows in splits.by_name().values()]
    return digests, splits.summary


@pytest.mark.parametrize("name", TASKS)
def test_mapped_rows_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    task, row = TASKS[name]
    objective, plan = load_objective(task), _written(tmp_path / "rows.jsonl", row)
    whole = objective.splits(plan)
    assert token_store.entries() == []
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    for _ in range(2):
        parts = objective.splits(plan)
        assert all(rows.cache_files for rows in parts.by_name().values())
        assert _described(parts) == _described(whole)
        assert parts.train.features == whole.train.features
    assert len(token_store.entries()) == 2  # the file, and its converted rows


@pytest.mark.parametrize("name", TASKS)
def test_errors_count_the_rows_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    task, row = TASKS[name]
    wrong, message = WRONG[name]
    plan = _written(tmp_path / "rows.jsonl", row, *[wrong | {"origin": row(0)["origin"]}] * 2)
    for size in (LARGE_BYTES, 0):
        monkeypatch.setattr(files, "LARGE_BYTES", size)
        with pytest.raises(DataError, match=message):
            load_objective(task).splits(plan)
    assert len(token_store.entries()) == 1  # the file alone


def test_labels_count_and_are_known_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    plan = _written(tmp_path / "rows.jsonl", _spans)
    found = []
    for labels in ({}, {"PERSON": "WHO", "PRESON": "X"}, {"PERSON": "WHO", "PRESON": "X"}):
        splits = load_objective("entities").splits(replace(plan, labels=labels))
        assert splits.summary.classes == ("O", *(f"{mark}-{labels.get('PERSON', 'PERSON')}" for mark in "BI"))
        found.append(splits.summary.warnings)
    assert found[1] == found[2]
    assert [warning for warning in found[1] if "PRESON" in warning and "PERSON" in warning]


def test_entry_of_the_file_may_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    plan = _written(tmp_path / "rows.jsonl", _chat)
    rows = read_table(plan.source)
    token_store.evict(0, new_s=0)  # as another file above the limit does, before the rows are converted
    found, _ = converted(rows, lambda: iter([Converted(table=rows.data.table)]), "copy")
    assert found.cache_files
    assert found[:] == rows[:]
    for _ in range(2):
        load_objective("chat").splits(plan)
        token_store.remove(next(each.folder for each in token_store.entries() if "table" in each.folder.name))
    assert len(token_store.entries()) == 2  # the copy, and one entry of conversations


_MEASURED = """
import sys, tracemalloc
import datasets, pyarrow as pa
from orchestrator.assets.tables import files
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.loading import load_objective
objective = load_objective("chat")
plan = DataPlan(source=Source(origin=Origin.LOCAL, name=sys.argv[1]), validation=50, test=50)
files.LARGE_BYTES = 0
tracemalloc.start()
splits = objective.splits(plan)
print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory(), len(splits.train))
"""


def test_memory_stays_below_the_size_of_the_file(tmp_path: Path) -> None:
    path, filler = tmp_path / "rows.jsonl", "word " * 300
    with path.open("w") as file:
        for row in range(8_000):
            file.write(json.dumps({"messages": _turns(f"{row} {filler}", f"{filler}{row}")}) + "\n")
    command = [sys.executable, "-c", _MEASURED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, rows = map(int, done.stdout.split())
    assert rows == 7_900
    assert peak < path.stat().st_size * 0.75
