"""The ledger: committed records are read back whole, once, and in few queries."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select, text

from orchestrator.core.errors import LedgerError, SweepChangedError, SweepLockedError, UserError
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Action, Decision, Outcome, TrialRecord, TrialState
from orchestrator.ledger import codec, tables
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.trial_store import MOST_NUMBERS
from orchestrator.search.sweeps import delete_sweep, open_sweep
from tests.search.worlds import coordinator_of, open_ledger, plan_of, report_of, run_out

FINGERPRINT = {"objective": "sentiment", "space": {"rank": {"choices": [4, 8]}, "dropout": {"low": 0}}}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path)


def a_trial(number: int = 0) -> TrialRecord:
    params: dict[str, ParamValue] = {"rank": 4, "init": "default", "learning_rate": 3e-4, "lora_plus_ratio": None}
    settings = TrialSettings.from_params(params)
    return TrialRecord(
        number=number, params=params, settings=settings, seed=5, state=TrialState.RUNNING, started_at=12.5
    )


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_values_survive_as_strict_json(value: object) -> None:
    written = codec.dumps(value)
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert repr(codec.loads(written)) == repr(value)


def test_canonical_text_ignores_key_order_and_rounding() -> None:
    assert codec.canonical({"a": 0.1 + 0.2, "b": 1}) == codec.canonical({"b": 1, "a": 0.3})
    assert codec.canonical({"a": 0.3}) != codec.canonical({"a": 0.3001})
    assert codec.canonical({"a": True}) != codec.canonical({"a": 1})


def test_trial_is_read_as_written(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "name: s")
    record = a_trial()
    ledger.trials.add(sweep.id, record, study_number=3)
    reports = (report_of(0, 1000, math.inf, val__f1=-math.inf), report_of(0, 2000, 0.1 + 0.2))
    stop = Decision(
        trial=0,
        nominal_samples=2000,
        action=Action.STOP,
        outcome=Outcome(state=TrialState.PRUNED, reason="not among the best"),
    )
    on = Decision(trial=0, nominal_samples=1000, action=Action.CONTINUE)
    for report in reports:
        assert ledger.trials.add_report(sweep.id, report)
    ledger.trials.add_decisions(sweep.id, (on, stop))
    ledger.trials.end(
        sweep.id, 0, Outcome(state=TrialState.PRUNED, reason="why"), final={"shift/x": 0.5}, ended_at=99.0
    )
    ledger.trials.add_final(sweep.id, 0, {"test/accuracy": 0.8})
    ledger.trials.set_run(sweep.id, 0, "run-1")
    (stored,) = ledger.trials.all(sweep.id)
    assert stored == replace(
        record,
        reports=reports,
        decisions={1000: on, 2000: stop},
        state=TrialState.PRUNED,
        reason="why",
        final={"shift/x": 0.5, "test/accuracy": 0.8},
        run_id="run-1",
        ended_at=99.0,
    )
    assert list(stored.params) == list(record.params)
    assert ledger.trials.get(sweep.id, 0) == stored
    assert ledger.trials.study_numbers(sweep.id) == {0: 3}


def test_nan_survives(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    ledger.trials.add(sweep.id, a_trial(), 0)
    ledger.trials.add_report(sweep.id, report_of(0, 1000, math.nan))
    assert math.isnan(ledger.trials.get(sweep.id, 0).reports[0].metrics["val/accuracy"])


def test_the_same_report_is_committed_once(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    ledger.trials.add(sweep.id, a_trial(), 0)
    assert ledger.trials.add_report(sweep.id, report_of(0, 1000, 0.5))
    assert not ledger.trials.add_report(sweep.id, report_of(0, 1000, 0.9))
    assert ledger.trials.get(sweep.id, 0).reports == (report_of(0, 1000, 0.5),)


def test_decisions_are_committed_all_or_none(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    ledger.trials.add(sweep.id, a_trial(), 0)
    on = Decision(trial=0, nominal_samples=1000, action=Action.CONTINUE)
    with pytest.raises(Exception, match=r"(?i)unique"):
        ledger.trials.add_decisions(sweep.id, (on, on))
    assert ledger.trials.get(sweep.id, 0).decisions == {}


@pytest.mark.parametrize("change", ["set_run", "add_final", "get"])
def test_missing_trial_is_an_error(ledger: Ledger, change: str) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    arguments = {"set_run": ("run",), "add_final": ({"test/loss": 1.0},), "get": ()}[change]
    with pytest.raises(LedgerError, match="no trial 7"):
        getattr(ledger.trials, change)(sweep.id, 7, *arguments)


def test_query_count_is_independent_of_trials(ledger: Ledger) -> None:
    queries: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            queries.append(statement)

    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    counts = []
    event.listen(Engine, "before_cursor_execute", note)
    try:
        for number in range(30):
            ledger.trials.add(sweep.id, a_trial(number), number)
            ledger.trials.add_report(sweep.id, report_of(number, 1000, 0.5))
            queries.clear()
            assert len(ledger.trials.all(sweep.id)) == number + 1
            counts.append(len(queries))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert counts == [3] * 30


def test_changed_returns_trials_with_new_marks(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    for number in range(MOST_NUMBERS + 1):
        ledger.trials.add(sweep.id, a_trial(number), number)
    news = ledger.trials.changed(sweep.id, {})
    assert tuple(record for _, record in news.values()) == ledger.trials.all(sweep.id)
    marks = {number: mark for number, (mark, _) in news.items()}
    outcome = Outcome(state=TrialState.PRUNED, reason="why")
    stop = Decision(trial=5, nominal_samples=1000, action=Action.STOP, outcome=outcome)
    changes: list[Callable[[], object]] = [
        lambda: ledger.trials.add_report(sweep.id, report_of(5, 1000, 0.5)),
        lambda: ledger.trials.add_decisions(sweep.id, (stop,)),
        lambda: ledger.trials.end(sweep.id, 5, outcome, final={}, ended_at=9.0),
        lambda: ledger.trials.add_final(sweep.id, 5, {"test/loss": 0.5}),
        lambda: ledger.trials.set_run(sweep.id, 5, "run"),
    ]
    for change in changes:
        assert ledger.trials.changed(sweep.id, marks) == {}
        change()
        news = ledger.trials.changed(sweep.id, marks)
        assert {number: record for number, (_, record) in news.items()} == {5: ledger.trials.get(sweep.id, 5)}
        marks[5] = news[5][0]
    ledger.trials.add(sweep.id, a_trial(MOST_NUMBERS + 1), MOST_NUMBERS + 1)
    assert list(ledger.trials.changed(sweep.id, marks)) == [MOST_NUMBERS + 1]


# Sweeps.


def test_same_command_resumes_and_fresh_starts_anew(ledger: Ledger) -> None:
    first = open_sweep(ledger, "s", FINGERPRINT, "budget: 1")
    assert (first.reference, first.status) == ("s#1", SweepStatus.INTERRUPTED), "no driver yet"
    again = open_sweep(ledger, "s", FINGERPRINT, "budget: 2")
    assert (again.id, again.spec_text) == (first.id, "budget: 1"), "another driver may hold the sweep"
    again = ledger.sweeps.update(first.id, spec_text="budget: 2")
    assert again.spec_text == "budget: 2"
    fresh = open_sweep(ledger, "s", {"other": 1}, "", fresh=True)
    assert fresh.reference == "s#2"
    assert ledger.sweeps.find("s") == fresh
    assert ledger.sweeps.find("s#1") == again
    assert ledger.sweeps.all() == (again, fresh)
    with pytest.raises(UserError, match=r"there is no sweep s#3; sweeps: s#1, s#2"):
        ledger.sweeps.find("s#3")


def test_changed_sweep_is_refused_with_its_differences(ledger: Ledger) -> None:
    ledger.trials.add(open_sweep(ledger, "s", FINGERPRINT, "").id, a_trial(), 0)
    changed = {"objective": "topic", "space": {"rank": {"choices": (4, 16)}, "dropout": {"low": 0.0}}, "seed": 1}
    with pytest.raises(SweepChangedError) as caught:
        open_sweep(ledger, "s", changed, "")
    assert str(caught.value) == (
        "s#1 was started with another search; what differs:\n"
        "  objective: sentiment → topic\n"
        "  search.space.rank.choices: [4, 8] → [4, 16]\n"
        "  seed: (absent) → 1\n"
        "Give the file a new name, or start a new sweep beside the old one with --fresh."
    )


def test_changed_sweep_without_trials_is_replaced(ledger: Ledger) -> None:
    open_sweep(ledger, "s", FINGERPRINT, "")
    second = open_sweep(ledger, "s", {"objective": "topic"}, "name: s")
    assert ledger.sweeps.all() == (second,)
    assert (second.reference, second.fingerprint) == ("s#1", {"objective": "topic"})
    with ledger.drivers.hold(second.id), pytest.raises(SweepLockedError, match="is being run by process"):
        open_sweep(ledger, "s", FINGERPRINT, "")
    assert ledger.sweeps.all() == (second,)


def test_facts_are_updated_by_name(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    ledger.sweeps.update(sweep.id, facts={"baseline": {"test/accuracy": 0.8}, "notes": {"report": "first"}})
    after = ledger.sweeps.update(
        sweep.id, facts={"notes": {"report": "second"}}, status=SweepStatus.FINISHED, experiment_id="e", run_id="r"
    )
    assert after == ledger.sweeps.get(sweep.id)
    assert (after.status, after.experiment_id, after.run_id) == (SweepStatus.FINISHED, "e", "r")
    assert after.facts == SweepFacts(baseline={"test/accuracy": 0.8}, notes={"report": "second"})


def test_cursors_belong_to_sweep_or_trial(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    ledger.trials.add(sweep.id, a_trial(), 0)
    assert ledger.cursors.load(sweep.id, None) == ledger.cursors.load(sweep.id, 0) == {}
    ledger.cursors.save(sweep.id, None, {"reports": 1})
    ledger.cursors.save(sweep.id, 0, {"reports": [1, 2]})
    ledger.cursors.save(sweep.id, None, {"reports": 3})
    assert (ledger.cursors.load(sweep.id, None), ledger.cursors.load(sweep.id, 0)) == (
        {"reports": 3},
        {"reports": [1, 2]},
    )


def test_deleted_sweep_leaves_no_rows(tmp_path: Path) -> None:
    plan = plan_of(trials=3)
    run_out(coordinator_of(tmp_path, plan, "kept"))
    run_out(coordinator_of(tmp_path, plan, "gone"))
    ledger = open_ledger(tmp_path)
    kept, gone = ledger.sweeps.find("kept"), ledger.sweeps.find("gone")
    ledger.cursors.save(gone.id, 0, {"x": 1})
    before = ledger.trials.all(kept.id)
    delete_sweep(ledger, gone)
    assert ledger.sweeps.all() == (kept,)
    assert ledger.trials.all(kept.id) == before
    with ledger.database.read() as connection:
        for table in (tables.trials, tables.reports, tables.decisions, tables.cursors):
            assert connection.execute(select(table).where(table.c.sweep_id == gone.id)).all() == []
        assert list(connection.scalars(text("SELECT study_name FROM studies"))) == ["kept#1"]


# The database.


def test_a_ledger_of_a_later_version_is_refused(ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE loratory_schema SET version = 99"))
    with pytest.raises(LedgerError, match="has schema 99, of a later version of Loratory"):
        Ledger.open(ledger.database.url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(url: str) -> None:
    with pytest.raises(LedgerError, match="a database in a file"):
        Ledger.open(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [("ledger.db", "is not a database URL"), ("postgresql+absent://host/db", "is not a database URL")],
)
def test_invalid_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        Ledger.open(url)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("these are words, and too many of them to be a header of any database")
    with pytest.raises(LedgerError, match="cannot be opened"):
        open_ledger(tmp_path)


def test_default_url_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORATORY_DB", raising=False)
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    assert Ledger.open().database.url == f"sqlite:///{tmp_path}/home/ledger.db"
    monkeypatch.setenv("LORATORY_DB", f"sqlite:///{tmp_path}/other.db")
    assert Ledger.open().database.url == f"sqlite:///{tmp_path}/other.db"
    assert (tmp_path / "other.db").exists()


def test_commits_survive_commands_in_other_processes(tmp_path: Path) -> None:
    """A second opening in one process must not drop the locks of the first.

    Else a command in another process takes itself for the last reader, and deletes the log with the later commits.
    """

    def command(code: str) -> str:
        code = f"from orchestrator.ledger.ledger import Ledger; ledger = Ledger.open({first.database.url!r}); {code}"
        return subprocess.run(
            [sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True
        ).stdout

    first = open_ledger(tmp_path)
    sweep = open_sweep(first, "s", FINGERPRINT, "name: s")
    open_ledger(tmp_path).close()
    command("ledger.close()")
    first.trials.add(sweep.id, a_trial(), study_number=0)
    assert command(f"print(len(ledger.trials.all({sweep.id})))").strip() == "1"


def test_readers_do_not_wait_for_a_writer(ledger: Ledger) -> None:
    sweep = open_sweep(ledger, "s", FINGERPRINT, "")
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE loratory_sweeps SET name = 'half done'"))
        assert ledger.sweeps.get(sweep.id).name == "s"
