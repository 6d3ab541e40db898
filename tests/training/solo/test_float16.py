"""float16 in the solo engine: the same loss scale as in a pack, and exact resumes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import Adapted, adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.process.loss_scale import FIRST
from orchestrator.training.solo.callback import ReportPoints
from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs
from tests.fakes.tiny_models import tiny_bert, tiny_llama, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification

UPDATES, PAUSE = 16, 13
RATE = 1e-3
SETTINGS = TrialSettings(batch_size=8, learning_rate=RATE, schedule="constant", weight_decay=0.1, rank=4)
MODELS: dict[str, tuple[Callable[[Path], Path], Objective]] = {
    "bert": (tiny_bert, TinyClassification()),
    "llama": (tiny_llama, TinyCausal()),
}


class Run:
    """One trial, trained to its end; it saves a checkpoint after update ``PAUSE``."""

    def __init__(self, model: str, folder: Path, dtype: torch.dtype, dropout: float, scale: float = FIRST) -> None:
        build, objective = MODELS[model]
        if not (folder / "model").exists():
            without_dropout(build(folder / "model"))
        source = Source(origin=Origin.LOCAL, name=str(folder / "model"))
        data = TaskData(objective, DataPlan(source=source, train=40, validation=2, test=2), load_tokenizer(source))
        torch.manual_seed(5)
        settings = replace(SETTINGS, dropout=dropout)
        self.adapted: Adapted = adapt(load_base(source, objective, "cpu"), settings, objective.head)
        inputs = TrainingInputs(
            objective=objective,
            tokenizer=data.tokenizer,
            rows=data.split("train", 32),
            order=[[(8 * update + row) % 40 for row in range(8)] for update in range(UPDATES)],
            dtype=dtype,
        )
        self.losses: list[float] = []
        self.steps: list[tuple[int, float]] = []  # steps of AdamW and the largest weight of B after each update
        self.saved = folder / "run" / f"checkpoint-{PAUSE}"
        points = ReportPoints({PAUSE}, self._note, lambda: None)
        task = TrialTask(number=0, settings=settings, seed=3)
        self.trainer = SoloTrainer(self.adapted, inputs, task, folder / "run", [points])
        if self.trainer.loss_scale is not None:
            self.trainer.loss_scale.factor = scale

    def _note(self, _: int) -> None:
        self.losses.append(self.trainer.update_loss)
        b = [value for name, value in self.adapted.model.named_parameters() if "lora_B" in name]
        skipped = 0 if self.trainer.loss_scale is None else self.trainer.loss_scale.skipped
        self.steps.append((len(self.losses) - skipped, max(value.abs().max().item() for value in b)))


@pytest.mark.parametrize("model", sorted(MODELS))
def test_float16_follows_float32(model: str, tmp_path: Path) -> None:
    rough, exact = (Run(model, tmp_path, dtype, 0.0) for dtype in (torch.float16, torch.float32))
    for run in (rough, exact):
        run.trainer.train()
    assert rough.losses != exact.losses
    assert rough.losses == pytest.approx(exact.losses, rel=1e-3)


def test_overflow_skips_updates_and_resumes_exactly(tmp_path: Path) -> None:
    run = Run("llama", tmp_path, torch.float16, 0.1, 2.0**22)
    run.trainer.train()
    first = next(at for at, (made, _) in enumerate(run.steps) if made)
    assert 2 < first < PAUSE
    assert [largest for _, largest in run.steps[:first]] == [0.0] * first
    made, largest = run.steps[first]
    assert made == 1
    assert largest == pytest.approx(RATE, rel=1e-2)
    again = Run("llama", tmp_path, torch.float16, 0.1)
    again.trainer.train(resume_from_checkpoint=str(run.saved))
    assert again.losses == run.losses[PAUSE:]
    assert again.trainer.loss_scale is not None
    assert run.trainer.loss_scale is not None
    assert again.trainer.loss_scale.state() == run.trainer.loss_scale.state()
