"""Importances over all trials at their highest common report point, or a note about too few trials."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.search.importances import importances
from tests.search.worlds import ACCURACY, POINTS, report_of


def trials(
    count: int, value: Callable[[Mapping[str, Any]], float], reports: Callable[[int], int] = lambda _: 1
) -> list[TrialRecord]:
    draw = random.Random(0)
    records = []
    for number in range(count):
        params = {
            "learning_rate": 10 ** draw.uniform(-5, -2),
            "dropout": draw.uniform(0, 0.3),
            "init": draw.choice(("default", "gaussian")),
            "alpha": 32.0,
        }
        points = POINTS[: reports(number)]
        records.append(
            TrialRecord(
                number=number,
                params=params,
                settings=TrialSettings(),
                seed=0,
                state=TrialState.PRUNED,
                reports=tuple(report_of(number, samples, value(params)) for samples in points),
            )
        )
    return records


def test_shares_are_sorted_and_add_up() -> None:
    result = importances(trials(40, lambda p: -(abs(p["learning_rate"] - 1e-3) ** 0.2) + 0.01 * p["dropout"]), ACCURACY)
    assert next(iter(result.shares)) == "learning_rate"
    assert result.shares["learning_rate"] > 0.8
    assert set(result.shares) == {"learning_rate", "dropout", "init"}
    assert sum(result.shares.values()) == pytest.approx(1.0)
    assert (result.nominal_samples, result.trials, result.note) == (1000, 40, None)


def test_choice_can_be_most_important() -> None:
    result = importances(trials(40, lambda p: float(p["init"] == "default")), ACCURACY)
    assert result.shares["init"] > 0.9


def test_highest_rung_with_ten_trials_counts() -> None:
    result = importances(
        trials(30, lambda p: p["dropout"], reports=lambda n: 6 if n < 4 else 3 if n < 12 else 1), ACCURACY
    )
    assert (result.nominal_samples, result.trials) == (3000, 12)


def test_too_few_trials_give_a_note() -> None:
    result = importances(trials(9, lambda p: p["dropout"]), ACCURACY)
    assert (result.shares, result.trials) == ({}, 9)
    assert result.note == "too few trials: 10 needed at one report point, 9 reported"
    assert importances([], ACCURACY).note == "too few trials: 10 needed at one report point, 0 reported"


def test_trials_without_a_number_do_not_count() -> None:
    result = importances(trials(12, lambda p: float("nan") if p["init"] == "default" else p["dropout"]), ACCURACY)
    assert result.shares == {}
    assert result.note is not None
    assert result.note.startswith("too few trials")


def test_equal_values_explain_nothing() -> None:
    result = importances(trials(12, lambda _: 0.5), ACCURACY)
    assert result.shares == {}
    assert result.note == "nothing to compare: all 12 trials have the same values at 1,000 samples"


def test_conditional_parameters_are_omitted_and_named() -> None:
    some = trials(20, lambda p: p["dropout"])
    for record in some[::2]:
        record.params["lora_plus_ratio"] = 1.0 + record.number  # type: ignore[index]
    result = importances(some, ACCURACY)
    assert "lora_plus_ratio" not in result.shares
    assert result.note == "lora_plus_ratio omitted: not set in every trial"


def test_parameters_constant_at_the_rung_are_omitted() -> None:
    some = trials(30, lambda p: p["dropout"], reports=lambda number: 2 if number % 2 else 1)
    for record in some:
        record.params["epochs"] = float(len(record.reports))  # type: ignore[index]
    result = importances(some, ACCURACY)
    assert (result.trials, "epochs" in result.shares) == (15, False)
    assert result.note == "epochs omitted: equal in all trials that reached 2,000 samples"
