"""The end of a search by its expected gain."""

import math
from dataclasses import replace

import pytest

from orchestrator.core.sweeps.policy import Budget, SamplerName, StoppingName, StoppingPolicy, Until
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.search.gain import EVERY, FEWEST_TRIALS, ExpectedGain, fluctuation
from orchestrator.search.plan import SearchPlan
from tests.search.worlds import ACCURACY, coordinator_in_memory, plan_of, report_of, run_out


def plan(trials: int = 40, sampler: SamplerName = SamplerName.SURROGATE) -> SearchPlan:
    none = StoppingPolicy(rule=StoppingName.NONE, patience=None)
    budget = Budget(trials=trials, until=Until.NO_EXPECTED_GAIN)
    return plan_of(budget=budget, sampler=sampler, stopping=none)


def flat(record: TrialRecord, samples: int) -> Report:
    """Return a report without any effect of the parameters: noise around 0.8."""
    noise = ((record.number * 7919 + samples * 104729) % 1000) / 1000 - 0.5
    return report_of(record.number, samples, 0.8 + 0.02 * noise)


def steep(record: TrialRecord, samples: int) -> Report:
    """Return a report of a task whose best learning rate is at the end of the range, hard to hit by chance."""
    settings = record.settings
    height = 0.95 - 0.1 * (math.log10(settings.learning_rate) + 5) - 0.05 * settings.batch_size / 32
    return report_of(record.number, samples, height * (1 - math.exp(-samples / 1500)))


def test_search_without_differences_ends_early() -> None:
    coordinator = coordinator_in_memory(plan())
    run_out(coordinator, flat)
    assert FEWEST_TRIALS <= len(coordinator.records()) < 20
    reason = coordinator.exhausted_reason
    assert reason is not None
    assert reason.startswith(f"no further trial is expected to help: after {len(coordinator.records())} trials")
    assert "val/accuracy" in reason


def test_search_with_equal_values_ends_at_the_first_check() -> None:
    coordinator = coordinator_in_memory(plan())
    run_out(coordinator, lambda record, samples: report_of(record.number, samples, 1.0))
    assert len(coordinator.records()) == FEWEST_TRIALS
    assert "to improve val/accuracy by 0;" in (coordinator.exhausted_reason or "")


def test_search_with_differences_goes_on() -> None:
    """Random trials have not come near the optimum yet."""
    coordinator = coordinator_in_memory(plan(FEWEST_TRIALS + 2, SamplerName.RANDOM))
    run_out(coordinator, steep)
    assert len(coordinator.records()) == FEWEST_TRIALS + 2


def test_search_without_condition_spends_its_budget() -> None:
    coordinator = coordinator_in_memory(replace(plan(trials=12), budget=Budget(trials=12)))
    run_out(coordinator, flat)
    assert len(coordinator.records()) == 12


def test_result_is_the_same_at_any_later_time() -> None:
    coordinator = coordinator_in_memory(replace(plan(trials=24), budget=Budget(trials=24)))
    run_out(coordinator, flat)
    records = coordinator.records()
    later = ExpectedGain(plan()).too_small(records)
    assert later is not None
    stepwise = ExpectedGain(plan())
    for count in range(1, len(records) + 1):
        reason = stepwise.too_small(records[:count])
        if reason is not None:
            break
    assert reason == later
    assert (count - FEWEST_TRIALS) % EVERY == 0


def test_running_trial_among_the_first_delays_the_check() -> None:
    coordinator = coordinator_in_memory(replace(plan(trials=24), budget=Budget(trials=24)))
    run_out(coordinator, flat)
    records = [*coordinator.records()]
    records[3] = replace(records[3], state=TrialState.RUNNING)
    assert ExpectedGain(plan()).too_small(records) is None


def test_fluctuation_ignores_the_trend() -> None:
    record = replace(coordinator_trial(), reports=tuple(report_of(0, n, 0.1 * n) for n in range(1, 9)))
    assert fluctuation([record], ACCURACY) == pytest.approx(0.0, abs=1e-12)
    noisy = [0.8, 0.8, 0.8, 0.8, 0.9, 0.7, 0.9, 0.7]
    record = replace(record, reports=tuple(report_of(0, n, value) for n, value in enumerate(noisy, start=1)))
    assert fluctuation([record], ACCURACY) == pytest.approx(0.4 / 6**0.5)
    assert fluctuation([replace(record, state=TrialState.PRUNED)], ACCURACY) == 0.0


def coordinator_trial() -> TrialRecord:
    coordinator = coordinator_in_memory(plan_of(trials=1))
    run_out(coordinator)
    return replace(coordinator.records()[0], state=TrialState.COMPLETE)
