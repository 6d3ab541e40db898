"""A trial with an init of its own kind resumes exactly, from the rows it started with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from tests.contracts.engine_contract import learned
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World, task

POINTS = (16, 32)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> EnginePlan:
    folder = tmp_path_factory.mktemp("starts")
    world = World(tiny_bert(folder / "model"), TinyClassification(), folder / "sweep", packed=False)
    return replace(world.plan, report_points=POINTS, rows_per_epoch=None)


def advance(plan: EnginePlan, trial: TrialTask, folder: Path, *points: int) -> list[Report]:
    """Train in an engine of its own, as after a kill."""
    engine = MixedEngine(EngineContext(replace(plan, sweep_dir=str(folder)), TinyClassification()))
    run = engine.start(trial)
    reports = [run.advance(point) for point in points]
    run.close()
    engine.close()
    return reports


@pytest.mark.parametrize("init", ["corda", "eva", "lora_ga", "mica", "olora"])
def test_interrupted_trial_resumes_exactly(plan: EnginePlan, tmp_path: Path, init: str) -> None:
    trial = task(0, init=init, dropout=0.1, learning_rate=1e-2)
    whole = advance(plan, trial, tmp_path / "whole", *POINTS)
    interrupted = [*advance(plan, trial, tmp_path / "cut", POINTS[0]), *advance(plan, trial, tmp_path / "cut", *POINTS)]
    assert [learned(report) for report in interrupted[::2]] == [learned(report) for report in whole]
    config = json.loads((tmp_path / "cut/trials/0000/checkpoint-32/adapter/adapter_config.json").read_text())
    assert config["init_lora_weights"] is True
