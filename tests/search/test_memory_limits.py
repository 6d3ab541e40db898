"""Configurations expected to run out of memory are tried last; the expectation is a function of the ledger."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.space import Choices, FloatRange, IntRange, Parameter, ParamValue, Space
from orchestrator.core.sweeps.policy import SamplerName, StoppingName, StoppingPolicy
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import OUT_OF_MEMORY, Report, TrialRecord, TrialState
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.memory_limits import MemoryLimits
from tests.search.worlds import coordinator_in_memory, coordinator_of, curve, plan_of, report_of, run_out, step

NO_RULE = StoppingPolicy(rule=StoppingName.NONE)
BATCHES = IntRange(low=8, high=32, step=8)
RATES = FloatRange(low=1e-5, high=1e-2, log=True)
FINITE = Space(
    parameters=(
        Parameter(name="batch_size", distribution=BATCHES),
        Parameter(name="rank", distribution=Choices(choices=(4, 8, 16))),
    )
)
INFINITE = Space(
    parameters=(Parameter(name="learning_rate", distribution=RATES), Parameter(name="batch_size", distribution=BATCHES))
)


def record(number: int, *, failed: bool, **settings: ParamValue) -> TrialRecord:
    """Return a trial that ran out of memory, or has trained to its first report."""
    return TrialRecord(
        number=number,
        params=settings,
        settings=TrialSettings.from_params(settings),
        seed=0,
        state=TrialState.FAIL if failed else TrialState.RUNNING,
        reason=f"{OUT_OF_MEMORY}crashed 2 times: MemoryError" if failed else None,
        reports=() if failed else (report_of(number, 1000, 0.5),),
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"batch_size": 32}, True),
        ({"batch_size": 64, "rank": 16}, True),
        ({"batch_size": 31}, False),
        ({"batch_size": 64, "rank": 8}, False),
        ({"batch_size": 64, "max_length": 64}, False),
        ({"batch_size": 32, "dropout": 0.1}, True),
        ({"batch_size": 32, "learning_rate": 1e-5}, True),
        ({"batch_size": 64, "target_modules": "q_lin"}, False),
        ({"batch_size": 64, "method": "ia3"}, False),
    ],
)
def test_only_larger_configurations_are_expected_to_fail(settings: dict[str, ParamValue], expected: bool) -> None:
    limits = MemoryLimits([record(3, failed=True, batch_size=32)])
    assert limits.exceeded_by(settings) == ((3,) if expected else ())


def test_other_failures_set_no_limit() -> None:
    crashed = TrialRecord(
        number=0, params={}, settings=TrialSettings(), seed=0, state=TrialState.FAIL, reason="crashed 2 times: x"
    )
    assert MemoryLimits([crashed]).exceeded_by({}) == ()


def test_larger_trained_trial_refutes_a_failure() -> None:
    limits = MemoryLimits([record(0, failed=True, batch_size=32), record(1, failed=False, batch_size=64)])
    assert limits.exceeded_by({"batch_size": 128}) == ()
    limits.update(record(1, failed=True, batch_size=64))  # it ran out of memory after its report
    assert limits.exceeded_by({"batch_size": 128}) == (0, 1)


def test_sentence_names_trials_and_sizes() -> None:
    assert MemoryLimits().sentence is None
    limits = MemoryLimits([record(3, failed=True, batch_size=32)])
    assert limits.sentence == (
        "Out of memory: trial 3 (batch_size 32, max_length 128, rank 16). "
        "The search tries configurations at least as large last"
    )


RECORDS = st.builds(
    record,
    st.integers(0, 5),
    failed=st.booleans(),
    batch_size=st.sampled_from([8, 16, 32]),
    rank=st.sampled_from([4, 8]),
)


@given(data=st.data())
def test_order_of_records_does_not_matter(data: st.DataObject) -> None:
    records = data.draw(st.lists(RECORDS, unique_by=lambda each: each.number))
    shuffled = data.draw(st.permutations(records))
    for batch_size in (8, 16, 32):
        settings: dict[str, ParamValue] = {"batch_size": batch_size, "rank": 8}
        assert MemoryLimits(records).exceeded_by(settings) == MemoryLimits(shuffled).exceeded_by(settings)


def sixteen_rows(trial: TrialRecord, samples: int) -> Report:
    """Train batches up to 16 rows."""
    if trial.settings.batch_size > 16:
        raise MemoryError
    return curve(trial, samples)


def failed(coordinator: Coordinator) -> Sequence[int]:
    return [trial.number for trial in coordinator.records() if trial.ran_out_of_memory]


@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.RANDOM, SamplerName.QMC])
def test_infinite_space_tries_larger_trials_no_more(sampler: SamplerName) -> None:
    coordinator = coordinator_in_memory(plan_of(space=INFINITE, trials=12, sampler=sampler, stopping=NO_RULE))
    run_out(coordinator, sixteen_rows)
    sizes = [trial.settings.batch_size for trial in coordinator.records()]
    assert len(sizes) == 12
    assert 1 <= len(failed(coordinator)) <= 2  # of 24 and 32 rows, if the larger one came first
    [note, *_] = coordinator.take_notes()
    assert note.startswith("proposals deferred: ")
    assert any(f"expected to run out of memory as trial {number} did" in note for number in failed(coordinator))
    assert coordinator.take_notes() == ()


def test_smallest_size_is_tried_when_the_sampler_proposes_no_other() -> None:
    """Nearly all choices are too large."""
    batches = Choices(choices=(*range(1000, 1400), 8))
    space = Space(
        parameters=(
            Parameter(name="learning_rate", distribution=RATES),
            Parameter(name="batch_size", distribution=batches),
        )
    )
    start = ({"batch_size": 1000},)
    plan = plan_of(space=space, trials=4, stopping=NO_RULE, start=start)
    coordinator = coordinator_in_memory(plan)
    run_out(coordinator, sixteen_rows)
    assert [trial.settings.batch_size for trial in coordinator.records()] == [1000, 8, 8, 8]
    assert len({trial.settings.learning_rate for trial in coordinator.records()}) == 4


@pytest.mark.parametrize("sampler", [SamplerName.GRID, SamplerName.TPE, SamplerName.RANDOM])
def test_finite_space_ends_when_failures_are_certain(sampler: SamplerName) -> None:
    coordinator = coordinator_in_memory(plan_of(space=FINITE, trials=None, sampler=sampler, stopping=NO_RULE))
    run_out(coordinator, sixteen_rows)
    records = coordinator.records()
    fits = [trial.number for trial in records if not trial.ran_out_of_memory]
    assert len(fits) == 6, "every point that fits is tried"
    assert 2 <= len(failed(coordinator)) <= 5
    assert (coordinator.exhausted_reason or "").startswith("every point left would run out of memory, as trials ")


def test_single_failure_is_repeated_at_the_end() -> None:
    space = Space(parameters=(Parameter(name="batch_size", distribution=Choices(choices=(8, 16, 64, 128))),))
    starts = tuple({"batch_size": size} for size in (64, 128))
    coordinator = coordinator_in_memory(plan_of(space=space, trials=None, stopping=NO_RULE, start=starts))
    run_out(coordinator, sixteen_rows)
    sizes = [trial.settings.batch_size for trial in coordinator.records()]
    assert sizes[0] == 64
    assert {*sizes[1:3]} == {8, 16}
    assert sizes[3:] == [128]


def test_all_points_are_tried_again_by_the_next_driver(tmp_path: Path) -> None:
    """No trial has trained, so the device may be short of memory: the failures are not certain."""
    space = Space(parameters=(Parameter(name="rank", distribution=IntRange(low=4, high=64, step=4)),))
    plan = plan_of(space=space, trials=16, stopping=NO_RULE)

    def no_memory(trial: TrialRecord, samples: int) -> Report:
        raise MemoryError(f"trial {trial.number} at {samples}")

    first = coordinator_of(tmp_path, plan)
    run_out(first, no_memory)
    assert first.failing is not None
    again = coordinator_of(tmp_path, plan)
    task = again.next_task()
    assert task is not None
    step(again, again.records()[task.number])
    assert again.records()[task.number].reports
