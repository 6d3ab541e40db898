"""The reconciler on the real ledger."""

from pathlib import Path

from orchestrator.search.ledger import Ledger
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.store import LedgerStore
from orchestrator.tracking.synchroniser import Synchroniser
from tests.tracking.records import description, report, trial


def test_a_sweep_in_the_ledger_is_written_and_knows_its_runs(local_store: Location, tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    sweep = ledger.open_sweep("films", {"objective": "sentiment"}, "name: films\n")
    ledger.add_trial(sweep.id, trial(0, ()), study_number=0)
    store = LedgerStore(ledger, sweep.id)
    Synchroniser(store, description(), local_store).run()
    stored = store.sweep()
    [record] = store.trials()
    client = connect(local_store)
    assert client.get_run(record.run_id).data.tags["mlflow.parentRunId"] == stored.run_id
    assert client.get_experiment(stored.experiment_id).name == "films"
    assert store.cursor(0)["run_id"] == record.run_id
    assert store.cursor(None)["run_id"] == stored.run_id
    Synchroniser(LedgerStore(ledger, sweep.id), description(), local_store).run()
    assert len(client.search_runs([stored.experiment_id])) == 2


def test_a_trial_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    sweep = ledger.open_sweep("films", {}, "")
    for number in range(3):
        ledger.add_trial(sweep.id, trial(number, ()), study_number=number)
    store = LedgerStore(ledger, sweep.id)
    before = store.trials()
    assert before == ledger.records(sweep.id)
    ledger.add_report(sweep.id, report(1, 1, 0.5))
    ledger.add_trial(sweep.id, trial(3, ()), study_number=3)
    after = store.trials()
    assert after == ledger.records(sweep.id)
    assert [known is found for known, found in zip(before, after, strict=False)] == [True, False, True]
