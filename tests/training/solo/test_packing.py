"""Sample packing changes no loss, and models that cannot do it are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import ModelError, UserError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.padding import IGNORED
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.solo.packing import pack_rows, require_packing
from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, tiny_rows


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_packed_loss_equals_the_padded_one(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder, task = make(tmp_path / "model"), TinyCausal()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    require_packing(model, task, "tiny")
    examples = task.encode(tiny_rows(9, seed=0), tokenizer, 20)
    padded = task.collate(examples, tokenizer)
    few = pack_rows(examples, 20)
    assert few["input_ids"].shape[0] < len(examples)
    assert few["input_ids"].shape[1] <= 20
    assert (few["position_ids"] == 0).sum() >= len(examples)
    losses = [task.losses(forward(model, batch), batch) for batch in (padded, few)]
    (sum_B, units_B), (sum_P, units_P) = losses
    assert units_P.sum() == units_B.sum()
    torch.testing.assert_close(sum_P.sum(), sum_B.sum(), rtol=1e-5, atol=1e-4)


def test_long_rows_stay_alone() -> None:
    rows = [{"input_ids": [7] * n, "labels": [7] * n} for n in (4, 6, 2, 6)]
    found = pack_rows(rows, 6)
    assert found["position_ids"].tolist() == [[*range(6)], [*range(6)], [0, 1, 2, 3, 0, 1]]
    assert found["labels"].tolist()[2] == [IGNORED, 7, 7, 7, IGNORED, 7]


def test_unfit_models_and_tasks_are_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path / "model"))
    with pytest.raises(UserError, match=r"data.packing: objective tiny-classification has no rows of a causal"):
        require_packing(model, TinyClassification(), "tiny")

    class Mixing(torch.nn.Module):
        """A model with the positions of the whole sequence."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, position_ids: torch.Tensor, **given: Any) -> Any:
            return self.inner(position_ids=torch.arange(position_ids.shape[1])[None], **given)

    with pytest.raises(ModelError, match="the model mixing lets packed rows attend to each other"):
        require_packing(Mixing(), TinyCausal(), "mixing")


def test_packed_update_equals_the_padded_one(tmp_path: Path) -> None:
    source = Source(origin=Origin.LOCAL, name=str(tiny_llama(tmp_path / "model")))
    task, tokenizer = TinyCausal(), load_tokenizer(source)
    rows, settings = task.encode(tiny_rows(8, seed=0), tokenizer, 20), TrialSettings(batch_size=4, accumulation=2)
    found = []
    for packed_length in (None, 20):
        torch.manual_seed(5)
        model = adapt(load_base(source, task, "cpu"), settings, task.head)
        inputs = TrainingInputs(
            objective=task,
            tokenizer=tokenizer,
            rows=rows,
            order=[[*range(8)]],
            packed_length=packed_length,
        )
        trainer = SoloTrainer(model, inputs, TrialTask(number=0, settings=settings, seed=0), tmp_path, [])
        trainer.train()
        found.append((trainer.update_loss, trainer.update_norm))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
