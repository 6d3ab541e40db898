"""The surrogate: vectors of points, expected final values, proposals."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, FloatRange, Parameter, Space
from orchestrator.core.sweeps.policy import SamplerName, StoppingName, StoppingPolicy
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.search.surrogate import finals
from orchestrator.search.surrogate.encoding import Encoding
from orchestrator.search.surrogate.finals import EARLY_CORRELATION, Curves
from orchestrator.search.surrogate.model import Observation, best_point, drawn_point, expected_improvement
from tests.search.worlds import ACCURACY, GRID, SPACE, coordinator_in_memory, plan_of, run_out

LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
RATE = Parameter(name="learning_rate", distribution=FloatRange(low=1e-5, high=1e-2, log=True))
PLANE = Space(parameters=(RATE, Parameter(name="rank", distribution=Choices(choices=(4, 8, 16, 32)))))


@pytest.mark.parametrize("space", [SPACE, GRID, PLANE])
def test_drawn_points_are_in_the_space(space: Space) -> None:
    encoding = Encoding(space)
    points = [drawn_point(encoding, number, 3, {}) for number in range(64)]
    assert all(space.contains(point) for point in points)
    assert len({str(point) for point in points}) > 10
    assert points == [drawn_point(encoding, number, 3, {}) for number in range(64)]
    features = encoding.features(points)
    assert features.min() >= 0.0
    assert features.max() <= 1.0


@given(st.lists(st.floats(0, 0.999), min_size=5, max_size=5))
def test_coordinates_give_their_point_back(coordinates: list[float]) -> None:
    encoding = Encoding(SPACE)
    (point,) = encoding.points(np.array([coordinates]), {})
    (again,) = encoding.points(encoding.coordinates(point)[None], {})
    assert again.keys() == point.keys()
    for name, value in point.items():
        assert again[name] == (pytest.approx(value) if isinstance(value, float) else value)


def test_number_choices_keep_their_order() -> None:
    encoding = Encoding(PLANE)
    points = [{"learning_rate": 1e-2, "rank": rank} for rank in (4, 8, 16, 32)]
    assert encoding.features(points)[:, 1].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_fixed_values_decide_their_conditions() -> None:
    encoding = Encoding(SPACE)
    points = [drawn_point(encoding, number, 0, {"init": "gaussian"}) for number in range(8)]
    assert all("lora_plus_ratio" not in point for point in points)


def trial(number: int, state: TrialState, *reports: tuple[float, float]) -> TrialRecord:
    """Return a trial with reports every 100 samples: accuracy and loss."""
    return TrialRecord(
        number=number,
        params={},
        settings=TrialSettings(),
        seed=0,
        state=state,
        reports=tuple(
            Report(
                trial=number,
                nominal_samples=100 * place,
                metrics={"val/accuracy": accuracy, "val/loss": loss},
                checkpoint=None,
                started_at=0.0,
                ended_at=1.0,
            )
            for place, (accuracy, loss) in enumerate(reports, start=1)
        ),
    )


def curves(records: Sequence[TrialRecord]) -> Curves:
    return Curves(metric=ACCURACY, compared=LOSS, end=400, records=records)


def test_complete_trials_count_with_their_best_value() -> None:
    (final,) = curves([trial(0, TrialState.COMPLETE, (0.5, 1.0), (0.8, 0.5), (0.7, 0.4))]).expected_finals()
    assert (final.cost, final.variance) == (-0.8, 0.0)


def test_stopped_trials_are_extrapolated_by_regression() -> None:
    complete = [trial(n, TrialState.COMPLETE, (0.3, loss), (1 - loss, 0.1)) for n, loss in enumerate((0.2, 0.4, 0.6))]
    stopped = trial(3, TrialState.PRUNED, (0.3, 0.8))
    final = curves([*complete, stopped]).expected_finals()[3]
    # The finals are 0.8, 0.6 and 0.4 for early losses of 0.2, 0.4 and 0.6. The prior weighs as much as these trials.
    correlation = EARLY_CORRELATION + (1 - EARLY_CORRELATION) / 4
    slope = (correlation + 1) / 2
    assert final.cost == pytest.approx(-0.6 + slope * 0.4)
    assert 0 < final.variance < 0.2**2


def test_failed_and_silent_trials_have_no_final() -> None:
    records = [
        trial(0, TrialState.FAIL, (0.9, 0.1)),
        trial(1, TrialState.RUNNING),
        trial(2, TrialState.PRUNED, (0.6, 1)),
    ]
    assert [final.trial for final in curves(records).expected_finals()] == [2]
    assert curves([trial(0, TrialState.RUNNING, (math.nan, 1.0))]).expected_finals() == ()


def test_missing_first_value_spoils_no_other_trial() -> None:
    """The late starter has no value where the others stopped, so it teaches nothing about that place."""
    complete = [trial(n, TrialState.COMPLETE, (0.3, loss), (1 - loss, 0.1)) for n, loss in enumerate((0.2, 0.4, 0.6))]
    late = trial(3, TrialState.COMPLETE, (math.nan, math.nan), (0.9, 0.1))
    stopped = trial(4, TrialState.PRUNED, (0.3, 0.8))
    with_late = curves([*complete, late, stopped]).expected_finals()
    assert with_late[3].cost == -0.9
    assert with_late[4] == curves([*complete, stopped]).expected_finals()[3]
    young = [replace(record, state=TrialState.PRUNED) for record in complete]
    assert curves([*young, late, stopped]).expected_finals()[4].cost == pytest.approx(-0.3)


def test_complete_trial_needs_no_compared_value() -> None:
    (final,) = curves([trial(0, TrialState.COMPLETE, (0.5, math.nan), (0.8, math.nan))]).expected_finals()
    assert (final.cost, final.variance) == (-0.8, 0.0)


def test_each_place_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal after 500 trials must not fit one regression for each of them."""
    fits: list[int] = []
    fitted = finals._fitted

    def counted(early: finals.Array, ends: finals.Array, correlation: float) -> finals._Regression:
        fits.append(len(early))
        return fitted(early, ends, correlation)

    monkeypatch.setattr(finals, "_fitted", counted)
    complete = [trial(n, TrialState.COMPLETE, (0.3, n / 9), (0.5, 0.1), (0.9, 0.1)) for n in range(3)]
    stopped = [trial(n, TrialState.PRUNED, *[(0.3, n / 90)] * (1 + n % 2)) for n in range(3, 40)]
    curves([*complete, *stopped]).expected_finals()
    assert fits == [3, 3]


@given(st.permutations(range(6)))
def test_finals_do_not_depend_on_the_order(order: list[int]) -> None:
    losses = (0.3, 0.5, 0.9, 0.4, 0.7, 0.2)
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING] * 2
    records = [trial(n, states[n], (0.5, losses[n]), (0.9 - losses[n] / 2, losses[n])) for n in range(6)]
    assert curves([records[n] for n in order]).expected_finals() == curves(records).expected_finals()


def bowl(learning_rate: float, rank: int) -> float:
    """Return a cost with its minimum at 1e-3 and rank 16."""
    return (math.log10(learning_rate) + 3) ** 2 + 0.1 * (math.log2(rank) - 4) ** 2


def observed(points: Sequence[dict[str, float | int | str | bool | None]]) -> list[Observation]:
    return [
        Observation(point=point, cost=bowl(float(str(point["learning_rate"])), int(str(point["rank"]))))
        for point in points
    ]


def test_proposals_approach_the_optimum() -> None:
    encoding = Encoding(PLANE)
    points = [drawn_point(encoding, number, 1, {}) for number in range(4)]
    for number in range(4, 14):
        points.append(best_point(encoding, observed(points), number, {}).point)
    costs = [one.cost for one in observed(points)]
    assert min(costs[4:]) < min(costs[:4])
    assert min(costs) < 0.15  # the range of costs is 4.9


def test_proposal_keeps_fixed_values_and_is_untried() -> None:
    encoding = Encoding(PLANE)
    known = observed([drawn_point(encoding, number, 1, {}) for number in range(6)])
    best = best_point(encoding, known, 0, {"rank": 4})
    assert best.point["rank"] == 4
    assert best.point not in [one.point for one in known]
    assert best.gain >= 0
    assert best == best_point(encoding, known, 0, {"rank": 4})


def test_running_trials_are_not_proposed_twice() -> None:
    encoding = Encoding(PLANE)
    known = observed([drawn_point(encoding, number, 1, {}) for number in range(8)])
    first = best_point(encoding, known, 0, {})
    second = best_point(encoding, [*known, Observation(point=first.point, cost=math.nan)], 0, {})
    assert second.point != first.point
    assert second.gain <= first.gain


def test_failures_do_not_hide_the_good_region() -> None:
    encoding = Encoding(PLANE)
    known = observed([drawn_point(encoding, number, 1, {}) for number in range(12)])
    failed = [Observation(point={"learning_rate": 9e-3, "rank": 32}, cost=math.inf)]
    rate = best_point(encoding, [*known, *failed], 0, {}).point["learning_rate"]
    assert 1e-4 < float(str(rate)) < 6e-3


def test_many_equal_best_costs_hide_no_worse_ones() -> None:
    """Half of the trials reach the same accuracy; the bad ones at high rates must still count as bad."""
    encoding = Encoding(PLANE)
    points = [drawn_point(encoding, number, 1, {}) for number in range(16)]
    worse = [max(0.0, 0.3 * (math.log10(float(str(point["learning_rate"]))) + 3)) for point in points]
    assert sum(cost == 0.0 for cost in worse) > len(points) / 2
    observed = [Observation(point=point, cost=cost) for point, cost in zip(points, worse, strict=True)]
    rates = [float(str(best_point(encoding, observed, seed, {}).point["learning_rate"])) for seed in range(4)]
    assert max(rates) < 1e-3


def test_equal_costs_promise_no_gain() -> None:
    encoding = Encoding(PLANE)
    points = [drawn_point(encoding, number, 1, {}) for number in range(8)]
    equal = [Observation(point=point, cost=-0.9) for point in points]
    failed = Observation(point={"learning_rate": 9e-3, "rank": 32}, cost=math.inf)
    for observations in (equal, [*equal, failed]):
        best = best_point(encoding, observations, 0, {})
        assert (best.gain, best.noise) == (0.0, 0.0)


def test_expected_improvement_has_known_values() -> None:
    gains = expected_improvement(np.array([0.0, 1.0, -5.0]), np.array([1.0, 1e-3, 1.0]))
    assert gains == pytest.approx([0.398942, 1.0, 5.3e-8], abs=1e-6)


def test_surrogate_beats_random_search() -> None:
    """Over ten seeds, at twelve whole trials each."""
    best = {}
    for sampler in (SamplerName.SURROGATE, SamplerName.RANDOM):
        scores = []
        for seed in range(10):
            none = StoppingPolicy(rule=StoppingName.NONE)
            coordinator = coordinator_in_memory(plan_of(trials=12, sampler=sampler, stopping=none, seed=seed))
            run_out(coordinator)
            scores.append(max(record.score(ACCURACY) or 0.0 for record in coordinator.records()))
        best[sampler] = sum(scores) / len(scores)
    assert best[SamplerName.SURROGATE] > best[SamplerName.RANDOM]
