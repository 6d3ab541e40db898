"""Instruction tuning from a sweep file to predictions, with a tiny model."""

import json
import threading
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from orchestrator.cli.app import make_app
from orchestrator.core.errors import UserError
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.serving.predictor import Predictor
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import connect, locate
from orchestrator.tracking.logged_models.adapters import read_card
from tests.fakes.tiny_chat import MARKED, tiny_chat_model, write_chats

pytestmark = pytest.mark.usefixtures("own_stores")

SWEEP = """
name: talk
objective: chat
model: ./model
data: {source: ./chats.jsonl, chat_template: ./chat.jinja, train: 48, validation: 16, test: 16, train_eval: 16}
training: {epochs: 1, batch_size: 16}
search:
  metric: val/token_accuracy
  sampler: random
  space: {learning_rate: {low: 1.0e-2, high: 3.0e-2, log: true}}
early_stopping: {rule: none, reports: 2}
budget: {trials: 2}
confirm: none
resources: {parallel_trials: 2}
tracking: {keep_adapters: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tiny_chat_model(tmp_path / "model", template=None)
    write_chats(tmp_path / "chats.jsonl")
    (tmp_path / "chat.jinja").write_text(MARKED)
    (tmp_path / "talk.yaml").write_text(SWEEP)
    return tmp_path / "talk.yaml"


def test_chat_is_searched_registered_and_used(file: Path) -> None:
    spec = read_spec(file, ("data.max_length=40",))
    said: list[str] = []
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), said.append)
    assert done.sweep.facts.data_summary.turns.keys() == {"1", "2", "3"}
    assert done.sweep.facts.data_summary.truncated["train"] > 0
    assert any(line.startswith("turns: training conversations by assistant turns: 1: ") for line in said)
    assert done.sweep.facts.baseline is not None  # of the untuned model
    assert {"val/token_accuracy", "test/token_accuracy", "test/loss"} <= done.sweep.facts.baseline.keys()
    candidate = stored_sweep("talk").candidates().choose()
    assert {"test/loss", "test/perplexity", "test/token_accuracy"} <= candidate.trial.measured_last.keys()

    folder = export_adapter(candidate, file.parent / "export")
    assert (read_card(folder).chat, read_card(folder).chat_template) == (True, MARKED)
    assert AutoTokenizer.from_pretrained(folder).chat_template == MARKED
    predictor = Predictor.load(str(folder), locate(spec.tracking))
    as_messages = json.dumps([{"role": "user", "content": "is it good?"}])
    plain, messages, blank = predictor.predict(["is it good?", as_messages, ""], max_new_tokens=4)
    assert plain.answer == messages.answer
    assert blank.answer is None
    with pytest.raises(UserError, match=r"a conversation has .* tokens, the model .* positions; leave out turns"):
        predictor.predict(["is it good ? " * 400])
    runner = predictor._runner  # the prompt has no other sign than the answer
    assert runner.tokenizer.decode(runner._prompt("is it good?")) == (
        "<|im_start|> user is it good ? <|im_end|> <|im_start|> assistant"
    )

    location = locate(spec.tracking)
    promote(
        stored_sweep("talk").sweep, candidate, location, PromotionRequest(name="talk", metric=spec.metric, forced="t")
    )
    connect(location)
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.set_registry_uri(location.registry_uri)
    model: Any = mlflow.pyfunc.load_model("models:/talk/1")
    found = model.predict(pd.DataFrame({"text": ["is it good?", as_messages]}), params={"max_new_tokens": 4})
    assert [*found["text"]] == [plain.answer, plain.answer]


def test_data_shows_conversations(file: Path) -> None:
    done = CliRunner().invoke(make_app(), ["data", str(file), "--json"])
    assert done.exit_code == 0, done.output
    view = json.loads(done.stdout)
    assert view["examples"][0].keys() == {"messages"}
    assert view["examples"][0]["messages"].startswith("system: be nice\nuser: is the ")
    assert view["lengths"]["train"]["rows"] == 48
    assert sum(view["data_summary"]["turns"].values()) == 48
