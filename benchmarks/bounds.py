"""How do the gates with a bound decide, and do their intervals cover? Simulated rows with known truth.

    python -m benchmarks.bounds [--draws 4000] [--rows 1000] [--seed 0]

The first table draws right and wrong test rows (accuracy 0.85) and rows of a shift set with a known drop, and applies
the rule of ``promote`` to the bound ``shift_drop: 0.1``, without noise between seeds. Beside it stands the share of
candidates that a rule would promote which needs the whole interval within the bound. The second table draws class
probabilities of a classifier with two classes; temperature 1 is perfectly calibrated.
"""

from typing import Annotated

import numpy as np
import typer

from orchestrator.core.metric import Direction
from orchestrator.core.sweeps.gates import MetricBound
from orchestrator.evaluation.scores.adapter_intervals import drop_interval
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.promotion.gates.bounds import decide
from orchestrator.statistics.calibration import calibration_interval, expected_calibration_error
from orchestrator.statistics.intervals import wilson_interval

ACCURACY, BOUND = 0.85, 0.1
DROPS, TEMPERATURES, ROWS = (0.05, 0.08, 0.1, 0.12, 0.15), (1.0, 1.3, 2.0), (200, 500, 1500)
TRUTH_ROWS = 1_000_000


def limits(right: int, rows: int) -> MetricInterval:
    """Return the interval of an accuracy over rows."""
    found = wilson_interval(right, rows)
    return MetricInterval(low=found.low, high=found.high, level=found.level, rows=rows, seed_sd=None)


def decisions(drop: float, rows: int, draws: int, generator: np.random.Generator) -> tuple[float, ...]:
    """Return the shares of promotions, abstentions, refusals, promotions of the stricter rule, and coverage."""
    counts = np.zeros(5)
    test_d = generator.binomial(rows, ACCURACY, draws)
    shift_d = generator.binomial(rows, ACCURACY - drop, draws)
    for test, shift in zip(map(int, test_d), map(int, shift_d), strict=True):
        values = test / rows, shift / rows
        both = drop_interval(limits(test, rows), limits(shift, rows), values, Direction.MAXIMIZE)
        passed = decide((test - shift) / rows, MetricBound(max=BOUND), both).passed
        counts += (passed is True, passed is None, passed is False, both.high <= BOUND, both.low <= drop <= both.high)
    return tuple(map(float, counts / draws))


def classifier(rows: int, temperature: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of the predicted class, and whether it is right; logits are multiplied by temperature."""
    logits_n = np.abs(generator.normal(1.5, 1.5, rows))
    right_n = generator.random(rows) < 1 / (1 + np.exp(-logits_n))
    return 1 / (1 + np.exp(-temperature * logits_n)), right_n


def calibration(rows: int, temperature: float, draws: int, generator: np.random.Generator) -> tuple[float, ...]:
    """Return the true error, the mean excess of the measured one, and the shares of intervals below and above it."""
    truth = 0.0
    if temperature != 1:
        truth = expected_calibration_error(*classifier(TRUTH_ROWS, temperature, generator)).value
    found = [calibration_interval(*classifier(rows, temperature, generator), generator) for _ in range(draws)]
    excess = float(np.mean([each.value for each in found])) - truth
    below, above = (sum(each.high < truth for each in found), sum(each.low > truth for each in found))
    return truth, excess, below / draws, above / draws


def main(
    draws: Annotated[int, typer.Option(min=100)] = 4000,
    rows: Annotated[int, typer.Option(min=100)] = 1000,
    seed: int = 0,
) -> None:
    """Print both tables."""
    generator = np.random.default_rng(seed)
    print(f"shift_drop: {BOUND:g}, {rows:,} test rows, {rows:,} rows of the shift set, {draws:,} draws")
    print("true drop  promote  abstain  refuse  promoted if the whole interval must keep the bound  coverage")
    for drop in DROPS:
        promote, abstain, refuse, strict, covered = decisions(drop, rows, draws, generator)
        print(f"{drop:9.2f} {promote:8.3f} {abstain:8.3f} {refuse:7.3f} {strict:51.3f} {covered:9.3f}")
    print(f"\nexpected calibration error, {draws // 10} draws")
    print("temperature  rows  true error  excess of the measured one  interval below  interval above")
    for temperature in TEMPERATURES:
        for count in ROWS:
            truth, excess, below, above = calibration(count, temperature, draws // 10, generator)
            print(f"{temperature:11.1f} {count:5d} {truth:11.4f} {excess:27.4f} {below:15.3f} {above:15.3f}")


if __name__ == "__main__":
    typer.run(main)
