"""Files of rows are read unchanged, and written with columns of answers."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.core.errors import DataError
from orchestrator.serving.tables import read_rows, write_rows

ANSWERS: dict[str, list[str | float | None]] = {"answer": ["good", None, "bad"], "score": [0.9, None, 0.75]}


def test_csv_keeps_values_as_written(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(
        '\ufeffid,text,when\r\n000037,"a\u2028b\r\nc, d",2024-01-02\r\n38,,NA\r\n\r\n39,null,\r\n'.encode()
    )
    table = read_rows(file)
    assert table.texts() == ["a\u2028b\r\nc, d", "", "null"]
    write_rows(tmp_path / "out.csv", table, ANSWERS)
    written = read_rows(tmp_path / "out.csv")
    assert written.columns == ("id", "text", "when", "answer", "score")
    assert [row["id"] for row in written.rows] == ["000037", "38", "39"]
    assert written.rows[0]["when"] == "2024-01-02"
    assert [row["answer"] for row in written.rows] == ["good", "", "bad"]
    assert [row["score"] for row in written.rows] == ["0.9", "", "0.75"]
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv"}


def test_blank_line_of_one_column_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("review\nfine\n\nbad\n")
    assert read_rows(tmp_path / "in.csv").texts() == ["fine", "", "bad"]


@pytest.mark.parametrize(("name", "delimiter"), [("in.csv", ";"), ("in.tsv", "\t"), ("in.csv", "\t")])
def test_other_delimiters_are_read(tmp_path: Path, name: str, delimiter: str) -> None:
    (tmp_path / name).write_text(f"id{delimiter}text\n1{delimiter}fine, really\n")
    assert read_rows(tmp_path / name).texts() == ["fine, really"]


def test_json_lines_keep_types_and_dates(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 1, "text": "2024-01-02", "tags": ["a"]},
        {"id": 2, "text": None},
        {"id": 3, "text": "bad"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_rows(tmp_path / "in.jsonl")
    assert table.texts() == ["2024-01-02", "", "bad"]
    write_rows(tmp_path / "out.jsonl", table, ANSWERS)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written == [
        {**rows[0], "answer": "good", "score": 0.9},
        {**rows[1], "answer": None, "score": None},
        {**rows[2], "answer": "bad", "score": 0.75},
    ]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    assert read_rows(tmp_path / "in.json").rows == rows


def test_parquet_keeps_types(tmp_path: Path) -> None:
    arrow = pa.table({"id": pa.array([1, 2, 3], pa.int16()), "text": ["a", None, "c"]})
    pq.write_table(arrow, tmp_path / "in.parquet")
    table = read_rows(tmp_path / "in.parquet")
    assert table.texts("text") == ["a", "", "c"]
    write_rows(tmp_path / "out.parquet", table, ANSWERS)
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.schema.field("id").type == pa.int16()
    assert written.column("answer").to_pylist() == ["good", None, "bad"]


def test_answers_do_not_replace_a_column(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,answer\na,x\nb,y\nc,z\n")
    write_rows(tmp_path / "out.csv", read_rows(tmp_path / "in.csv"), ANSWERS)
    written = read_rows(tmp_path / "out.csv")
    assert written.columns == ("text", "answer", "predicted_answer", "predicted_score")
    assert written.rows[0]["answer"] == "x"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_answers_can_be_added_repeatedly(tmp_path: Path, ending: str) -> None:
    (tmp_path / "in.csv").write_text("text\na\nb\nc\n")
    file, columns = tmp_path / "in.csv", ["text"]
    for prefix in ("", "predicted_", "predicted_2_", "predicted_3_"):
        table = read_rows(file)
        file = tmp_path / f"out{ending}"
        write_rows(file, table, ANSWERS)
        columns += [f"{prefix}answer", f"{prefix}score"]
        assert read_rows(file).columns == tuple(columns)


def test_parquet_has_columns_of_later_rows(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "b", "id": 7}\n{"id": 8}\n')
    write_rows(tmp_path / "out.parquet", read_rows(tmp_path / "in.jsonl"), ANSWERS)
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == [None, 7, 8]


@pytest.mark.parametrize("content", ['text\n"a"', 'id,text\n1,"a\nb"', 'id,text\n1,a"b\n'])
def test_last_line_needs_no_newline(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.csv").write_text(content)
    assert len(read_rows(tmp_path / "in.csv").rows) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.txt", b"a", "--file: one of the extensions .csv, .tsv, .json, .jsonl, .parquet is needed, got 'in.txt'"),
        ("in.csv", b"", r"in.csv is empty \(0 bytes\)"),
        ("in.csv", b"id,text\n", "in.csv has no rows"),
        ("in.jsonl", b"", r"in.jsonl is empty \(0 bytes\)"),
        ("in.csv", b"text\nfine\ncaf\xe9\n", r"in.csv, line 3: byte 0xe9 is not UTF-8; save the file as"),
        ("in.csv", b"PK\x03\x04\xff\xfe", "in.csv is a zip archive"),
        ("in.csv", b"id,text\n1,a,b\n", "line 2 has 3 cells and the header 2"),
        ("in.csv", b'id,text\n1,a\n2,"b\n3,c\n', "in.csv: line 3 opens a quote without an end"),
        ("in.csv", b'"text\na\n', "in.csv: line 1 opens a quote without an end"),
        ("in.tsv", b'text\n"a', "in.tsv: line 2 opens a quote without an end"),
        ("in.csv", b"text,text\na,b\n", "duplicate column names: text, text"),
        ("in.csv", b"id,body\n1,a\n", r"column 'text' not found in in.csv \(columns: id, body\)\. Name the column"),
        ("in.jsonl", b'{"text": "a"}\n{"text": 37}\n', "row 2 of column 'text' has int 37; text is needed"),
        ("in.jsonl", b'{"text": "a"}\nno\n', "line 2 is not valid JSON"),
        ("in.jsonl", b'["a"]\n', "row 1 is str; an object"),
        ("in.parquet", b"no parquet", "in.parquet is not a Parquet file"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name).texts()


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--file: file .* does not exist"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "in.csv").write_text("text\na\nb\nc\n")
    with pytest.raises(DataError, match=r"--output: .*none/out.csv cannot be written: No such file or directory"):
        write_rows(tmp_path / "none" / "out.csv", read_rows(tmp_path / "in.csv"), ANSWERS)


def test_files_in_utf_16_are_read(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,naïve 映画\n", encoding="utf-16")
    assert read_rows(tmp_path / "in.csv").texts() == ["naïve 映画"]
