"""Out of memory on a GPU, the pack halves and loses no trial; capacity is measured on the device."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.training.context import EngineContext
from orchestrator.training.engine import TrialRun
from orchestrator.training.mixed import MixedEngine
from tests import needs
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import POINTS, World, task

pytestmark = needs.cuda


@pytest.fixture
def engine(tmp_path: Path, device: str) -> Iterator[MixedEngine]:
    model = tiny_bert(tmp_path / "model")
    world = World(model, TinyClassification(), tmp_path / "sweep", packed=False, device=device)
    engine = MixedEngine(EngineContext(world.plan, world.objective))
    yield engine
    engine.close()
    torch.cuda.set_per_process_memory_fraction(1.0)


def train(engine: MixedEngine, numbers: range) -> tuple[list[int], int]:
    """Train trials to their last report; return the trials with that report, and the maximum number of slots."""
    runs: dict[TrialRun, int] = {engine.start(task(number, batch_size=800)): POINTS[1] for number in numbers}
    reached, most = [], 0
    while runs:
        reports = engine.step(runs)
        most = max(most, sum(engine.holds(number) for number in numbers))
        for run, report in reports.items():
            assert not isinstance(report, Exception)
            reached.append(report.trial)
            del runs[run]
            run.close()
    return sorted(reached), most


def reserved_for(engine: MixedEngine, numbers: range) -> int:
    """Return the device memory reserved by torch during training, in bytes."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert train(engine, numbers) == ([*numbers], len(numbers))
    return torch.cuda.max_memory_reserved()


def test_out_of_memory_halves_trials_and_loses_none(engine: MixedEngine, caplog: pytest.LogCaptureFixture) -> None:
    two, four = reserved_for(engine, range(2)), reserved_for(engine, range(2, 6))
    assert four > 1.2 * two
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((two + four) / 2 / whole)
    with caplog.at_level(logging.WARNING):
        reached, most = train(engine, range(6, 10))
    assert reached == [*range(6, 10)]
    assert most in {1, 2}
    assert "out of memory with 4 trials: continuing with 2" in caplog.text


def test_engine_measures_its_capacity(engine: MixedEngine) -> None:
    found = engine.capacity(2, measure=True)
    assert found.packs
    assert found.slots in {1, 2}
    assert "MiB" in found.why
