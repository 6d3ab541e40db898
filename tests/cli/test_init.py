"""``init``: a sweep file that validates, from answers or options, with columns found in the data."""

import csv
import json
import re
from pathlib import Path

import pytest

from orchestrator.core.errors import DataError, UserError
from orchestrator.core.space import FloatRange
from orchestrator.preparation.draft import guessed_columns, rate_range
from orchestrator.stores import read_spec
from tests.assets.test_gguf import FILE, write_gguf
from tests.cli.conftest import ROOT, Invoke


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    """The tickets with other column names."""
    with (ROOT / "docs/examples/tickets.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    path = tmp_path / "mails.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "body", "team"])
        writer.writerows([number, row["text"], row["label"]] for number, row in enumerate(rows))
    return path


def test_answers_give_a_sweep_file_that_validates(invoke: Invoke, mails: Path, tmp_path: Path) -> None:
    file = tmp_path / "mails.yaml"
    shown = invoke("init", str(file), stdin=f"classification\nminilm\n{mails}\n").output
    spec = read_spec(file)
    assert spec.objective == "classification"
    assert spec.data.columns == {"text": "body", "label": "team"}
    assert spec.data.source.name == str(mails)
    rate = next(parameter.distribution for parameter in spec.space.parameters if parameter.name == "learning_rate")
    assert isinstance(rate, FloatRange)
    assert (rate.low, rate.high) == pytest.approx(rate_range(22_700_000), rel=0.1)
    assert "source: ./mails.csv" in file.read_text()
    assert "valid" in shown
    assert "a trial: " in shown
    time_line = next(line for line in shown.splitlines() if line.startswith("time: "))
    assert re.match(r"time: about .* for 12 trials, \d+ at once, estimated from 3 optimizer steps on", time_line)
    assert "; at most 30 min 00 s (budget.wall_time)" in time_line


def test_default_answers_are_those_of_the_task(invoke: Invoke, tmp_path: Path) -> None:
    invoke("init", str(tmp_path / "mentions.yaml"), "--no-estimate", stdin="multi_label\n\n\n")
    spec = read_spec(tmp_path / "mentions.yaml")
    assert (spec.objective, spec.model.name, spec.data.source.name) == ("multi_label", "minilm", "news-mentions")


def test_head_of_tokens_gets_a_higher_rate(invoke: Invoke, tmp_path: Path) -> None:
    rows = [{"text": f"seen in town{row} today", "entities": [[8, 12 + len(str(row)), "TOWN"]]} for row in range(80)]
    data, file = tmp_path / "rows.jsonl", tmp_path / "towns.yaml"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    invoke("init", str(file), "--task", "entities", "--model", "minilm", "--data", str(data), "--no-estimate")
    assert read_spec(file).fixed["head_learning_rate"] == 1e-2


def test_options_ask_nothing_and_name_columns(invoke: Invoke, mails: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    options = ["--task", "classification", "--model", "minilm", "--data", str(mails), "--label", "team"]
    options.append("--no-estimate")
    document = json.loads(invoke("init", str(file), *options, "--json").stdout)
    assert document["columns"] == {"text": "body", "label": "team"}
    assert sum(document["rows"].values()) > 100
    with pytest.raises(UserError, match=r"own\.yaml exists"):
        invoke("init", str(file), *options)
    with pytest.raises(DataError, match="column 'none' not found"):
        invoke("init", str(tmp_path / "third.yaml"), *options, "--label", "none")
    assert not (tmp_path / "third.yaml").exists()


def test_columns_of_any_task_are_named(invoke: Invoke, tmp_path: Path) -> None:
    rows = [{"asked": f"Who came on day {day}?", "better": f" Guest {day}.", "worse": " No."} for day in range(20)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    options = ["--task", "preference", "--model", "smollm2", "--data", str(tmp_path / "pairs.json"), "--no-estimate"]
    names = ["--column", "chosen=better", "--column", "rejected=worse"]
    with pytest.raises(DataError, match=r"no prompt in .*--column NAME=COLUMN"):
        invoke("init", str(tmp_path / "own.yaml"), *options, *names)
    with pytest.raises(UserError, match="--column: NAME=COLUMN is needed, such as target=summary; got 'prompt'"):
        invoke("init", str(tmp_path / "own.yaml"), *options, "--column", "prompt")
    invoke("init", str(tmp_path / "own.yaml"), *options, *names, "--column", "prompt=asked")
    assert read_spec(tmp_path / "own.yaml").data.columns == {"chosen": "better", "rejected": "worse", "prompt": "asked"}


def test_nested_questions_are_rows(invoke: Invoke, tmp_path: Path) -> None:
    contexts = [f"Ship {number} came in May." for number in range(20)]
    paragraphs = [
        {
            "context": context,
            "qas": [
                {"id": context, "question": "When?", "answers": [{"text": "May", "answer_start": len(context) - 4}]}
            ],
        }
        for context in contexts
    ]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"version": "1.1", "data": [{"title": "Ships", "paragraphs": paragraphs}]}))
    document = json.loads(invoke("data", str(file), "--objective", "extractive_qa", "--json").stdout)
    assert document["rows"] == {"train": 12, "validation": 4, "test": 4}


def test_missing_folder_is_found_before_anything_is_read(invoke: Invoke, tmp_path: Path) -> None:
    options = ["--task", "classification", "--model", "minilm", "--data", str(tmp_path / "absent.csv")]
    with pytest.raises(UserError, match=r"FILE: .*nowhere is not a folder"):
        invoke("init", str(tmp_path / "nowhere" / "new.yaml"), *options)


def test_path_of_gguf_file_is_written_from_the_new_file(
    invoke: Invoke, mails: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    write_gguf(tmp_path / "models")
    monkeypatch.chdir(tmp_path / "models")
    options = ["--task", "classification", "--model", FILE, "--data", str(mails), "--no-estimate"]
    invoke("init", str(tmp_path / "own.yaml"), *options)
    assert f"model: ./models/{FILE} " in (tmp_path / "own.yaml").read_text()


def test_columns_are_guessed_only_where_clear() -> None:
    rows: dict[str, list[object]] = {
        "id": [1, 2, 3, 4],
        "note": ["a", "a", "b", "b"],
        "body": ["some words", "and more", "of them", "here"],
    }
    assert guessed_columns(rows, {}) == {"text": "body", "label": "note"}
    assert guessed_columns({"text": ["a"] * 4, "label": [1, 2, 1, 2], "x": [1, 1, 2, 2]}, {}) == {}
    assert guessed_columns({"text": ["a"] * 4, "id": [1, 2, 3, 4]}, {}) == {}


def test_named_columns_get_no_second_use() -> None:
    rows: dict[str, list[object]] = {"note": ["a", "a", "b", "b"], "body": ["some words", "and", "some words", "and"]}
    assert guessed_columns(rows, {"label": "body"}) == {"text": "note"}
    assert guessed_columns(rows, {"text": "note"}) == {"label": "body"}
    assert guessed_columns(rows, {"group": "note"}) == {"text": "body"}
