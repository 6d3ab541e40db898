"""The cache reads only the changed trials."""

from pathlib import Path

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.trial_cache import TrialCache
from orchestrator.search.sweeps import open_sweep
from tests.tracking.records import report, trial


def test_unchanged_trial_keeps_its_object(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    sweep = open_sweep(ledger, "films", {}, "")
    for number in range(3):
        ledger.trials.add(sweep.id, trial(number, ()), study_number=number)
    cache = TrialCache(ledger.trials, sweep.id)
    before = cache.refresh()
    assert before == ledger.trials.all(sweep.id)
    ledger.trials.add_report(sweep.id, report(1, 1, 0.5))
    ledger.trials.add(sweep.id, trial(3, ()), study_number=3)
    after = cache.refresh()
    assert after == ledger.trials.all(sweep.id)
    assert [old is new for old, new in zip(before, after, strict=False)] == [True, False, True]
