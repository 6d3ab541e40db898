"""Predictions for a row do not depend on longer rows beside it: in both engines, the export and plain transformers."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.core.data import DataPlan
from orchestrator.core.trials.trial import TrialTask
from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.solo.engine import SoloEngine
from tests.fakes.odd_models import EOS_ID, odd_llama, tiny_xlnet
from tests.fakes.tiny_models import tiny_gpt2, without_dropout
from tests.fakes.tiny_objective import TinyClassification, tiny_rows
from tests.tracking.cards import made_card, readme_scope
from tests.training.packed.packs import MADE_UP, task
from tests.training.plans import tiny_plan

TRIAL = task(0, epochs=1.0, rank=2, batch_size=8, head_learning_rate=0.05, learning_rate=1e-2)
DATA = DataPlan(source=MADE_UP, train=40, validation=24, test=24, train_eval=8)


def left_padding_gpt2(folder: Path) -> Path:
    """A GPT-2 with a tokenizer for generation that returns token types, which GPT-2 reads as tokens."""
    file = without_dropout(tiny_gpt2(folder)) / "tokenizer_config.json"
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"padding_side": "left", "model_input_names": inputs}))
    return folder


MODELS: dict[str, Callable[[Path], Path]] = {
    "the tokenizer pads with its end token": partial(
        odd_llama, special={"eos_token": "</s>", "pad_token": "</s>"}, pad_token_id=0
    ),
    "every text ends with the padding token": partial(
        odd_llama, special={"eos_token": "</s>", "pad_token": "</s>"}, template="$A </s>", pad_token_id=EOS_ID
    ),
    "no padding token anywhere": partial(odd_llama, special={"eos_token": "</s>"}, pad_token_id=None),
    "nor an end token": partial(odd_llama, special={}, pad_token_id=None, eos_token_id=None),
    "the classifier reads the last place": tiny_xlnet,
    "the tokenizer pads on the left": left_padding_gpt2,
}


def card_of(base: Path, trial: TrialTask) -> AdapterCard:
    return made_card(base, max_length=trial.settings.max_length, trial=trial.number, samples=40)


def plain_logits(folder: Path, texts: Sequence[str], size: int) -> torch.Tensor:
    """Return plain transformers' and peft's logits of texts in batches of ``size``, as the README says."""
    scope, found = readme_scope(folder), []
    for start in range(0, len(texts), size):
        batch = scope["tokenizer"](
            texts[start : start + size], truncation=True, max_length=32, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found.append(scope["model"](**batch).logits.float())
    return torch.cat(found)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_padding_does_not_change_predictions(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = MODELS[name](tmp_path / "model")
    plan = tiny_plan(base, tmp_path / "solo", data=DATA)
    objective = TinyClassification()
    with closing(SoloEngine(EngineContext(plan, objective))) as engine, closing(engine.start(TRIAL)) as run:
        report = run.advance(40)
        adapter = tmp_path / "solo" / str(report.checkpoint) / "adapter"
        measured = engine.measure(adapter, TRIAL, "test")
    packed = replace(plan, sweep_dir=str(tmp_path / "packed"))
    with closing(MixedEngine(EngineContext(packed, objective))) as pack, closing(pack.start(TRIAL)) as together:
        found: dict[Any, Any] = {}
        while not found:
            found = pack.step({together: 40})
    assert found[together].metrics["val/loss"] == pytest.approx(report.metrics["val/loss"], rel=1e-4)

    folder = stage_adapter(adapter, card_of(base, TRIAL), tmp_path / "export")
    rows = tiny_rows(DATA.test, 3)
    texts, labels = rows["text"][:], torch.tensor(rows["label"][:])
    alone, batched = plain_logits(folder, texts, 1), plain_logits(folder, texts, 8)
    assert torch.allclose(alone, batched, atol=1e-5)
    assert torch.nn.functional.cross_entropy(alone, labels).item() == pytest.approx(measured.metrics["loss"], rel=1e-4)
    answers = torch.tensor(AdapterRunner(folder).probabilities(texts, 8))
    assert torch.allclose(alone.softmax(-1), answers, atol=1e-5)
    assert (alone.softmax(-1)[:, 0].max() - alone.softmax(-1)[:, 0].min()).item() > 1e-3  # not constant
