"""Entities from a sweep file to predictions, with texts longer than the model's input."""

import json
import random
import threading
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from peft import PeftModel
from transformers import AutoModelForTokenClassification, AutoTokenizer
from typer.testing import CliRunner

from orchestrator.cli.app import make_app
from orchestrator.evaluation.measurement_file import kept_measurement
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.entities.entity_words import words_of
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.report.stored_summary import stored_summary
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import locate
from orchestrator.tracking.logged_models.adapters import read_card
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")


def rows(count: int) -> list[dict[str, Any]]:
    """Texts with entities of one word (``sport``) and of two words (``good game``), some longer than 32 tokens."""
    draw = random.Random(1)
    found = []
    for number in range(count):
        words = draw.choices(["the", "film", "was", "a", "very", "plot"], k=draw.choice([6, 12, 60]))
        words[draw.randrange(4)] = "sport"
        words[-1:] = ["good", "game", str(number)]
        text, spans = " ".join(words), []
        for label, name in (("TOPIC", "sport"), ("EVENT", "good game")):
            start = text.index(name)
            spans.append({"start": start, "end": start + len(name), "label": label})
        found.append({"text": text, "entities": spans})
    return found


def test_entities_are_searched_registered_and_used(tmp_path: Path) -> None:
    file, data = tiny_sweep(tmp_path), tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(140)))
    fixed = ("data.max_length=32", "budget.trials=1")
    space = ("search.space={learning_rate: {choices: [0.01]}}", "training.epochs=20", "training.batch_size=4")
    spec = read_spec(file, ("objective=entities", f"data.source={data}", *fixed, *space))
    assert spec.metric.name == "val/f1"
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    summary = done.sweep.facts.data_summary
    assert summary.classes == ("O", "B-EVENT", "I-EVENT", "B-TOPIC", "I-TOPIC")
    assert (done.sweep.facts.baseline or {})["val/f1"] == pytest.approx(1.0)
    candidate = stored_sweep("tiny").candidates().choose()
    folder = export_adapter(candidate, tmp_path / "export")
    card = read_card(folder)
    assert card.metrics["test/f1"] > 0.8
    scores = stored_summary(Ledger.open(), done.sweep).quality.classes[candidate.trial.number]
    assert {each.name: each.f1 for each in scores.classes} == {
        name: pytest.approx(card.metrics[f"test/f1_{name}"]) for name in ("EVENT", "TOPIC")
    }
    assert (scores.unit, scores.confusion) == ("entities", ())

    worst = pd.read_csv(sweep_dir(done.sweep) / "worst_rows.csv", keep_default_na=False)
    measured = kept_measurement(sweep_dir(done.sweep), candidate.trial, spec.metric)
    assert measured is not None
    counts = (measured.rows.scores[f"entities_{name}"] for name in ("right", "predicted", "true"))
    for row, (right, predicted, true) in enumerate(zip(*counts, strict=True)):
        for _, shown in worst[worst["row"] == row].iterrows():
            parts = [*filter("(none)".__ne__, shown["missed"].split(" | "))]
            assert len(parts) == true - right
            assert all(part.rpartition(" (")[0] in shown["text"] for part in parts)
            assert len([*filter("(none)".__ne__, shown["wrong"].split(" | "))]) == predicted - right

    long = f"the sport was a {'very ' * 70}good game"
    arguments = ["predict", str(folder), "--json", long, "the film"]
    [first, second] = json.loads(CliRunner().invoke(make_app(), arguments).stdout)["predictions"]
    for one in first["entities"]:
        assert long[one["start"] : one["end"]] == one["text"]
    assert {(one["text"], one["label"]) for one in first["entities"]} >= {("good game", "EVENT")}
    assert second["answer"] == "(no entity)" or second["entities"]
    (tmp_path / "in.csv").write_text('text\n"the"\n""\n')
    written = tmp_path / "out.csv"
    called = CliRunner().invoke(
        make_app(), ["predict", str(folder), "--file", str(tmp_path / "in.csv"), "-o", str(written)]
    )
    assert called.exit_code == 0, called.output
    table = pd.read_csv(written, keep_default_na=False)
    assert table["entities"].tolist() == ["[]", ""]

    short = "the sport was a good game"
    base = AutoModelForTokenClassification.from_pretrained(card.base_path, num_labels=5, ignore_mismatched_sizes=True)
    plain = PeftModel.from_pretrained(base, str(folder)).eval()
    encoded = AutoTokenizer.from_pretrained(folder)(short, return_tensors="pt")
    tags = [card.labels[tag] for tag in plain(**encoded).logits[0].argmax(-1).tolist()[1:-1]]
    location = locate(spec.tracking)
    request = PromotionRequest(name="tiny", metric=spec.metric, forced="a test")
    promote(stored_sweep("tiny").sweep, candidate, location, request)
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.set_registry_uri(location.registry_uri)
    found: Any = mlflow.pyfunc.load_model("models:/tiny/1").predict(pd.DataFrame({card.text_column: [long, short]}))
    assert [one["text"] for one in found["entities"][0]] == [one["text"] for one in first["entities"]]
    begins = {short[start:end] for tag, (start, end) in zip(tags, words_of(short), strict=True) if tag[0] == "B"}
    assert {one["text"].split()[0] for one in found["entities"][1]} == begins
