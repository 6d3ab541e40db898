"""JSON: strings stay strings, null is missing, and other kinds of values are refused in text columns."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError

ROWS = [{"text": "a", "label": 1}, {"text": None, "label": 0}, {"label": 1}]


def read(path: Path, content: str | bytes) -> datasets.Dataset:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(Source(origin=Origin.LOCAL, name=str(path)), required=("text", "label"), text=("text",))


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines(ROWS)),
        ("a.json", lines(ROWS)),
        ("a.jsonl", "\n" + lines(ROWS).replace("\n", "\r\n\r\n")),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.jsonl", json.dumps(ROWS, indent=2)),
        ("a.json", json.dumps({"text": ["a", None, None], "label": [1, 0, 1]})),
        ("a.jsonl", b"\xef\xbb\xbf" + lines(ROWS).encode()),
    ],
)
def test_both_forms_are_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    rows = read(tmp_path / name, content)
    assert rows[:] == {"text": ["a", None, None], "label": [1, 0, 1]}


def test_strings_stay_strings(tmp_path: Path) -> None:
    texts = ["2024-01-01", "2024-01-01T10:00:00Z", "000037", "null", "nan", "12:30", "true"]
    rows = read(tmp_path / "a.jsonl", lines([{"text": text, "label": text, "when": text} for text in texts]))
    assert rows["text"][:] == rows["label"][:] == rows["when"][:] == texts
    alone = read(tmp_path / "a.jsonl", lines([{"text": text, "label": 0} for text in ("2024-01-01", "2024-02-01")]))
    assert alone["text"][:] == ["2024-01-01", "2024-02-01"]


def test_one_line_is_a_row(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", '{"text": "a", "label": ["x"]}')[:] == {"text": ["a"], "label": [["x"]]}


def test_other_columns_of_several_kinds_become_text(tmp_path: Path) -> None:
    ids: list[Any] = [1, "1", None, {"a": [1]}, 1.5]
    rows = read(tmp_path / "a.jsonl", lines([{"text": "a", "label": 0, "id": value, "big": 2**70} for value in ids]))
    assert rows["id"][:] == ["1", "1", None, '{"a": [1]}', "1.5"]
    assert rows["big"][:] == [str(2**70)] * 5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (37, r"has integers \(row 2: 37\); text is needed"),
        (1.5, r"has numbers \(row 2: 1\.5\); text is needed"),
        (True, r"has booleans \(row 2: true\); text is needed"),
        (["a"], r'has lists \(row 2: \["a"\]\); text is needed; write a separate column'),
        ({"title": "x"}, r'has objects \(row 2: {"title": "x"}\); text is needed; write a separate column'),
    ],
)
def test_text_is_needed(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(DataError, match=r"column text of .*a\.jsonl " + message):
        read(tmp_path / "a.jsonl", lines([{"text": None, "label": 0}, {"text": value, "label": 1}]))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", "", r"a\.jsonl is empty \(0 bytes\); a JSON lines file with rows is needed"),
        ("a.jsonl", "\n", r"a\.jsonl is blank"),
        ("a.json", "[]", r"a\.json has no rows: its list is empty"),
        ("a.json", '[{"text": "a",', r"cannot be read as json: line 1 is not valid JSON: .* at column 15"),
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n{"text": }\n',
            r"2 is not valid JSON: Expecting value at column 10",
        ),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": "b',
            r"line 2 is not valid JSON: Unterminated string at column 10\. .*incomplete, so write or download it again",
        ),
        ("a.jsonl", '{"text": "a", "label": 1}\n["b", 1]\n', r"an object is needed in line 2, got lists"),
        ("a.json", '["a", "b"]', r"an object is needed in row 1, got text"),
        ("a.json", '"a"', r"a\.json has text; a list of objects is needed"),
        ("a.json", '{"text": "a", "label": 1}', r"a\.json has one object; a list of objects is needed"),
        ("a.json", '{"n": 1, "data": [{"text": "a"}]}', r"the rows seem to be in 'data': save this list as a file"),
        ("a.json", '{"text": {"0": "a"}, "label": {"0": 1}}', r"has one object; .*to_json\(FILE, orient='records'\)"),
        ("a.json", '{"data": [{"text": "a"}]}', r"has one object; .* the rows seem to be in 'data'"),
        ("a.json", '{"text": ["a", "b"], "label": [1]}', r"columns of different lengths: text 2, label 1"),
        ("a.jsonl", "text,label\na,1\n", r"line 1 is not valid JSON: Expecting value at column 1"),
        ("a.jsonl", '{"text": "caf\xe9", "label": 1}'.encode("latin-1"), r"line 1: byte 0xe9 is not UTF-8"),
        (
            "a.jsonl",
            '{"text": "a", "label": "x"}\n{"text": "b", "label": 1}',
            r'column label of .* has text \(row 1: "x"\) and integers \(row 2: 1\); write all of its values as one',
        ),
        (
            "a.jsonl",
            '{"text": "\\ud83d", "label": 1}',
            r"column text of .* has unsupported values: .*surrogate",
        ),
        ("a.jsonl", b"PK\x03\x04", r"a\.jsonl is a zip archive"),
        ("a.json", "[" * 100_000, r"cannot be read as json: line 1 is not valid JSON"),
    ],
)
def test_file_without_rows_is_refused(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(tmp_path / name, content)
