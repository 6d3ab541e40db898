"""Parquet: typed columns, class names, and invalid texts."""

import datetime
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError


def read(path: Path, **columns: Any) -> datasets.Dataset:
    if columns:
        pq.write_table(pa.table(columns), path)
    return read_table(Source(origin=Origin.LOCAL, name=str(path)), required=("text",), text=("text",))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_of_any_layout_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["a", None, "2024-01-01"]).cast(kind)
    rows = read(tmp_path / "a.parquet", text=texts, topic=pa.array(["x", "y", "x"]).dictionary_encode())
    assert rows[:] == {"text": ["a", None, "2024-01-01"], "topic": ["x", "y", "x"]}
    assert rows.features["text"] == datasets.Value("string")


def test_columns_of_odd_types_become_text(tmp_path: Path) -> None:
    pairs = pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))
    group = pa.array([bytes(16), None], pa.uuid())
    rows = read(tmp_path / "a.parquet", text=["a", "b"], pairs=pairs, group=group)
    assert rows["pairs"][:] == ["[('a', 1)]", None]
    assert rows["group"][:] == ["00000000-0000-0000-0000-000000000000", None]
    with pytest.raises(DataError, match=r"column text of .*a\.parquet has map<string.* values; text is needed"):
        read(tmp_path / "a.parquet", text=pairs)


def test_class_names_of_the_file_are_kept(tmp_path: Path) -> None:
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["n", "p"]))
    datasets.Dataset.from_dict({"text": ["a"], "label": [1]}, features=features).to_parquet(str(tmp_path / "a.parquet"))
    assert read(tmp_path / "a.parquet").features["label"].names == ["n", "p"]


def test_column_without_text_is_missing(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.parquet", text=pa.nulls(2), label=[0, 1])
    assert rows["text"][:] == [None, None]
    assert rows.features["text"] == datasets.Value("string")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([37, 38], r"has integers \(row 1: 37\); text is needed"),
        ([None, 0.5], r"has numbers \(row 2: 0\.5\)"),
        ([True, False], r"has booleans \(row 1: true\)"),
        ([b"a", b"b"], r"has bytes \(row 1: b'a'\)"),
        ([datetime.date(2024, 1, 1)] * 2, r"has dates \(row 1: 2024-01-01\)"),
        ([["a"], ["b"]], r"has lists \(row 1: \[\"a\"\]\)"),
        ([{"body": "a"}, {"body": "b"}], r"has objects \(row 1: {\"body\": \"a\"}\)"),
    ],
)
def test_text_is_needed(tmp_path: Path, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=r"column text of .*a\.parquet " + message):
        read(tmp_path / "a.parquet", text=values)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    raw = pa.array([b"a", "caf\xe9".encode("latin-1")])
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    with pytest.raises(DataError, match=r"column text of .* has text that is not UTF-8 \(row 2: b'caf\\xe9'\)"):
        read(tmp_path / "a.parquet", text=text)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + b"x" * 40)
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet: "):
        read(path)
    path.write_text("text,label\n")
    with pytest.raises(DataError, match=r"a\.parquet is not a Parquet file: it starts with b'text,lab'"):
        read(path)
    with pytest.raises(DataError, match=r"a\.parquet has no rows, only column names: text"):
        read(path, text=pa.array([], pa.string()))
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(DataError, match="column text is duplicated"):
        read(path)
