"""Stopping rules in simulated time: no database, no clock, hundreds of trials in milliseconds."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, Goal
from orchestrator.core.sweeps.policy import StoppingName, StoppingPolicy
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import Action, Decision, Report, TrialRecord, TrialState
from orchestrator.search.stopping.decide import Decider
from orchestrator.search.stopping.exits import diverged, outside, overfitting
from orchestrator.search.stopping.points import report_points, rungs
from orchestrator.search.stopping.rules import build_rule
from tests.counting import counted, record_reads
from tests.search.worlds import ACCURACY, POINTS, report_of

LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)


def decider_of(policy: StoppingPolicy, points: tuple[int, ...] = POINTS, metric: Metric = ACCURACY) -> Decider:
    timetable = Timetable(points=points, rows_per_epoch=points[-1])
    return Decider(
        policy=policy, metric=metric, timetable=timetable, diverged=diverged, overfitting=overfitting, outside=outside
    )


def trial(number: int, *values: float, points: Sequence[int] = POINTS, epochs: float = 1.0) -> TrialRecord:
    """Return a running trial, continued after every report except the newest; the longest trials train one epoch."""
    reports = tuple(report_of(number, point, value) for point, value in zip(points, values, strict=False))
    decisions = {
        r.nominal_samples: Decision(trial=number, nominal_samples=r.nominal_samples, action=Action.CONTINUE)
        for r in reports[:-1]
    }
    return TrialRecord(
        number=number,
        params={},
        settings=TrialSettings(epochs=epochs),
        seed=0,
        state=TrialState.RUNNING,
        reports=reports,
        decisions=decisions,
    )


def obey(records: Sequence[TrialRecord], decisions: Sequence[Decision]) -> list[TrialRecord]:
    """End the trials with the decision to stop."""
    after = list(records)
    for decision in decisions:
        record = after[decision.trial]
        record = replace(record, decisions={**record.decisions, decision.nominal_samples: decision})
        if decision.outcome is not None:
            record = replace(record, state=decision.outcome.state, reason=decision.outcome.reason)
        after[decision.trial] = record
    return after


def actions(decisions: Sequence[Decision]) -> dict[int, Action]:
    return {decision.trial: decision.action for decision in decisions}


# Report points and rungs.


@pytest.mark.parametrize(
    ("samples", "reports", "points"),
    [
        (6000, 6, POINTS),
        (8000, 3, (2667, 5334, 8000)),
        (4, 6, (1, 2, 3, 4)),
        (1, 1, (1,)),
        (7, 7, (1, 2, 3, 4, 5, 6, 7)),
    ],
)
def test_report_points_are_even_within_budget(samples: int, reports: int, points: tuple[int, ...]) -> None:
    assert report_points(samples, reports) == points


@pytest.mark.parametrize(
    ("samples", "reports", "points"),
    [
        (6000, (500, 3000), (500, 3000, 6000)),
        (6000, (500, 6000), (500, 6000)),
        (400, (500, 3000), (400,)),
    ],
)
def test_given_report_points_end_at_budget(samples: int, reports: tuple[int, ...], points: tuple[int, ...]) -> None:
    assert report_points(samples, reports) == points


@pytest.mark.parametrize(("samples", "reports"), [(0, 3), (5, 0), (0, (3,)), (5, (0, 3))])
def test_report_points_need_samples_and_reports(samples: int, reports: int | tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=">= 1 must hold"):
        report_points(samples, reports)


@pytest.mark.parametrize(
    ("grace", "factor", "expected"),
    [
        (None, 3, (1000, 3000)),
        (None, 2, (1000, 2000, 4000)),
        (1500, 2, (2000, 3000)),  # 1500, 3000; 6000 is the end
        (2500, 3, (3000,)),
        (10, 3, (1000, 3000)),  # 10, 30, 90, 270, 810 are rounded up to the first report
        (6000, 3, ()),
        (9000, 3, ()),
    ],
)
def test_rungs_are_report_points_below_the_last(grace: int | None, factor: int, expected: tuple[int, ...]) -> None:
    assert rungs(POINTS, grace, factor) == expected


# Decisions.


@pytest.mark.parametrize("values", list(permutations((0.1, 0.2, 0.3))))
def test_first_cohort_is_decided_together(values: tuple[float, ...]) -> None:
    """In Optuna the order decides: it keeps one of .1 .2 .3, but all of .3 .2 .1."""
    decider = decider_of(StoppingPolicy(reduction_factor=3))
    records: list[TrialRecord] = []
    decisions: tuple[Decision, ...] = ()
    for number, value in enumerate(values):
        assert decisions == ()
        records.append(trial(number, value))
        decisions = decider.decide(records, more_trials=True)
    assert actions(decisions) == {n: Action.CONTINUE if v == 0.3 else Action.STOP for n, v in enumerate(values)}
    stopped = next(v for v in decisions if v.action is Action.STOP)
    assert stopped.outcome is not None
    assert stopped.outcome.state is TrialState.PRUNED
    assert stopped.outcome.reason == "not among the best 1 of 3 at 1000 samples"


def test_trial_is_compared_by_its_best_value() -> None:
    decider = decider_of(StoppingPolicy(reduction_factor=3))
    fell_back = trial(0, 0.9, 0.8, 0.1)
    records = [fell_back, trial(1, 0.5, 0.5, 0.5), trial(2, 0.4, 0.4, 0.4)]
    assert actions(decider.decide(records, more_trials=False)) == {0: Action.CONTINUE, 1: Action.STOP, 2: Action.STOP}


def test_lower_is_better_if_the_metric_says_so() -> None:
    loss = Metric(name=ACCURACY.name, direction=Direction.MINIMIZE)
    decider = decider_of(StoppingPolicy(reduction_factor=3), metric=loss)
    decided = decider.decide([trial(0, 0.3), trial(1, 0.1), trial(2, 0.2)], more_trials=False)
    assert actions(decided) == {0: Action.STOP, 1: Action.CONTINUE, 2: Action.STOP}


def with_losses(*values: tuple[float, float]) -> list[TrialRecord]:
    """Return trials at the first rung, each with its accuracy and validation loss."""
    return [
        replace(trial(number), reports=(report_of(number, POINTS[0], accuracy, val__loss=loss),))
        for number, (accuracy, loss) in enumerate(values)
    ]


def test_rung_metric_decides_and_the_searched_one_keeps_its_leader() -> None:
    records = with_losses((0.7, 0.7), (0.6, 0.5), (0.65, 0.65), (0.7, 0.6))  # of equal leaders the lower loss leads
    decided = decider_of(StoppingPolicy(reduction_factor=4, metric=LOSS)).decide(records, more_trials=False)
    assert actions(decided) == {0: Action.STOP, 1: Action.CONTINUE, 2: Action.STOP, 3: Action.CONTINUE}
    assert decided[0].outcome is not None
    assert decided[0].outcome.reason == "not among the best 1 of 4 by val/loss at 1000 samples"


def test_trial_without_a_value_or_outside_a_constraint_leads_no_rung() -> None:
    goal = Goal(
        name=ACCURACY.name,
        direction=ACCURACY.direction,
        constraints=(Constraint(name="val/loss", max=0.8),),
    )
    records = with_losses((math.nan, 0.6), (0.9, 0.95), (0.6, 0.7), (0.5, 0.5))
    decider = decider_of(StoppingPolicy(reduction_factor=4, metric=LOSS), metric=goal)
    decided = actions(decider.decide(records, more_trials=False))
    assert decided == {0: Action.STOP, 1: Action.STOP, 2: Action.CONTINUE, 3: Action.CONTINUE}


def test_ties_are_kept() -> None:
    decider = decider_of(StoppingPolicy(reduction_factor=3))
    decided = decider.decide([trial(n, 0.5) for n in range(6)], more_trials=False)
    assert set(actions(decided).values()) == {Action.CONTINUE}


def test_nan_ranks_last_and_fails() -> None:
    decider = decider_of(StoppingPolicy(reduction_factor=3))
    decided = decider.decide([trial(0, math.nan), trial(1, 0.1), trial(2, 0.2)], more_trials=False)
    assert actions(decided) == {0: Action.STOP, 1: Action.STOP, 2: Action.CONTINUE}
    assert decided[0].outcome is not None
    assert decided[0].outcome.state is TrialState.FAIL
    assert decided[0].outcome.reason == "no report holds a number for val/accuracy"


def test_trial_continues_between_rungs() -> None:
    decider = decider_of(StoppingPolicy(reduction_factor=3))
    assert actions(decider.decide([trial(0, 0.5, 0.5)], more_trials=True)) == {0: Action.CONTINUE}


def test_trials_stopped_below_are_ignored_above() -> None:
    """Trial 0 waits at 3000 for 1 and 2. Both are stopped at 1000, so trial 0 continues in the same call."""
    decider = decider_of(StoppingPolicy(reduction_factor=3, cohort=2))
    records = [trial(0, 0.9, 0.9, 0.9), trial(1, 0.2), trial(2, 0.1)]
    assert actions(decider.decide(records, more_trials=False)) == {0: Action.CONTINUE, 1: Action.STOP, 2: Action.STOP}
    assert actions(decider.decide(records, more_trials=True)) == {1: Action.STOP, 2: Action.STOP}


def test_short_trial_completes_at_its_own_end() -> None:
    """At the rung the learning rate of trial 0 has decayed, and the others have most of their training left."""
    decider = decider_of(StoppingPolicy(reduction_factor=2))
    short = [trial(0, 0.5, epochs=1 / 6), trial(1, 0.3, 0.3, points=(1000, 1500), epochs=0.25)]
    decisions = decider.decide([*short, trial(2, 0.4), trial(3, 0.2)], more_trials=True)
    assert actions(decisions) == {0: Action.STOP, 1: Action.STOP, 2: Action.CONTINUE, 3: Action.STOP}
    assert [decision.outcome and decision.outcome.reason for decision in decisions] == [
        "reached its budget of 1000 samples",
        "reached its budget of 1500 samples",
        None,
        "not among the best 1 of 3 at 1000 samples",
    ]


def test_trials_ending_below_a_rung_are_ignored() -> None:
    decider = decider_of(StoppingPolicy(reduction_factor=3, cohort=2))
    waiting = trial(0, 0.9, 0.9, 0.9)
    for epochs, expected in ((1.0, {}), (0.6, {}), (0.5, {0: Action.CONTINUE}), (0.4, {0: Action.CONTINUE})):
        assert actions(decider.decide([waiting, trial(1, epochs=epochs)], more_trials=False)) == expected


@pytest.mark.parametrize(("more", "expected"), [(True, {}), (False, {0: Action.CONTINUE, 1: Action.STOP})])
def test_small_cohort_is_decided_without_further_trials(more: bool, expected: dict[int, Action]) -> None:
    decider = decider_of(StoppingPolicy(reduction_factor=3))
    assert actions(decider.decide([trial(0, 0.2), trial(1, 0.1)], more_trials=more)) == expected


def test_the_median_rule_compares_with_the_others() -> None:
    decider = decider_of(StoppingPolicy(rule=StoppingName.MEDIAN))
    records = [trial(n, value) for n, value in enumerate((0.1, 0.2, 0.3, 0.4, 0.5))]
    decided = actions(decider.decide(records, more_trials=True))
    assert [n for n, action in decided.items() if action is Action.STOP] == [0, 1]


def test_hyperband_compares_within_a_bracket() -> None:
    policy = StoppingPolicy(rule=StoppingName.HYPERBAND, reduction_factor=2)
    rule = build_rule(policy, POINTS)
    assert rule.brackets == ((1000, 2000, 4000), (2000, 4000), (4000,))
    assert [rule.bracket_of.count(bracket) for bracket in range(3)] == [4, 3, 3]  # ceil(3/k · 2^(k-1)) for k = 3, 2, 1
    assert [rule.bracket(n) for n in range(10)] == [rule.bracket(n + 10) for n in range(10)]
    records = [trial(n, 0.1 * n) for n in range(10)]
    decided = actions(decider_of(policy).decide(records, more_trials=True))
    impatient = [n for n in range(10) if rule.bracket(n) == 0]
    assert [n for n, action in decided.items() if action is Action.STOP] == impatient[:2]


# The exits and their precedence.


def losses(record: TrialRecord, validation: Sequence[float], train: Sequence[float]) -> TrialRecord:
    reports = tuple(
        replace(report, metrics={**report.metrics, "val/loss": v, "train/loss": t})
        for report, v, t in zip(record.reports, validation, train, strict=True)
    )
    return replace(record, reports=reports)


def test_divergence_fails_even_at_the_last_report() -> None:
    record = losses(trial(0, *[0.5] * 6), [1, 1, 1, 1, 1, math.nan], [1] * 6)
    (decision,) = decider_of(StoppingPolicy()).decide([record], more_trials=False)
    assert decision.outcome is not None
    assert (decision.outcome.state, decision.outcome.reason) == (TrialState.FAIL, "diverged: val/loss is nan")


def test_the_last_report_completes() -> None:
    (decision,) = decider_of(StoppingPolicy()).decide([trial(0, *[0.5] * 6)], more_trials=False)
    assert decision.outcome is not None
    assert (decision.outcome.state, decision.outcome.reason) == (
        TrialState.COMPLETE,
        "reached its budget of 6000 samples",
    )


def test_trial_which_still_improves_is_not_ended_for_overfitting() -> None:
    """An accuracy may rise while the validation loss rises too."""
    improving = losses(trial(0, 0.5, 0.4, 0.6), [0.5, 0.6, 0.7], [0.4, 0.3, 0.2])
    assert actions(decider_of(StoppingPolicy()).decide([improving], more_trials=False)) == {0: Action.CONTINUE}
    stalled = losses(trial(0, 0.5, 0.6, 0.6, 0.5), [0.5, 0.6, 0.7, 0.8], [0.4, 0.3, 0.2, 0.1])
    assert actions(decider_of(StoppingPolicy()).decide([stalled], more_trials=False)) == {0: Action.STOP}


def test_overfitting_exit_precedes_the_rule() -> None:
    record = losses(trial(0, 0.5, 0.4, 0.3), [0.5, 0.6, 0.7], [0.4, 0.3, 0.2])
    records = [record, trial(1, 0.8, 0.8, 0.8), trial(2, 0.9, 0.9, 0.9)]
    decision = decider_of(StoppingPolicy()).decide(records, more_trials=False)[0]
    assert decision.outcome is not None
    assert decision.outcome.state is TrialState.COMPLETE
    assert decision.outcome.reason.startswith("overfitting: validation loss rose 2 reports in a row")


@pytest.mark.parametrize("policy", [StoppingPolicy(patience=None), StoppingPolicy(grace_samples=4000)])
def test_no_patience_and_grace_keep_an_overfitting_trial(policy: StoppingPolicy) -> None:
    record = losses(trial(0, 0.5, 0.4, 0.3), [0.5, 0.6, 0.7], [0.4, 0.3, 0.2])
    assert actions(decider_of(policy).decide([record], more_trials=False)) == {0: Action.CONTINUE}


def test_trial_outside_a_limit_ends_after_grace() -> None:
    limits = (Constraint(name="gap/loss", max=0.5),)
    record = trial(0, 0.6, 0.7, 0.8)
    gaps = zip(record.reports, (0.6, 0.4, 0.61), strict=True)
    reports = tuple(replace(report, metrics={**report.metrics, "gap/loss": gap}) for report, gap in gaps)
    ended = replace(record, reports=reports)
    decision = decider_of(StoppingPolicy(limits=limits)).decide([ended], more_trials=False)[0]
    assert decision.outcome is not None
    assert decision.outcome.state is TrialState.COMPLETE
    assert decision.outcome.reason == "limit: gap/loss is 0.61, early_stopping.limits asks for gap/loss ≤ 0.5"
    later = StoppingPolicy(limits=limits, grace_samples=4000)
    assert actions(decider_of(later).decide([ended], more_trials=False)) == {0: Action.CONTINUE}


# Properties.

POLICIES = st.builds(
    StoppingPolicy,
    rule=st.sampled_from(StoppingName),
    reduction_factor=st.integers(2, 4),
    cohort=st.none() | st.integers(1, 6),
    grace_samples=st.none() | st.sampled_from((1, 1500, 3000, 9000)),
    patience=st.none() | st.integers(1, 3),
)
VALUES = st.sampled_from((0.1, 0.2, 0.3, 0.4, math.nan))


@given(policy=POLICIES, values=st.lists(st.tuples(VALUES, st.integers(1, 5)), max_size=12), data=st.data())
def test_decisions_ignore_trial_order(
    policy: StoppingPolicy, values: list[tuple[float, int]], data: st.DataObject
) -> None:
    """The order of the records does not change the decisions."""
    records = [trial(n, *[value] * reports) for n, (value, reports) in enumerate(values)]
    shuffled = data.draw(st.permutations(records))
    more = data.draw(st.booleans())
    decider = decider_of(policy)
    assert decider.decide(shuffled, more_trials=more) == decider.decide(records, more_trials=more)


@given(
    rule=st.sampled_from((StoppingName.ASHA, StoppingName.MEDIAN)), values=st.lists(VALUES, max_size=12), data=st.data()
)
def test_decision_ignores_trial_numbers(rule: StoppingName, values: list[float], data: st.DataObject) -> None:
    decider = decider_of(StoppingPolicy(rule=rule))
    order = data.draw(st.permutations(range(len(values))))
    straight = decider.decide([trial(n, value) for n, value in enumerate(values)], more_trials=False)
    mixed = decider.decide([trial(n, values[old]) for n, old in enumerate(order)], more_trials=False)
    assert {order[v.trial]: v.action for v in mixed} == {v.trial: v.action for v in straight}


@settings(deadline=None)
@given(policy=POLICIES, trials=st.integers(1, 14), parallel=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_no_trial_waits_for_ever(policy: StoppingPolicy, trials: int, parallel: int, seed: int) -> None:
    draw = random.Random(seed)
    epochs = (1.0, 0.6, 0.5, 0.1)
    records = simulate(decider_of(policy), trials=trials, parallel=parallel, draw=draw, crash=0.05, epochs=epochs)
    assert len(records) == trials
    assert all(record.ended for record in records)


def test_two_hundred_trials_keep_the_best() -> None:
    """The best of 200 trials completes; all trials together train a fraction of their budget."""
    heights = [0.5 + 0.002 * n for n in range(200)]
    random.Random(3).shuffle(heights)
    records = simulate(
        decider_of(StoppingPolicy()),
        trials=200,
        parallel=4,
        draw=random.Random(0),
        value=lambda n, samples: heights[n] * (1 - math.exp(-samples / 1500)),
    )
    best = max(records, key=lambda record: record.score(ACCURACY) or 0.0)
    assert best.number == heights.index(max(heights))
    assert best.state is TrialState.COMPLETE
    assert sum(len(record.reports) for record in records) < 200 * 6 * 0.4
    assert not any(record.undecided for record in records)


@pytest.mark.parametrize("rule", list(StoppingName))
def test_decision_cost_is_independent_of_trial_count(rule: StoppingName) -> None:
    decider, work = decider_of(StoppingPolicy(rule=rule)), []
    for trials in (100, 400):
        draw = random.Random(1)
        ended = [counted(replace(trial(n, draw.random()), state=TrialState.PRUNED)) for n in range(trials)]
        table = decider.rung_table(ended)
        with record_reads() as reads:
            table.update(counted(trial(trials, 2.0)))
            assert actions(decider.decide_from(table, more_trials=True)) == {trials: Action.CONTINUE}
        work.append(reads.count)
    assert work[0] == work[1] > 0


def simulate(
    decider: Decider,
    *,
    trials: int,
    parallel: int,
    draw: random.Random,
    crash: float = 0.0,
    value: Callable[[int, int], float] | None = None,
    epochs: Sequence[float] = (1.0,),
) -> list[TrialRecord]:
    """Run trials in random order: a random ready trial reports next, or crashes."""
    measure = value or (lambda _n, _s: draw.choice((0.1, 0.2, 0.3, math.nan)))
    table = decider.rung_table()
    records: list[TrialRecord] = []
    while True:
        ready = [r for r in records if not r.ended and not r.undecided]
        may_open = len(records) < trials
        if may_open and len(ready) < parallel:
            records.append(trial(len(records), epochs=draw.choice(epochs)))
            continue
        if ready:
            record = draw.choice(ready)
            if draw.random() < crash:
                records[record.number] = replace(record, state=TrialState.FAIL)
            else:
                records[record.number] = add_report(record, decider.timetable.of(record.settings), draw, measure)
        for record in records:
            table.update(record)
        decisions = decider.decide(records, more_trials=may_open)
        assert decider.decide_from(table, more_trials=may_open) == decisions, "what was counted on the way went wrong"
        assert ready or decisions or all(r.ended for r in records), "everything waits and nothing is decided"
        records = obey(records, decisions)
        if not may_open and all(r.ended for r in records):
            return records


def add_report(
    record: TrialRecord, points: Sequence[int], draw: random.Random, measure: Callable[[int, int], float]
) -> TrialRecord:
    samples = points[len(record.reports)]
    report: Report = report_of(record.number, samples, measure(record.number, samples))
    return replace(record, reports=(*record.reports, report))
