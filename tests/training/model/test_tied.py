"""PiSSA on tied layers: the export equals the trained model."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.solo.engine import SoloEngine
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama, without_dropout
from tests.fakes.tiny_objective import TinyCausal
from tests.plain_peft import PlainPeft
from tests.training.packed.packs import MADE_UP, task
from tests.training.plans import tiny_plan

OBJECTIVE = TinyCausal()


@pytest.fixture
def tied(tmp_path: Path) -> Source:
    """A Llama with ``lm_head`` tied to the embedding."""
    folder = tiny_llama(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]  # transformers does not tie two different weights
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return Source(origin=Origin.LOCAL, name=str(folder))


def trained(build: Callable[[EngineContext], Engine], model: Source, folder: Path, targets: str) -> float:
    """Train a PiSSA trial; return its validation loss."""
    plan = tiny_plan(model, folder)
    trial = task(0, epochs=1.0, learning_rate=1e-2, init="pissa", target_modules=targets)
    with closing(build(EngineContext(plan, OBJECTIVE))) as engine, closing(engine.start(trial)) as run:
        return run.advance(40).metrics["val/loss"]


@pytest.mark.parametrize("engine", [SoloEngine, MixedEngine])
@pytest.mark.parametrize("targets", ["lm_head,q_proj", "embed_tokens,q_proj"])
def test_export_of_pissa_on_tied_layers_is_equal(
    engine: type[SoloEngine] | type[MixedEngine], targets: str, tied: Source, tmp_path: Path, plain_peft: PlainPeft
) -> None:
    loss = trained(engine, tied, tmp_path / "sweep", targets)
    tokenizer = AutoTokenizer.from_pretrained(tied.name)
    data = DataPlan(source=MADE_UP, train=40, validation=20, test=12)
    rows = OBJECTIVE.encode(OBJECTIVE.splits(data).validation, tokenizer, 32)
    adapter = tmp_path / "sweep/trials/0000/checkpoint-40/adapter"
    assert plain_peft.measure(adapter, tied.name, rows, "causal_lm")["loss"] == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("write", [tiny_llama, tiny_gpt2])
def test_pissa_begins_with_the_bases_logits(write: Callable[[Path], Path], tied: Source, tmp_path: Path) -> None:
    folder = without_dropout(write(tmp_path / "other")) if write is tiny_gpt2 else Path(tied.name)
    ids = torch.arange(5, 25)[None]
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    base = load_base(Source(origin=Origin.LOCAL, name=str(folder)), OBJECTIVE, "cpu")
    adapted = adapt(base, TrialSettings(rank=4, init="pissa", target_modules="lm_head"), OBJECTIVE.head)
    with torch.no_grad():
        torch.testing.assert_close(adapted.model.eval()(ids).logits, plain(ids).logits, rtol=0, atol=1e-5)
