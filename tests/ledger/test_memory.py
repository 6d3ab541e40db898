"""A ledger in memory gives the same sweep as a database."""

from pathlib import Path

import pytest

from orchestrator.core.errors import LedgerError
from orchestrator.core.sweeps.policy import SamplerName
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.memory import MemoryLedger
from orchestrator.search.coordinator import Coordinator
from tests.search.worlds import SWEEP, coordinator_of, essence, plan_of, run_out


@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.CMAES])
def test_memory_gives_the_same_sweep(tmp_path: Path, sampler: SamplerName) -> None:
    plan = plan_of(trials=9, sampler=sampler, start=({"learning_rate": 1e-4},))
    stored = coordinator_of(tmp_path, plan)
    ledger = MemoryLedger()
    remembered = Coordinator(ledger, SWEEP, plan)
    run_out(stored)
    run_out(remembered)
    assert essence(remembered) == essence(stored)
    assert ledger.trials.all(SWEEP.id) == remembered.records()


def test_trial_cut_short_counts_as_pruned(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=2))
    assert coordinator.next_task() is not None
    coordinator.cut_short(0, "its record ends here")
    coordinator.cut_short(0, "again")
    record = coordinator.records()[0]
    assert (record.state, record.reason) == (TrialState.PRUNED, "its record ends here")
    assert coordinator.failing is None


def test_trials_open_in_order() -> None:
    ledger = MemoryLedger()
    coordinator = Coordinator(ledger, SWEEP, plan_of(trials=2))
    assert coordinator.next_task() is not None
    with pytest.raises(LedgerError, match="trial 0 cannot be opened after 1 trials"):
        ledger.trials.add(SWEEP.id, coordinator.records()[0], 1)
