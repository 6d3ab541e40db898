"""The coordinator under load: a concurrent tracker, and many trials."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from orchestrator.core.trials.trial import TrialRecord
from orchestrator.ledger.trial_store import TrialStore
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.sweeps import open_sweep
from tests.counting import counted, record_reads, statements
from tests.search.worlds import coordinator_of, open_ledger, plan_of, report_of, run_out


def test_others_read_and_write_during_a_sweep(tmp_path: Path) -> None:
    """The tracker's thread stores cursors and run ids, and reads everything, as fast as it can."""
    coordinator = coordinator_of(tmp_path, plan_of(trials=8))
    ledger, over = open_ledger(tmp_path), threading.Event()
    sweep = ledger.sweeps.find("sentiment")

    def track() -> int:
        rounds = 0
        while not over.is_set():
            for record in ledger.trials.all(sweep.id):
                ledger.cursors.save(sweep.id, record.number, {"reports": len(record.reports)})
                ledger.trials.set_run(sweep.id, record.number, f"run-{record.number}")
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        tracker = pool.submit(track)
        try:
            run_out(coordinator)
        finally:
            over.set()
        rounds = tracker.result()
    assert rounds > 3
    assert [replace(record, run_id=None) for record in ledger.trials.all(sweep.id)] == list(coordinator.records())


class CountedTrials(TrialStore):
    """A store with counted records."""

    def all(self, sweep_id: int) -> tuple[TrialRecord, ...]:
        return tuple(map(counted, super().all(sweep_id)))


def test_step_cost_is_independent_of_trial_count(tmp_path: Path) -> None:
    work: list[tuple[int, int]] = []
    for trials in (6, 24):
        run_out(coordinator_of(tmp_path, plan_of(trials=trials), f"sweep-{trials}"))
        ledger = open_ledger(tmp_path)
        ledger.trials = CountedTrials(ledger.database, ledger.drivers)
        sweep = open_sweep(ledger, f"sweep-{trials}", {"space": 1}, "name: sentiment")
        coordinator = Coordinator(ledger, sweep, plan_of(trials=trials + 2))
        coordinator.next_task()  # the study's first read of its trials reads all
        with statements() as run, record_reads() as reads:
            assert coordinator.next_task() is not None
            coordinator.report(report_of(trials + 1, 1000, 0.99))
            assert coordinator.out_of_budget is None
        work.append((len(run), reads.count))
    assert work[0] == work[1]
