"""``predict``: one answer for each text, line or row, in order. Other inputs are refused."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.commands import predict
from orchestrator.core.errors import UserError
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.tracking.logged_models.staging import stage_adapter
from tests.cli.conftest import Invoke
from tests.conftest import copied
from tests.promotion.conftest import track, trained
from tests.tracking.records import sweep, trial
from tests.tracking.trained import TrainedSweep, writer_adapters

__all__ = ["trained"]
LIMIT = ("--max-new-tokens", "2")


@pytest.fixture(scope="module")
def folder(trained: TrainedSweep, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("exported")
    tracked = track(trained, copied(empty_store, place / "mlflow"))
    return str(export_adapter(tracked.candidates().choose(), place / "films"))


def test_each_stdin_line_gets_one_answer(invoke: Invoke, folder: str) -> None:
    long = "the plot was awful " * 20
    done = invoke("predict", folder, stdin=f"\ufeffa great film\r\n\r\n{long}\n  \nfine")
    lines = done.stdout.split("\n")
    assert lines.pop() == ""
    assert [line.split("\t")[-1] for line in lines] == ["a great film", "", " ".join(long.split()), "", "fine"]
    assert len(lines[0].split("\t")) == 3
    assert "2 of 5 texts are blank and have no answer" in done.stderr
    alone = json.loads(invoke("predict", folder, "a great film", "--json").stdout)["predictions"]
    assert lines[0].split("\t")[0] == alone[0]["answer"]  # without byte order mark and line end


def test_json_includes_blank_lines(invoke: Invoke, folder: str) -> None:
    result = json.loads(invoke("predict", folder, "--json", stdin="fine\n\nfine\n").stdout)["predictions"]
    assert [item["text"] for item in result] == ["fine", "", "fine"]
    empty: dict[str, Any] = {
        "probabilities": {},
        "values": {},
        "score": None,
        "cut": None,
        "entities": None,
        "answers": [],
    }
    assert result[1] == {"text": "", "answer": None, **empty}
    assert result[0]["answer"] == result[2]["answer"]
    assert result[0]["probabilities"] == pytest.approx(result[2]["probabilities"], abs=1e-5)  # rounded by place


def test_cut_answers_are_counted_and_marked(invoke: Invoke, tmp_path: Path) -> None:
    adapters, record = writer_adapters(tmp_path, "causal_lm"), trial(0, (0.5,))
    adapter = adapters.folder(record)
    assert adapter is not None
    folder = str(stage_adapter(adapter, adapters.card(sweep(), record), tmp_path / "staged"))
    (tmp_path / "in.csv").write_text("text\nthe match\n")
    done = invoke("predict", folder, "--file", str(tmp_path / "in.csv"), "-o", str(tmp_path / "o.csv"), *LIMIT)
    assert "1 of 1 answers are cut: no end within 2 tokens. See --max-new-tokens" in done.stderr
    with (tmp_path / "o.csv").open(newline="") as file:
        assert [row["cut"] for row in csv.DictReader(file)] == ["true"]


def test_classifier_has_no_limit_of_tokens(invoke: Invoke, folder: str) -> None:
    with pytest.raises(UserError, match="is a classifier; leave the option out"):
        invoke("predict", folder, "fine", *LIMIT)


def test_output_file_has_rows_and_answers(invoke: Invoke, folder: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,review\n007,a great film\n008,\n009,"awful,\nsad"\n')
    done = invoke(
        "predict", folder, "--file", str(tmp_path / "in.csv"), "--column", "review", "-o", str(tmp_path / "o.csv")
    )
    assert "1 of 3 texts is blank" in done.stderr
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["id"], row["review"]) for row in rows] == [
        ("007", "a great film"),
        ("008", ""),
        ("009", "awful,\nsad"),
    ]
    assert [bool(row["answer"]) for row in rows] == [True, False, True]
    alone = json.loads(invoke("predict", folder, "a great film", "--json").stdout)["predictions"][0]
    assert rows[0]["answer"] == alone["answer"]
    assert float(rows[0]["score"]) == pytest.approx(alone["score"], abs=1e-5)


def test_column_of_the_training_data_is_found(invoke: Invoke, folder: str, tmp_path: Path) -> None:
    trained_on_reviews = Path(shutil.copytree(folder, tmp_path / "reviews"))
    card = trained_on_reviews / "loratory.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "text_column": "review"}))
    (tmp_path / "in.csv").write_text("id,review\n7,a great film\n")
    found = invoke("predict", str(trained_on_reviews), "--file", str(tmp_path / "in.csv"), "--json")
    assert [item["text"] for item in json.loads(found.stdout)["predictions"]] == ["a great film"]


def test_file_without_output_prints_one_line_per_row(invoke: Invoke, folder: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a great film\\nindeed"}\n{"text": null}\n')
    done = invoke("predict", folder, "--file", str(tmp_path / "in.jsonl"))
    assert [line.split("\t")[-1] for line in done.stdout.splitlines()] == ["a great film indeed", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "text 1 is blank"),
        (("fine", " \t"), "text 2 is blank"),
        (("rows.csv",), r"rows.csv names a file; to predict its rows: .* predict MODEL --file rows.csv"),
        (("{folder}/rows.csv",), "rows.csv names a file"),
        (("{folder}/notes.md",), r"notes.md names a file; to predict its lines: .* predict MODEL < "),
        (("a text", "--column", "text"), "--column needs --file"),
        (("--output", "out.csv"), "--output needs --file"),
        (("fine", "--file", "{folder}/rows.csv"), "give texts or --file, not both"),
        (("--file", "{folder}/rows.csv", "-o", "out.txt"), r"--output: one of the extensions .csv"),
        (("--file", "{folder}/none.csv"), "--file: file .*none.csv does not exist"),
        (("--file", "{folder}/blank.csv"), "blank.csv: the text column is empty in every row; choose another"),
        (("--file", "{folder}/rows.csv", "-o", "{folder}/none/out.csv"), "--output: the folder .*/none does not exist"),
        (("--file", "{folder}/rows.csv", "-o", "{folder}/dir.csv"), "--output: .*dir.csv is a folder"),
        (("caf\udce9",), "text 1 is not UTF-8"),
    ],
)
def test_invalid_inputs_are_refused(invoke: Invoke, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "rows.csv").write_text("text\nfine\n")
    (tmp_path / "blank.csv").write_text("text\n\n")
    (tmp_path / "notes.md").write_text("fine\n")
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(UserError, match=message):
        invoke("predict", "nothing", *(argument.replace("{folder}", str(tmp_path)) for argument in arguments))


def test_carriage_return_does_not_end_line(invoke: Invoke, folder: str) -> None:
    result = json.loads(invoke("predict", folder, "--json", stdin="fine\rindeed\r\nawful\n").stdout)["predictions"]
    assert [item["text"] for item in result] == ["fine\rindeed", "awful"]


def test_text_resembling_file_name_is_predicted(invoke: Invoke, folder: str) -> None:
    texts = ("see rows.csv", "fine/awful", "x" * 5000, ".", "tests")
    result = json.loads(invoke("predict", folder, *texts, "--json").stdout)["predictions"]
    assert [item["text"] for item in result] == [*texts]


def test_progress_is_shown_without_terminal(
    invoke: Invoke, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "SILENCE_S", 0.0)
    (tmp_path / "in.csv").write_text("text\nfine\nawful\nsad\n")
    done = invoke("predict", folder, "--file", str(tmp_path / "in.csv"), "--batch-size", "2", "--json")
    assert "2 of 3 texts" in done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 3
