"""The ledger on PostgreSQL; runs if LORATORY_TEST_POSTGRES names a writable database."""

import os

import pytest

from orchestrator.core.errors import SweepLockedError
from orchestrator.core.sweeps.policy import SamplerName
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import delete_sweep, open_sweep
from tests.search.worlds import Killed, essence, killed_before_commit, plan_of, run_out

URL = os.environ.get("LORATORY_TEST_POSTGRES", "")
pytestmark = pytest.mark.skipif(not URL, reason="LORATORY_TEST_POSTGRES names no database")


def test_repeated_kills_change_no_result() -> None:
    plan = plan_of(trials=4, sampler=SamplerName.TPE, start=({"learning_rate": 2e-4},))
    ledger = Ledger.open(URL, heartbeat_s=0.1)
    whole = open_sweep(ledger, "postgres", {"a": 1}, "", fresh=True)
    killed = open_sweep(ledger, "postgres", {"a": 1}, "", fresh=True)
    try:
        with ledger.drivers.hold(whole.id):
            with pytest.raises(SweepLockedError):
                Ledger.open(URL).drivers.hold(whole.id).__enter__()
            expected = Coordinator(ledger, whole, plan)
            run_out(expected)
        Coordinator(ledger, killed, plan)
        deaths = 0
        while True:
            try:
                with killed_before_commit(12):
                    coordinator = Coordinator(Ledger.open(URL), killed, plan)
                    run_out(coordinator)
                break
            except Killed:
                deaths += 1
        assert deaths > 2
        assert essence(coordinator) == essence(expected)
        assert ledger.trials.all(killed.id) == coordinator.records()
    finally:
        for sweep in (whole, killed):
            delete_sweep(ledger, sweep)
