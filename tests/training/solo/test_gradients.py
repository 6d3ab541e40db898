"""Loss and gradient of an update equal those of one full batch, whatever the micro-batches; the optimizer's groups."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import Adapted, adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.optimiser import build_optimiser
from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_llama, tiny_t5, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq

ROWS = [3, 11, 0, 7, 20, 5, 1, 16]
MODELS: dict[str, tuple[Callable[[Path], Path], Callable[[], Objective]]] = {
    "bert": (tiny_bert, TinyClassification),
    "llama": (tiny_llama, TinyCausal),
    "gpt2": (tiny_gpt2, TinyCausal),
    "t5": (tiny_t5, TinySeq2Seq),
}


@pytest.fixture(params=sorted(MODELS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(kind: str, tmp_path: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(without_dropout(MODELS[kind][0](tmp_path / "model"))))


@pytest.fixture
def objective(kind: str) -> Objective:
    return MODELS[kind][1]()


def adapted(source: Source, objective: Objective, settings: TrialSettings) -> Adapted:
    torch.manual_seed(5)
    found = adapt(load_base(source, objective, "cpu"), settings, objective.head)
    for name, parameter in found.model.named_parameters():
        if "lora_B" in name:  # with B = 0 every gradient of A is zero
            torch.nn.init.normal_(parameter, std=0.2)
    return found


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_accumulated_batches_give_the_gradient_of_one(
    source: Source, objective: Objective, tmp_path: Path, label_smoothing: float
) -> None:
    data = TaskData(objective, DataPlan(source=source, train=30, validation=2, test=2), load_tokenizer(source))
    rows = data.split("train", 32)
    found = {}
    for size in (8, 4, 1):
        settings = TrialSettings(
            batch_size=size, accumulation=8 // size, max_grad_norm=1e9, label_smoothing=label_smoothing
        )
        model = adapted(source, objective, settings)
        inputs = TrainingInputs(objective=objective, tokenizer=data.tokenizer, rows=rows, order=[ROWS])
        trainer = SoloTrainer(model, inputs, TrialTask(number=0, settings=settings, seed=0), tmp_path, [])
        trainer.train()
        found[size] = (trainer.update_loss, trainer.update_norm)
    model = adapted(source, objective, TrialSettings())
    batch = objective.collate([rows[row] for row in ROWS], data.tokenizer)
    loss_sum_B, units_B = objective.losses(forward(model.model.train(), batch), batch, label_smoothing)
    assert len(set(units_B.tolist())) > 1 or isinstance(objective, TinyClassification)
    loss = loss_sum_B.sum() / units_B.sum()
    loss.backward()
    gradients = [p.grad for p in model.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients).item()
    for size in (8, 4, 1):
        assert found[size] == pytest.approx((loss.item(), norm), rel=1e-5), size


def test_gradient_is_clipped_at_its_total_norm(source: Source, objective: Objective, tmp_path: Path) -> None:
    data = TaskData(objective, DataPlan(source=source, train=30, validation=2, test=2), load_tokenizer(source))
    settings = TrialSettings(batch_size=8, max_grad_norm=1e-3)
    model = adapted(source, objective, settings)
    inputs = TrainingInputs(objective=objective, tokenizer=data.tokenizer, rows=data.split("train", 32), order=[ROWS])
    trainer = SoloTrainer(model, inputs, TrialTask(number=0, settings=settings, seed=0), tmp_path, [])
    seen: list[float] = []

    def note_norm(*_: object) -> None:
        seen.append(
            torch.nn.utils.get_total_norm([p.grad for p in model.model.parameters() if p.grad is not None]).item()
        )

    assert trainer.optimizer is not None
    trainer.optimizer.register_step_pre_hook(note_norm)
    trainer.train()
    assert trainer.update_norm > 1e-3
    assert seen == [pytest.approx(1e-3, rel=1e-3)]


def test_learning_rates_and_decay_by_parameter(source: Source, objective: Objective, kind: str) -> None:
    settings = TrialSettings(
        learning_rate=1e-3,
        head_learning_rate=5e-3,
        lora_plus_ratio=16.0,
        weight_decay=0.1,
        beta1=0.8,
        beta2=0.95,
        epsilon=1e-7,
    )
    model = adapted(source, objective, settings).model
    optimiser = build_optimiser(model, settings)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert set(found) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, rates in found.items():
        if "lora_A" in name:
            assert rates == (1e-3, 0.1)
        elif "lora_B" in name:
            assert rates == (pytest.approx(1.6e-2), 0.1)
        else:
            assert kind == "bert"
            assert rates == (5e-3, 0.0 if name.endswith("bias") else 0.1)
    assert {(group["betas"], group["eps"]) for group in optimiser.param_groups} == {((0.8, 0.95), 1e-7)}
