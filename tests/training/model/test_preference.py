"""Losses over pairs of answers: both engines train as a plain DPO loop over peft does."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Example
from orchestrator.training.context import EngineContext
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.optimiser import build_optimiser, schedule_factor
from orchestrator.training.reference import FOLDER
from orchestrator.training.solo.engine import SoloEngine
from tests.fakes.tiny_models import tiny_llama, without_dropout
from tests.fakes.tiny_objective import TinyPreference
from tests.training.packed.packs import task
from tests.training.plans import tiny_plan

OBJECTIVE = TinyPreference()
TRIALS = [
    task(0, epochs=1.0, learning_rate=1e-2, loss="dpo", beta=0.5, label_smoothing=0.1),
    task(1, epochs=1.0, learning_rate=1e-2, batch_size=4, loss="simpo", beta=2.0, gamma=1.0),
    task(2, epochs=1.0, learning_rate=1e-2, loss="ipo", beta=0.2),
]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> EnginePlan:
    folder = without_dropout(tiny_llama(tmp_path_factory.mktemp("base") / "model"))
    return tiny_plan(folder, "", report_points=(16, 40))


@pytest.fixture(scope="module")
def sweeps(plan: EnginePlan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, EnginePlan]:
    """The trials, trained to their end by each engine."""
    placed = {name: replace(plan, sweep_dir=str(tmp_path_factory.mktemp(name))) for name in ("solo", "packed")}
    train(SoloEngine(EngineContext(placed["solo"], OBJECTIVE)))
    packed = MixedEngine(EngineContext(placed["packed"], OBJECTIVE))
    assert packed.capacity(3, measure=False).packs
    train(packed)
    return placed


def train(engine: Engine, until: int = 40, trials: Sequence[TrialTask] = TRIALS) -> None:
    with closing(engine):
        for trial in trials:
            with closing(engine.start(trial)) as run:
                for point in (16, 40):
                    if point <= until:
                        run.advance(point)


def report(plan: EnginePlan, trial: TrialTask, point: int = 40) -> dict[str, float]:
    file = Path(plan.sweep_dir) / f"trials/{trial.number:04d}/checkpoint-{point}/report.json"
    found: dict[str, float] = json.loads(file.read_text())["metrics"]
    own = {"val", "train", "gap"}
    return {name: value for name, value in found.items() if name.partition("/")[0] in own}


def plain_logps(model: torch.nn.Module, row: Example) -> list[torch.Tensor]:
    """Return the log-probability of each answer, one after another, without padding."""
    found, start = [], 0
    for length in row["lengths"]:
        ids, labels = (torch.tensor([row[name][start : start + length]]) for name in ("input_ids", "labels"))
        logps = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        answer = labels[0, 1:] != -100
        found.append(logps[answer].gather(1, labels[0, 1:][answer, None]).sum())
        start += length
    return found


def plain_loss(model: Any, row: Example, trial: TrialTask) -> tuple[torch.Tensor, float]:
    """Return the loss of a pair and its margin; the reference is the same model with the adapter disabled."""
    settings, total, start = trial.settings, [], 0
    with torch.no_grad(), model.disable_adapter():
        reference = plain_logps(model, row)
    own = plain_logps(model, row)
    for length in row["lengths"]:
        total.append(sum(label != -100 for label in row["labels"][start : start + length]))
        start += length
    ratios = [mine - base for mine, base in zip(own, reference, strict=True)]
    beta, margin = settings.beta, (ratios[0] - ratios[1]).item()
    if settings.loss == "ipo":
        return (ratios[0] / total[0] - ratios[1] / total[1] - 1 / (2 * beta)) ** 2, margin
    if settings.loss == "simpo":
        return -logsigmoid(beta * (own[0] / total[0] - own[1] / total[1]) - settings.gamma), margin
    gap, smoothing = beta * (ratios[0] - ratios[1]), settings.label_smoothing
    return -(1 - smoothing) * logsigmoid(gap) - smoothing * logsigmoid(-gap), margin


def rows_of(plan: EnginePlan, trial: TrialTask, split: str) -> Sequence[Example]:
    with closing(EngineContext(plan, OBJECTIVE)) as context:
        return context.data.train(trial) if split == "train" else context.data.split(split, 32)


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.settings.loss)
def test_both_engines_and_plain_peft_agree(sweeps: dict[str, EnginePlan], trial: TrialTask) -> None:
    solo, packed = report(sweeps["solo"], trial), report(sweeps["packed"], trial)
    assert {f"val/{name}" for name in OBJECTIVE.metrics} <= solo.keys()
    assert packed == pytest.approx(solo, rel=1e-3, abs=1e-5)
    assert solo["train/loss"] < report(sweeps["solo"], trial, 16)["train/loss"]
    assert solo["val/preference_accuracy"] > 0.5
    for plan in sweeps.values():
        adapter = Path(plan.sweep_dir) / f"trials/{trial.number:04d}/checkpoint-40/adapter"
        base = AutoModelForCausalLM.from_pretrained(plan.model.name)
        model = PeftModel.from_pretrained(base, str(adapter)).eval()
        smooth = replace(trial, settings=replace(trial.settings, label_smoothing=0.0))  # reports have no smoothing
        with torch.no_grad():
            found = [plain_loss(model, row, smooth) for row in rows_of(plan, trial, "validation")]
        assert sum(loss.item() for loss, _ in found) / 20 == pytest.approx(solo["val/loss"], rel=1e-3)
        assert sum(margin for _, margin in found) / 20 == pytest.approx(solo["val/margin"], rel=1e-3, abs=1e-4)


def test_updates_equal_a_plain_dpo_loop(sweeps: dict[str, EnginePlan], plan: EnginePlan) -> None:
    trial = TRIALS[0]
    torch.manual_seed(trial.seed)
    model = adapt(load_base(plan.model, OBJECTIVE, "cpu"), trial.settings, OBJECTIVE.head).model.train()
    with closing(EngineContext(sweeps["solo"], OBJECTIVE)) as context:
        updates = UpdatePlan.create(context.data, trial, plan.timetable)
    optimiser = build_optimiser(model, trial.settings)
    for number, update in enumerate(updates.order):
        for group in optimiser.param_groups:
            rate = group.setdefault("peak", group["lr"])
            group["lr"] = rate * schedule_factor(trial.settings, number, len(updates.order))
        loss = torch.stack([plain_loss(model, updates.rows[row], trial)[0] for row in update]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([each for each in model.parameters() if each.requires_grad], 1.0)
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        found = [plain_loss(model.eval(), row, trial)[1] for row in rows_of(plan, trial, "validation")]
    for placed in sweeps.values():
        assert sum(found) / 20 == pytest.approx(report(placed, trial)["val/margin"], rel=1e-3)


def test_base_model_is_measured_once(sweeps: dict[str, EnginePlan]) -> None:
    for plan in sweeps.values():
        [file] = (Path(plan.sweep_dir) / FOLDER).iterdir()
        assert len(json.loads(file.read_text())) == 40 + 20 + 12


@pytest.mark.parametrize("engine", [SoloEngine, MixedEngine])
def test_resumed_trial_equals_uninterrupted(engine: Any, sweeps: dict[str, EnginePlan], tmp_path: Path) -> None:
    whole = sweeps["solo" if engine is SoloEngine else "packed"]
    plan = replace(whole, sweep_dir=str(tmp_path))
    train(engine(EngineContext(plan, OBJECTIVE)), until=16, trials=TRIALS[:1])
    train(engine(EngineContext(plan, OBJECTIVE)), trials=TRIALS[:1])
    weights = "trials/0000/checkpoint-40/adapter/adapter_model.safetensors"
    assert (tmp_path / weights).read_bytes() == (Path(whole.sweep_dir) / weights).read_bytes()
    assert report(plan, TRIALS[0]) == report(whole, TRIALS[0])


def test_trials_of_other_lengths_keep_the_reference(plan: EnginePlan, tmp_path: Path) -> None:
    recorded = replace(plan, sweep_dir=str(tmp_path), record=True)
    trials = [task(number, epochs=0.4, learning_rate=1e-2, max_length=length) for number, length in enumerate((32, 24))]
    with closing(MixedEngine(EngineContext(recorded, OBJECTIVE))) as engine:
        runs = [engine.start(trial) for trial in trials]
        for run in runs:
            run.advance(16)
        runs[0].finish(16)
        measured = engine.measure(tmp_path / "trials/0000/checkpoint-16", trials[0], "test")
    stored = json.loads((tmp_path / "trials/0000/test.json").read_text())
    assert stored["metrics"] == pytest.approx(measured.metrics, rel=1e-3, abs=1e-4)
