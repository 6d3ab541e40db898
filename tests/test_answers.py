"""Extractive question answering from a sweep file to predictions: tuned threshold, export, registry, plain MLflow."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from orchestrator.cli.app import make_app
from orchestrator.evaluation.extractive_qa.row_scores import tuned_metrics, tuned_threshold
from orchestrator.evaluation.measurement_file import kept_measurement, kept_validation
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.report.stored_summary import stored_summary
from orchestrator.serving.predictor import Prediction, Predictor
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import locate
from orchestrator.tracking.logged_models.adapters import read_card
from tests.fakes.tiny_answers import tiny_questions
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")

LOADED = """
import importlib.util, json, sys
import mlflow, pandas as pd

assert importlib.util.find_spec("orchestrator") is None
model = mlflow.pyfunc.load_model("models:/hall/1")
frame = pd.DataFrame(json.loads(sys.argv[1]))
answers = model.predict(frame, params={"answers": 2})
try:
    model.predict(frame, params={"answers": 0})
except mlflow.exceptions.MlflowException as error:
    assert "at least 1 answer per row is needed, got 0" in str(error)
else:
    raise SystemExit("no answers were asked for")
print(json.dumps(answers.astype(object).where(answers.notna(), None).to_dict("records")))
"""


def test_answers_are_searched_registered_and_used(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    rows = [
        {"asked": row["question"], "context": row["context"], "answers": row["answers"]}
        for row in tiny_questions(160, 0)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = ("data.source=./rows.jsonl", "data.columns={question: asked}", "data.max_length=32", "budget.trials=1")
    spec = read_spec(file, ("objective=extractive_qa", *settings))
    assert spec.metric.name == "val/f1"
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    assert {"val/f1", "test/exact_match"} <= (done.sweep.facts.baseline or {}).keys()
    stored = stored_sweep("tiny")
    candidate = stored.candidates().choose()
    folder = export_adapter(candidate, tmp_path / "export")
    card = read_card(folder)
    assert (card.head, card.text_column, card.pair_column) == ("question_answering", "asked", "context")
    assert "test/f1" in card.intervals

    test = kept_measurement(sweep_dir(done.sweep), candidate.trial, spec.metric)
    validation = kept_validation(sweep_dir(done.sweep), candidate.trial, spec.metric)
    assert test is not None
    assert validation is not None
    threshold = tuned_threshold(validation.rows.scores)
    assert threshold is not None
    assert card.no_answer_threshold == threshold
    tuned = tuned_metrics(test.rows.scores, threshold)
    assert {f"test/{name}": value for name, value in tuned.items()}.items() <= card.metrics.items()

    summary = stored_summary(Ledger.open(), stored.sweep)
    scores = summary.quality.answers[candidate.trial.number]
    assert scores.threshold == threshold
    assert scores.answerable is not None
    assert scores.unanswerable is not None
    parts = (scores.answerable, scores.unanswerable)
    assert sum(part.rows * part.f1 for part in parts) / len(test.rows.losses) == pytest.approx(tuned["tuned_f1"])
    assert {"answers", "worst rows"} <= dict(summary.quality_lines).keys()
    worst = pd.read_csv(sweep_dir(done.sweep) / "worst_rows.csv")
    assert worst["mean_f1"].is_monotonic_increasing
    assert worst[["target", "answers"]].notna().all().all()

    questions, contexts = ["how was it", "how was the film", ""], ["the film was good", "the plot " * 40 + "great", "a"]
    predictor = Predictor.load(str(folder), locate(spec.tracking))
    answers = predictor.predict(questions, pairs=contexts)
    assert answers[2].answer is None
    for found, context in zip(answers[:2], contexts, strict=False):
        assert len(found.answers) == 5
        assert all(each["answer"] == context[each["start"] : each["end"]] for each in found.answers)
    check_readme(folder, threshold)
    check_command(folder, tmp_path, questions, contexts, answers)

    location = locate(spec.tracking)
    promote(stored.sweep, candidate, location, PromotionRequest(name="hall", metric=spec.metric, forced="a test"))
    kept_names = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
    plain = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps({"asked": questions[:2], "context": contexts[:2]})],
        cwd=tmp_path,
        env=kept_names | {"MLFLOW_TRACKING_URI": location.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert plain.returncode == 0, plain.stderr
    records = json.loads(plain.stdout.splitlines()[-1])
    for record, found in zip(records, answers, strict=False):
        assert record["answer"] == found.answer
        assert record["score"] == pytest.approx(found.score, abs=1e-5)
        assert [one["start"] for one in record["answers"]] == [one["start"] for one in found.answers[:2]]


def check_readme(folder: Path, threshold: float) -> None:
    """The code of the README loads the adapter and runs."""
    readme = (folder / "README.md").read_text()
    assert f"by more than {threshold:.4g} (tuned on the validation rows)" in readme
    code = readme.split("```python\n")[1].split("```")[0]
    code = code.replace("THIS FOLDER", str(folder)).replace("YOUR QUESTION", "how was it").replace("YOUR TEXT", "good")
    with torch.random.fork_rng():
        exec(code, {})  # noqa: S102  (the code under test)


def check_command(
    folder: Path, into: Path, questions: list[str], contexts: list[str], expected: list[Prediction]
) -> None:
    pd.DataFrame({"q": questions[:2], "c": contexts[:2]}).to_csv(into / "in.csv", index=False)
    arguments = ["predict", str(folder), "--file", str(into / "in.csv"), "--column", "q", "--pair-column", "c"]
    done = CliRunner().invoke(make_app(), [*arguments, "-o", str(into / "out.csv")])
    assert done.exit_code == 0, done.output
    written = pd.read_csv(into / "out.csv", keep_default_na=False)
    assert [*written] == ["q", "c", "answer", "score", "start", "end"]
    assert written["answer"].tolist() == [one.answer for one in expected[:2]]
    pd.DataFrame({"q": questions[:2], "c": contexts[:2]}).to_parquet(into / "in.parquet")
    arguments[3] = str(into / "in.parquet")
    done = CliRunner().invoke(make_app(), [*arguments, "--answers", "2", "--json"])
    found = [row["answers"] for row in json.loads(done.stdout)["predictions"]]
    assert [[one["start"] for one in row] for row in found] == [
        [one["start"] for one in each.answers[:2]] for each in expected[:2]
    ]
    arguments[-1] = "none"
    refused = CliRunner().invoke(make_app(), arguments)
    assert "Name the column of the texts with --pair-column" in str(refused.exception)
