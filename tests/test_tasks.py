"""Several labels per text, numbers, text pairs and found classes, from a sweep file to predictions."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from orchestrator.cli.app import make_app
from orchestrator.core.errors import UserError
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.report.stored_summary import stored_summary
from orchestrator.serving.predictor import Predictor
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import connect, locate
from orchestrator.tracking.logged_models.adapters import read_card
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")

Write = Callable[[list[tuple[str, str]]], list[str]]


def several(rows: list[tuple[str, str]]) -> list[str]:
    return ["text,label", *(f"{text},{label}; about a film" for text, label in rows)]


def numbers(rows: list[tuple[str, str]]) -> list[str]:
    return ["text,joy,anger", *(f"{text},{2 * (label == 'positive')},{len(text)}.5" for text, label in rows)]


def pairs(rows: list[tuple[str, str]]) -> list[str]:
    return ["premise,hypothesis,label", *(f"{text},it was good,{label}" for text, label in rows)]


TASKS: Mapping[str, tuple[Write, str, tuple[str, ...], str]] = {
    "multi_label": (several, "{}", ("about a film", "negative", "positive"), "val/micro_f1"),
    "regression": (numbers, "{label/joy: joy, label/anger: anger}", ("joy", "anger"), "val/spearman"),
    "classification": (pairs, "{text: premise, text_pair: hypothesis}", ("negative", "positive"), "val/macro_f1"),
}


def check_rows_have_equal_columns(folder: Path, into: Path) -> None:
    """Rows with exactly one label and rows with several have the same fields; the head gets fixed logits."""
    weights = load_file(folder / "adapter_model.safetensors")
    [weight] = [name for name in weights if name.endswith("classifier.weight")]
    logits = {weight.replace("weight", "bias"): torch.tensor([9.0, -9.0, -9.0])}
    save_file({**weights, weight: torch.zeros_like(weights[weight]), **logits}, folder / "adapter_model.safetensors")
    (into / "in.csv").write_text("text\nfine\nsad\n")
    arguments = ["predict", str(folder), "--file", str(into / "in.csv")]
    for extra in ([], ["-o", str(into / "out.csv")], ["--json"], ["--calibrated"]):
        done = CliRunner().invoke(make_app(), [*arguments, *extra])
        if not extra:
            assert done.stdout.splitlines() == ["about a film\tfine", "about a film\tsad"]
        if extra == ["--json"]:
            assert [row["score"] for row in json.loads(done.stdout)["predictions"]] == [None, None]
        if extra == ["--calibrated"]:
            assert isinstance(done.exception, UserError)
            assert "only models with one label per text have a temperature" in str(done.exception)
    written = pd.read_csv(into / "out.csv")
    assert [*written] == ["text", "answer", *(f"probability/{name}" for name in TASKS["multi_label"][2])]
    assert written["probability/about a film"].min() > 0.99


def check_report(objective: str, names: tuple[str, ...]) -> None:
    """The report has the scores of each class or target, and the worst rows with true and predicted values."""
    shown = stored_summary(Ledger.open(), stored_sweep("tiny").sweep)
    assert shown.leaderboard.best is not None
    found = shown.quality.to_json()
    part = "target_errors" if objective == "regression" else "class_scores"
    scores = found[part][shown.leaderboard.best.number]
    named = scores if objective == "regression" else scores["classes"]
    assert tuple(each["name"] for each in named) == names
    lines = dict(shown.quality_lines)
    assert {"targets" if objective == "regression" else "classes", "worst rows"} <= lines.keys()
    worst = pd.read_csv(sweep_dir(shown.sweep) / "worst_rows.csv")
    assert worst[["label", "predictions", "text"]].notna().all().all()
    if objective == "regression":
        assert worst["mean_absolute_error"].is_monotonic_decreasing
        assert worst["label"][0].startswith("joy ")


@pytest.mark.parametrize("objective", TASKS)
def test_task_is_searched_registered_and_used(objective: str, tmp_path: Path) -> None:
    write, columns, names, metric = TASKS[objective]
    file = tiny_sweep(tmp_path)
    table = tmp_path / "rows.csv"
    cells = [line.rsplit(",", 1) for line in table.read_text().splitlines()[1:]]
    table.write_text("\n".join(write([(text, label) for text, label in cells])) + "\n")
    settings = (f"objective={objective}", f"data.columns={columns}", "budget.trials=1")
    spec = read_spec(file, (*settings, f"search.metric={metric}"))
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    assert done.sweep.facts.data_summary.classes == names
    assert any(name.startswith("val/") for name in done.sweep.facts.baseline or {})
    check_report(objective, names)
    candidate = stored_sweep("tiny").candidates().choose()
    folder = export_adapter(candidate, tmp_path / "export")
    card = read_card(folder)
    assert (card.labels, card.pair_column is None) == (names, objective != "classification")

    texts, seconds = ["the film was good", "the plot was sad", ""], ["it was good", "it was good", "it was good"]
    predictor = Predictor.load(str(folder), locate(spec.tracking))
    answers = predictor.predict(texts, pairs=seconds if card.pair_column else None)
    assert answers[2].answer is None
    numbers_by_name = answers[0].values or answers[0].probabilities
    assert (*numbers_by_name,) == names

    if objective == "multi_label":
        check_rows_have_equal_columns(folder, tmp_path)

    location = locate(spec.tracking)
    request = PromotionRequest(name="tiny", metric=spec.metric, forced="a test")
    promote(stored_sweep("tiny").sweep, candidate, location, request)
    connect(location)
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.set_registry_uri(location.registry_uri)
    frame = pd.DataFrame({card.text_column: texts[:2], **({card.pair_column: seconds[:2]} if card.pair_column else {})})
    found: Any = mlflow.pyfunc.load_model("models:/tiny/1").predict(frame)
    column = "values" if objective == "regression" else "probabilities"
    assert found[column][0] == pytest.approx(dict(numbers_by_name), abs=1e-5)
