"""``data``: the rows of a sweep, or of a data file."""

import json
from pathlib import Path

import pytest

from orchestrator.core.errors import DataError, SpecError
from tests.cli.conftest import Invoke, Run
from tests.fakes.tiny_sweep import tiny_sweep

LONG = "the film was long and good and long and good and long and good and long and good and so on in row"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Return a sweep file whose rows hold a blank text, a copy, a long text and near-duplicates."""
    file, rows = tiny_sweep(tmp_path), tmp_path / "rows.csv"
    copies = "".join(f"{LONG} {number},positive\n" for number in range(60))
    rows.write_text(f"{rows.read_text()} ,negative\nthe film was bad and number 0,negative\n{copies}")
    return file


def test_data_shows_rows_lengths_and_near_copies(invoke: Invoke, sweep: Path) -> None:
    arguments = ("data", str(sweep), "--set", "data.train=null", "--examples", "2")
    document = json.loads(invoke(*arguments, "--json").stdout)
    rows, summary = document["rows"], document["data_summary"]
    assert (rows["validation"], rows["test"]) == (32, 32)
    assert summary["dropped"]["blank text"] == 1
    assert sum(sum(counts.values()) for counts in summary["label_counts"].values()) == sum(rows.values())
    train = document["lengths"]["train"]
    assert (train["rows"], document["max_length"]) == (rows["train"], 16)
    assert train["shortest"] <= train["median"] <= train["p90"] <= train["p99"] <= train["longest"]
    assert train["longest"] > 16, "lengths are those before truncation"
    assert summary["truncated"]["train"] > 0
    assert document["near_copies"]
    assert {"text", "label"} <= document["examples"][0].keys()
    assert document["examples"][0]["label"] in {"negative", "positive"}
    assert len(document["examples"]) == 2
    shown = invoke(*arguments).stdout
    assert all(words in shown for words in ("blank text: 1", "length in tokens", "near-duplicates", "training rows"))


def test_data_reads_a_file_without_a_sweep(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("body\tmood\n" + "".join(f"a text {number}\t{number % 2}\n" for number in range(50)))
    for columns in ((), ("--set", "data.columns.text=body"), ("--set", "data.columns={text: body, label: mood}")):
        found = invoke("data", str(path), *columns, "--json")
        document = json.loads(found.stdout)
        assert document["rows"] == {"train": 30, "validation": 10, "test": 10}
        assert set(document["data_summary"]["label_counts"]["train"]) == {"0", "1"}
        is_guessed = "column label: mood (--set data.columns.label=COLUMN names another)" in found.stderr
        assert is_guessed is ("label" not in str(columns))


def test_validate_refuses_too_short_max_length(invoke: Invoke, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    rows = [
        {"question": "how was it", "context": f"the film {number} was good", "answers": [{"text": "good"}]}
        for number in range(140)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("--set", "objective=extractive_qa", "--set", "data.source=./rows.jsonl")
    done = invoke("validate", str(file), "--data", *given)
    assert done.exit_code == 2
    assert "data.max_length: at least 32 tokens are needed for question and context, got 16" in done.stderr
    assert invoke("validate", str(file), "--data", *given, "--set", "data.max_length=32").exit_code == 0


def test_password_of_a_database_is_not_shown(called: Run) -> None:
    shown = called("data", "postgresql://ann:s3cret-word@db.example.org/shop?query=SELECT 1", check=2)
    assert "an address without a password is needed" in shown.stderr
    assert "s3cret" not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing.csv", "missing.csv: data.source: no such file or folder"),
        ("sqlite:///none.db?query=SELECT 1", "sqlite:///none.db?query=SELECT 1: data.source: no such file or folder"),
    ],
)
def test_problems_of_a_data_file_name_it(invoke: Invoke, file: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        invoke("data", file)
    assert message in str(refused.value)


def test_option_for_columns_is_named(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("body,label\n" + "".join(f"a text {number},{number % 2}\n" for number in range(50)))
    with pytest.raises(DataError, match=r"column 'bdy' not found .*add --set 'data\.columns\.NAME=COLUMN'\."):
        invoke("data", str(path), "--set", "data.columns.text=bdy")
