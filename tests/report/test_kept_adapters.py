"""Intervals and ties of the kept adapters in the report: terminal, page, JSON; and a sweep without stored rows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, goal
from orchestrator.core.sweeps.policy import PREFER, Preferred
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_test_file, write_measurement
from orchestrator.evaluation.scores.seed_noise import assumed_seed_sd
from orchestrator.ledger.home import sweep_dir
from orchestrator.report.html import render_page
from orchestrator.report.kept_adapters import Comparison, kept_adapters
from orchestrator.report.summary import Summary, as_json, summarise
from orchestrator.report.text import summary_text
from tests.report.examples import make_records, make_sweep
from tests.report.test_views import shown

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
ROWS = 1500


def stored(folder: Path, record: TrialRecord, wrong: int, first: int, *, rank: int, gap: float) -> TrialRecord:
    """Write the test rows of a trial, ``wrong`` wrong ones from ``first`` on; return the trial with its metrics."""
    references = tuple(row % 2 for row in range(ROWS))
    predictions = tuple(1 - label if first <= row < first + wrong else label for row, label in enumerate(references))
    value = 1 - wrong / ROWS
    rows = RowMeasures(losses=(0.5,) * ROWS, units=(1.0,) * ROWS, predictions=predictions, references=references)
    settings = replace(record.settings, rank=rank)
    trial = replace(record, settings=settings, final={"test/accuracy": value, "gap/loss": gap})
    best = trial.best(ACCURACY)
    assert best is not None
    measured = Measurement(metrics={"accuracy": value}, rows=rows)
    write_measurement(
        kept_test_file(folder, trial.number), best.nominal_samples, Owner(sweep="k", task=trial.task), measured
    )
    return trial


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TrialRecord, ...]:
    """Return the example's trials; 7, 0, 1 and 2 have stored rows. Trial 7 wins on validation."""
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path))
    trials, folder = make_records(), sweep_dir(make_sweep())
    kept = {
        7: stored(folder, trials[7], 210, 0, rank=16, gap=0.10),
        0: stored(folder, trials[0], 220, 20, rank=8, gap=0.20),
        1: stored(folder, trials[1], 215, 10, rank=8, gap=0.05),
        2: stored(folder, trials[2], 600, 0, rank=4, gap=0.01),
    }
    return tuple(kept.get(trial.number, trial) for trial in trials)


@pytest.fixture
def summary(records: tuple[TrialRecord, ...]) -> Summary:
    return summarise(make_sweep(), records)


def test_terminal_shows_intervals_and_ties(summary: Summary) -> None:
    text = shown(summary_text(summary), 300)
    assert "winner     trial 7 · test accuracy 0.860 [0.839, 0.879] (baseline 0.774)" in text
    assert "include the noise of 1,500 test rows and of one seed (standard deviation between seeds " in text
    assert "between seeds assumed: 0.005)" in text
    assert "intervals need no correction" in text
    assert "cannot be told apart on 1,500 test rows" in text
    row = next(line for line in text.splitlines() if line.split()[:2] == ["1", "7"])
    assert "[0.839, 0.879]" in row
    assert str(summary.leaderboard.interval_note).endswith(
        ". Validation values have none, because checkpoints and trials were chosen by them; nor have those of shift "
        "sets and the baseline, because their rows are not stored"
    )
    narrow = shown(summary_text(summary), 70)
    assert "[0.839, 0.879]" in narrow
    assert max(map(len, narrow.splitlines())) <= 70


def test_missing_intervals_are_explained() -> None:
    unstored = summarise(make_sweep(), make_records()).leaderboard
    assert str(unstored.interval_note).startswith(
        "test/accuracy has no interval: no values of its single rows are stored. Validation values have none, because"
    )
    assert summarise(make_sweep(), ()).leaderboard.interval_note is None


def test_ties_name_the_preferred_trial(summary: Summary) -> None:
    comparison = summary.leaderboard.comparison
    assert comparison is not None
    assert comparison.tied == (7, 0, 1)
    assert comparison.worse == (2,)
    assert summary.leaderboard.comparison_note == (
        "trials 7, 0 and 1 cannot be told apart on 1,500 test rows (paired tests, p ≥ 0.41); trial 2 is worse; "
        "trial 7 is preferred: lowest validation loss (0.3889)"
    )


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        (PREFER, (7, "lowest validation loss (0.3889)")),
        ((Preferred.GAP,), (1, "smallest overfit gap")),
        ((Preferred.RANK, Preferred.GAP), (1, "smallest rank (8), then smallest overfit gap")),
        ((), (7, "best test value")),
    ],
)
def test_preference_is_settable(
    records: tuple[TrialRecord, ...], prefer: tuple[Preferred, ...], expected: tuple[int, str]
) -> None:
    sweep = make_sweep()
    found = summarise(replace(sweep, facts=replace(sweep.facts, prefer=prefer)), records).leaderboard.comparison
    assert found is not None
    assert found.preferred == expected[0]
    assert f"trial {expected[0]} is preferred: {expected[1]}" in found.sentence(expected[0])
    other = " (promote takes trial 7, first by rank)" if found.preferred != 7 else ""
    assert found.sentence(7).endswith(f"{expected[1]}{other}")


def test_lowest_loss_is_that_of_any_report(records: tuple[TrialRecord, ...]) -> None:
    first, *others = next(record for record in records if record.number == 0).reports
    lower = replace(first, metrics={**first.metrics, "val/loss": 0.2})
    changed = [replace(each, reports=(lower, *others)) if each.number == 0 else each for each in records]
    comparison = kept_adapters(sweep_dir(make_sweep()), changed, ACCURACY, 15_000).comparison
    assert comparison is not None
    assert (comparison.preferred, comparison.reasons) == (0, ("lowest validation loss (0.2000)",))


def test_adapters_outside_constraints_are_not_compared(records: tuple[TrialRecord, ...]) -> None:
    within = goal(ACCURACY, constraints=[Constraint(name="gap/loss", min=0.08)])
    comparison = kept_adapters(sweep_dir(make_sweep()), records, within, 15_000, (Preferred.RANK,)).comparison
    assert comparison is not None
    assert (comparison.tied, comparison.worse, comparison.preferred) == ((7, 0), (), 0)


def test_page_shows_intervals_and_ties(summary: Summary) -> None:
    page = render_page(summary, {})
    assert ">0.8600 [0.8391, 0.8793]</td>" in page
    assert "95 % interval [0.8391, 0.8793], measured once, after the search" in page
    assert "Kept adapters: trials 7, 0 and 1 cannot be told apart" in page
    assert "between seeds assumed: 0.005" in page
    assert 'data-key="0.86"' in page  # sorting uses the value


def test_json_holds_intervals_and_ties(summary: Summary) -> None:
    plain = json.loads(json.dumps(as_json(summary)))
    rows = {row["number"]: row for row in plain["leaderboard"]}
    assert rows[7]["intervals"]["test/accuracy"] == {
        "low": pytest.approx(0.8391, abs=1e-4),
        "high": pytest.approx(0.8793, abs=1e-4),
        "level": 0.95,
        "rows": 1500,
        "seed_sd": 0.005,
        "seeds": 1,
        "of": "test rows",
        "beside": "",
    }
    assert rows[4]["intervals"] == {}
    found = plain["test_comparison"]
    assert (found["tied"], found["worse"], found["preferred"]) == ([7, 0, 1], [2], 7)
    assert found["sentence"] == summary.leaderboard.comparison_note


def test_sweep_without_stored_rows_shows_values_alone() -> None:
    summary = summarise(make_sweep(), make_records())
    text, page = shown(summary_text(summary), 300), render_page(summary, {})
    assert "test/accuracy has no interval" in text
    for word in ("95 %", "told apart"):
        assert word not in text
        assert word not in page
    plain = as_json(summary)
    assert plain["test_comparison"] is None
    assert all(row["intervals"] == {} for row in plain["leaderboard"])


def test_stored_rows_of_one_adapter_make_no_comparison(records: tuple[TrialRecord, ...]) -> None:
    folder = sweep_dir(make_sweep())
    for number in (0, 1, 2):
        kept_test_file(folder, number).unlink()
    found = kept_adapters(folder, records, ACCURACY, 15_000)
    assert found.intervals.keys() == {7}
    assert found.comparison is None


def test_ranks_of_different_methods_are_not_compared(records: tuple[TrialRecord, ...]) -> None:
    folder, changed = sweep_dir(make_sweep()), list(records)
    changed[0] = replace(records[0], settings=replace(records[0].settings, method="ia3"))
    kept_test_file(folder, 0).write_text(
        kept_test_file(folder, 0).read_text().replace('"method": "lora"', '"method": "ia3"')
    )
    order = (Preferred.RANK, Preferred.GAP)
    comparison = kept_adapters(folder, changed, ACCURACY, 15_000, order).comparison
    assert comparison is not None
    assert (comparison.preferred, comparison.reasons) == (1, ("smallest overfit gap",))


def test_sentence_without_ties_names_the_best() -> None:
    alone = Comparison(tied=(3,), worse=(0, 5), rows=1000, p_value=0.0123, preferred=3, reasons=())
    assert alone.sentence(0) == "trial 3 is better than trials 0 and 5 on 1,000 test rows (paired tests, p ≤ 0.012)"
    pair = Comparison(tied=(3, 0), worse=(), rows=1000, p_value=0.31, preferred=3, reasons=())
    assert pair.sentence(3) == (
        "trials 3 and 0 cannot be told apart on 1,000 test rows (paired test, p = 0.31); trial 3 is preferred: "
        "best test value"
    )


def test_noise_between_seeds_follows_rows_of_the_trial(records: tuple[TrialRecord, ...]) -> None:
    folder, few = sweep_dir(make_sweep()), replace(records[7].settings, train_fraction=0.02)
    trial = stored(folder, replace(records[7], settings=few), 210, 0, rank=16, gap=0.1)
    found = kept_adapters(folder, [trial], ACCURACY, 15_000)
    assert found.intervals[7]["test/accuracy"].seed_sd == assumed_seed_sd(300)
