"""Files read in parts: the same rows and errors as in memory, in bounded memory."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.assets import token_store
from orchestrator.assets.tables import read_file
from orchestrator.assets.tables.large import read_large
from orchestrator.assets.tables.values import TaskColumns
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.loading import load_objective
from orchestrator.objective.rows.digest import digest

TASK = TaskColumns(text=frozenset({"text"}), required=frozenset({"text", "label"}))
ROWS = 12_345


@pytest.fixture(autouse=True)
def _empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token_store.FOLDER, str(tmp_path / "store"))


def _lines() -> str:
    """Return JSON Lines with late keys, mixed numbers, mixed kinds, nested values and blank lines."""
    draw, rows = random.Random(0), []
    for row in range(ROWS):
        content: dict[str, Any] = {"text": f"row {row} \u2028 a\u00e9\u6f22", "label": draw.choice(["a", "b", None])}
        content |= {"score": row if row % 3 else row / 4, "mixed": row if row < 11_000 else "late"}
        content |= {"day": "2026-01-01", "parts": [{"n": row}] if row % 2 else [], "about": {"id": row, "x": None}}
        rows.append(json.dumps(content | ({"late": row} if row > 9_000 else {}), ensure_ascii=row % 2 == 0))
    return "\n\n".join(rows) + "\n"


def _csv(delimiter: str) -> str:
    """Return a table with quoted line breaks, codes with zeros, integers with empty cells and a duplicated name."""
    lines = [delimiter.join(["label", "text", "code", " number", "text2", "text2", ""])]
    for row in range(ROWS):
        cells = [str(row % 2), f'"row {row}{delimiter} ""said""\nmore"', f"{row:05}", "" if row % 7 else str(row), "x"]
        lines.append(delimiter.join([*cells, "", str(row)]))
    return "\ufeff" + "\r\n".join(lines) + "\r\n"


def _parquet(path: Path) -> None:
    texts = pa.array([f"row {row}" for row in range(ROWS)], pa.large_string())
    labels = pa.array(["a" if row % 2 else "b" for row in range(ROWS)]).dictionary_encode()
    maps = pa.array([[("a", row)] for row in range(ROWS)], pa.map_(pa.string(), pa.int64()))
    table = pa.table({"text": texts, "label": labels, "map": maps, "number": pa.array(range(ROWS), pa.int32())})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=4_000)
        return
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=4_000)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "b.csv", "a.tsv", "excel.csv", "a.parquet", "a.arrow"])
def test_parts_give_the_rows_of_the_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix in {".parquet", ".arrow"}:
        _parquet(path)
    elif path.suffix in {".json", ".jsonl"}:
        path.write_text(_lines(), encoding="utf-8")
    else:
        text = _csv({"b.csv": ";", "a.tsv": "\t"}.get(name, ","))
        path.write_bytes(f"sep=,\r\n{text[1:]}".encode() if name == "excel.csv" else text.encode())
    whole, parts = read_file(path, TASK), read_large(path, TASK)
    assert parts is not None
    assert parts.cache_files
    assert parts.features == whole.features
    assert parts[:] == whole[:]
    again = read_large(path, TASK)
    assert again is not None
    assert again.cache_files == parts.cache_files
    assert len(token_store.entries()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"text": "a", "label": 1}\n' * 6000 + b'{"text": "b", "la'),
        ("a.jsonl", b'{"text": "a", "label": 1}\n' * 6000 + b'["b"]\n'),
        ("a.jsonl", b'{"text": "a", "label": 1}\n' * 6000 + b'{"text": 5, "label": 1}\n'),
        ("a.jsonl", b'{"text": "a", "label": 1}\n' * 6000 + b'{"text": "b", "label": "x"}\n'),
        ("a.jsonl", b'{"text": "a", "label": 1}\n' * 6000 + b'{"text": "\xff", "label": 1}\n'),
        ("a.csv", b"text,label\n" + b"a,b\n" * 6000 + b"a,b,c\n"),
        ("a.csv", b"text,label\n" + b"a,b\n" * 6000 + b'"a,b\n'),
        ("a.csv", b"text,label\n" + b"a,b\n" * 6000 + b"a\0,b\n"),
        ("a.csv", b"text,label,label\n" + b"a,b,c\n" * 6000),
    ],
)
def test_errors_are_those_of_the_whole(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    messages = []
    for read in (read_file, read_large):
        with pytest.raises(DataError) as caught:
            read(path, TASK)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert token_store.entries() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'[{"text": "a", "label": 1},\n{"text": "b", "label": 2}]'),
        ("a.json", b'{"text": ["a"],\n "label": [1]}'),
        ("a.csv", "\ufefftext,label\na,b\n".encode("utf-16-le")),
    ],
)
def test_other_forms_are_left_to_the_reader_in_memory(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_large(path, TASK) is None


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for last in ("b", "c"):
        path.write_text(f'{{"text": "a", "label": 1}}\n{{"text": "{last}", "label": 2}}\n')
        rows = read_large(path, TASK)
        assert rows is not None
        assert rows[1]["text"] == last


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", '"long\nname";text;label\n' + "a;b;0\n" * 3),
        ("a.tsv", '"long\r\nname"\ttext\tlabel\r\n' + "a\tb\t0\r\n" * 3),
        ("a.jsonl", '{"text": "a", "label": 1}\n' * 500 + "{}\n" * 501),
        ("a.jsonl", "{}\n" * 501 + '{"text": "a", "label": 1}\n' * 2),
    ],
)
def test_long_headers_and_empty_objects_are_those_of_the_whole(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    whole, parts = read_file(path, TASK), read_large(path, TASK)
    assert parts is not None
    assert parts[:] == whole[:]


def test_values_changed_by_the_whole_column_are_read_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for values in (["1", '"\\ud800"'], [str(2**53 + 1)] * 500 + ["1.5"]):
        path.write_text("".join(f'{{"text": "a", "label": 1, "other": {value}}}\n' for value in values))
        assert read_large(path, TASK) is None
        assert len(read_file(path, TASK)) == len(values)


_MEASURED = """
import sys, tracemalloc
import datasets, pyarrow as pa
from orchestrator.assets.tables import files
from tests.assets.tables.test_large import described
files.LARGE_BYTES = 0
tracemalloc.start()
text = described(sys.argv[1])
print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory(), text)
"""


def described(name: str) -> str:
    """Return the splits of a file in words."""
    plan = DataPlan(source=Source(origin=Origin.LOCAL, name=name), validation=50, test=50)
    splits = load_objective("classification", ()).splits(plan)
    summary = splits.summary
    return f"{digest(splits.train)} {digest(splits.test)} {dict(summary.dropped)} {summary.classes}"


@pytest.mark.parametrize("suffix", [".jsonl", pytest.param(".csv", marks=pytest.mark.extended)])
def test_memory_stays_below_the_size_of_the_file(tmp_path: Path, suffix: str) -> None:
    path, filler = tmp_path / f"rows{suffix}", "word " * 200
    with path.open("w") as file:
        file.write("text,label\n" if suffix == ".csv" else "")
        for row in range(12_000):
            text, label = f"{row % 11_900} {filler}{row % 11_900}", "ab"[row % 11_900 % 2]
            line = f"{text},{label}" if suffix == ".csv" else json.dumps({"text": text, "label": label})
            file.write(f"{line}\n")
    command = [sys.executable, "-c", _MEASURED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, found = done.stdout.strip().split(" ", 1)
    assert found == described(str(path))
    assert "'copy of another row': 100" in found
    assert int(peak) < path.stat().st_size * 0.75
