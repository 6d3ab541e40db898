"""CSV and TSV: cells are not converted; errors name the line and the remedy."""

import codecs
from pathlib import Path

import datasets
import pytest

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError


def read(path: Path, content: str | bytes, text: tuple[str, ...] = ("text",)) -> datasets.Dataset:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(Source(origin=Origin.LOCAL, name=str(path)), required=("text",), text=text)


def test_words_are_not_missing_values(tmp_path: Path) -> None:
    words = ["null", "None", "N/A", "NA", "nan", "n/a", "NULL", "#N/A", "-"]
    rows = read(tmp_path / "a.csv", "text,label\n" + "".join(f"{word},{word}\n" for word in words) + ",\n")
    assert rows["text"][:] == [*words, None]
    assert rows["label"][:] == [*words, None]


def test_spaces_around_column_names_are_removed(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", "text, label\n a , 0\n")
    assert rows[:] == {"text": [" a "], "label": [" 0"]}
    source = Source(origin=Origin.LOCAL, name=str(tmp_path / "a.csv"))
    assert read_table(source, {"target": " label"}).column_names == ["text", "target"]


def test_texts_stay_as_they_are_written(tmp_path: Path) -> None:
    cells = ["000037", "37", "1.10", "1e5", "True", "2024-01-01", " x ", "-0"]
    assert read(tmp_path / "a.csv", "text,label\n" + "".join(f"{cell},0\n" for cell in cells))["text"][:] == cells
    assert read(tmp_path / "a.csv", "text\n37\n38\n")["text"][:] == ["37", "38"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0", "-1", "12", ""], [0, -1, 12, None]),
        (["0", "01"], ["0", "01"]),
        (["1.10", "1.1"], ["1.10", "1.1"]),
        (["0", "1.0"], ["0", "1.0"]),
        (["True", "False"], ["True", "False"]),
        (["1", "+1"], ["1", "+1"]),
        (["1", "1234567890123456789012"], ["1", "1234567890123456789012"]),
        (["", ""], [None, None]),
    ],
)
def test_only_plain_integers_become_numbers(tmp_path: Path, cells: list[str], values: list[object]) -> None:
    rows = read(tmp_path / "a.csv", "text,label\n" + "".join(f"a,{cell}\n" for cell in cells))
    assert rows["label"][:] == values


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text;label\n"a; b";1\nc, d;0\n'),
        ("a.csv", "text\tlabel\na; b\t1\nc, d\t0\n"),
        ("a.csv", "text|label\na; b|1\nc, d|0\n"),
        ("a.csv", 'sep=;\r\ntext;label\r\n"a; b";1\r\nc, d;0\r\n'),
        ("a.tsv", "text\tlabel\na; b\t1\n\nc, d\t0\n"),
        ("a.tsv", 'text,label\na; b,1\n"c, d",0\n'),
        ("a.csv", codecs.BOM_UTF8 + b'text,label\na; b,1\n"c, d",0\n'),
        ("a.csv", 'text,label\ra; b,1\r"c, d",0\r'),
        ("a.csv", "text\tlabel\na; b\t1\nc, d\t0\n".encode("utf-16")),
        ("a.CSV", 'text,label\na; b,1\n"c, d",0'),
        ("a.csv", 'text,"label, of a team;"\na; b,1\n"c, d",0\n'),
        ("a.csv", ',text,label\n0,a; b,1\n1,"c, d",0\n'),
    ],
)
def test_delimiters_and_encodings_are_detected(tmp_path: Path, name: str, content: str | bytes) -> None:
    rows = read(tmp_path / name, content)
    assert rows["text"][:] == ["a; b", "c, d"]
    assert rows[rows.column_names[-1]][:] == [1, 0]


def test_quote_inside_plain_cell_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", 'text,label\na 5" screen,1\n"so ""it"" goes",0\n')["text"][:] == [
        'a 5" screen',
        'so "it" goes',
    ]


def test_quotes_of_unquoted_tsv_are_kept(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.tsv", 'text\tlabel\n"so it goes\t1\nhe said "no" twice\t0\n')
    assert rows["text"][:] == ['"so it goes', 'he said "no" twice']


def test_cells_may_be_long_and_multiline(tmp_path: Path) -> None:
    long = "word\n" * 40_000
    assert read(tmp_path / "a.csv", f'text,label\n"{long}",1\n')["text"][:] == [long]


def test_other_columns_may_share_a_name(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", "text,note,note,\na,b,c,d\n")
    assert rows[:] == {"text": ["a"], "note": ["b"], "note.2": ["c"], "Unnamed: 3": ["d"]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", r"a\.csv is empty \(0 bytes\); a CSV file with rows is needed"),
        (" \n\n", r"a\.csv is blank; a CSV file with rows is needed"),
        ("text,label\n", r"a\.csv has no rows, only column names: text, label"),
        (
            "text,label\na,1\nb,2,3,4\n",
            r"cannot be read as csv: line 3 has 4 cells separated by a comma, the header has 2; ",
        ),
        ('text,label\n"a\nb",1\nb\n', r"cannot be read as csv: line 4 has 1 cells"),
        ("text;label\na;1\nb;c;2\n", r"line 3 has 3 cells separated by a semicolon"),
        ('text,label\na,1\n"b,2\nc,3\n', r"line 3: the quoted cell starting there does not end; write a quote"),
        ('text,label\n"a "b" c",1\n', r"line 2: the quoted cell starting there is followed by more text; write"),
        ("text,label,text\na,1,b\n", r"a\.csv: column text is duplicated, as columns 1 and 3; rename one of them"),
        (
            "text,label\na,1\ncafé,0\n".encode("latin-1"),
            r'a\.csv, line 3: byte 0xe9 is not UTF-8; save the file as "CSV UTF-8", or convert it: iconv',
        ),
        ("text,label\na,1\n".encode("utf-16-le"), r"a\.csv, line 1: the text contains a zero byte; save the file as"),
        (
            b"PK\x03\x04\x14\x00",
            r"a\.csv is a zip archive \(an Excel file is one\), not CSV; save the table as CSV in UTF-8",
        ),
        (b"\x1f\x8b\x08\x00", r"a\.csv is a gzip archive, not CSV"),
        (b"PAR1\x15\x04", r"a\.csv is a Parquet file, not CSV"),
        ("\n<!DOCTYPE html>\n<html>", r"a\.csv is a web page, not CSV"),
        ('{"text": "a", "label": 1}\n', r"a\.csv contains JSON, not CSV; rename it to \.jsonl or \.json"),
        ('[\n{"text": "a"}]', r"a\.csv contains JSON, not CSV"),
        ("text\n", r"a\.csv has no rows, only column names: text"),
        (
            "a,b\n1,2\n",
            r"^data\.columns: column 'text' not found in .*a\.csv \(columns: a, b\)\. Set data\.columns: {text: ",
        ),
    ],
)
def test_invalid_table_is_refused(tmp_path: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as refused:
        read(tmp_path / "a.csv", content)
    assert "\n" not in str(refused.value)


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(DataError, match=r"rows\.csv has no \.txt files; it is empty"):
        read_table(Source(origin=Origin.LOCAL, name=str(tmp_path / "rows.csv")))
    with pytest.raises(DataError, match=r"extensions \.csv, \.tsv, .*\.parquet, .* is needed, got '\.xlsx'"):
        read(tmp_path / "rows.xlsx", "x")
