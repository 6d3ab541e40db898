"""Gates on test rows: the candidate against the version in use, as pure functions of their stored rows."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.scores.seed_noise import ORIGIN, SeedSd, items_of
from orchestrator.promotion.gates.rules import GateResult

if TYPE_CHECKING:
    from orchestrator.statistics.intervals import Interval
    from orchestrator.statistics.paired import PairedTest

NOTABLE_GAIN = 0.01
"""Gain for which the number of rows is given if the measured gain is smaller than the needed one."""
POWER = 0.8
"""Probability with which that number of rows shows the gain."""
EXACT_ROWS = 5_000
"""Number of rows up to which the power of the exact McNemar test is computed."""


def paired_test(name: str, challenger: RowMeasures, champion: RowMeasures) -> "PairedTest | None":
    """Return the paired test of a metric on the same rows; higher is better. None: the rows do not give the metric.

    Accuracy is compared by the exact McNemar test, macro-F1 and the F1 of entities by the paired bootstrap, loss and
    perplexity by Student's paired test of the losses, a metric with a value per row by the same test of these values.

    Args:
        name: the metric without a split.
        challenger: rows of the candidate.
        champion: rows of the version in use, in the same order.
    """
    import numpy as np

    from orchestrator.statistics.paired import paired_f1, paired_means

    if name in {"loss", "perplexity"} and len(challenger.losses) > 1:
        if challenger.units != champion.units:  # another max_length cuts other tokens
            return None
        gains_2n = -np.array([challenger.losses, champion.losses])
        return paired_means(gains_2n[0], gains_2n[1], np.array(challenger.units))
    ours, theirs = (each.scores.get(name, ()) for each in (challenger, champion))
    if len(ours) == len(theirs) > 1:  # answers of two sweeps may belong to different numbers of rows
        return paired_means(np.array(ours), np.array(theirs), np.ones(len(ours)))
    if name == "f1" and (ours_3n := items_of(challenger)) and (theirs_3n := items_of(champion)):
        return paired_f1(np.array(ours_3n), np.array(theirs_3n), np.random.default_rng(0))
    return _class_test(name, challenger, champion) if challenger.references else None


def _class_test(name: str, challenger: RowMeasures, champion: RowMeasures) -> "PairedTest | None":
    """Return the paired test of a metric of classes; None: it is another metric."""
    import numpy as np

    from orchestrator.statistics.paired import mcnemar, paired_bootstrap
    from orchestrator.statistics.row_metrics import macro_f1

    ours_n, theirs_n = np.array(challenger.predictions), np.array(champion.predictions)
    references_n = np.array(challenger.references)
    if name == "accuracy":
        return mcnemar(ours_n == references_n, theirs_n == references_n)
    if name == "macro_f1":
        return paired_bootstrap(ours_n, theirs_n, references_n, macro_f1, np.random.default_rng(0))
    return None


def champion_gate(
    metric: Metric,
    challenger: Measurement,
    champion: Measurement,
    rival: str,
    gates: Gates,
    seeds: SeedSd,
) -> GateResult | None:
    """Return whether the candidate is better than the version in use; None: the rows do not give the metric.

    The gate promotes if the gain is at least ``champion_gain`` and the test, with the noise between seeds, shows at the
    level ``p_value`` that the gain is not zero. It refuses if the whole interval of the gain is below
    ``champion_gain``. Else it abstains, which stops the promotion as well.

    Args:
        metric: the searched metric.
        challenger: measurement of the candidate on the test rows.
        champion: measurement of the version in use on the same rows.
        rival: name of the version in use.
        gates: the bounds; ``champion_gain`` is not None.
        seeds: the noise of the metric between seeds; ``gates.seed_sd`` replaces it.
    """
    name, needed = metric.name.rpartition("/")[2], gates.champion_gain or 0.0
    pair = (challenger.rows, champion.rows)
    if metric.direction is Direction.MINIMIZE and name in challenger.rows.scores:
        pair = (champion.rows, challenger.rows)  # the gain in an error per row
    test = paired_test(name, *pair)
    if test is None or not _agrees(test, metric, challenger, champion):
        return None
    if gates.seed_sd is not None:
        seeds = SeedSd(value=gates.seed_sd, origin="gates.seed_sd")
    seed_sd = seeds.value
    passed, p_value, interval = decide(test, needed, gates.p_value, seed_sd)
    gain = interval.value
    unit = "loss" if name == "perplexity" else name
    between = f" and between seeds (standard deviation {seed_sd:.2g}, {seeds.origin})" if seed_sd else ""
    noise = f"noise of the rows{between}"
    detail = (
        f"test {unit}, gain over {rival}: {gain:+.4f} ({100 * interval.level:.0f} % interval {interval.low:+.4f} to "
        f"{interval.high:+.4f}) on {test.rows:,} rows, p = {p_value:.2g} with {noise}"
    )
    rows = None
    if passed is None:
        looked_for = gain if gain > 0 and gain >= needed else max(needed, NOTABLE_GAIN)
        rows = rows_that_decide(test, looked_for, seed_sd, gates.p_value)
        detail += f"; {_remedy(rows, looked_for)}"
    return GateResult(
        gate="champion",
        passed=passed,
        detail=detail,
        refuses=not passed,
        rule=f"test {unit} better than {rival} by {_at_least(needed)}, paired test p ≤ {gates.p_value:g}",
        value=gain,
        interval=interval,
        rows_needed=rows,
    )


def decide(test: "PairedTest", needed: float, alpha: float, seed_sd: float) -> "tuple[bool | None, float, Interval]":
    """Return whether the gain is shown (None: undecided), the p-value, and the interval of the gain.

    P-value and interval hold the noise of the rows and of one seed each.

    Args:
        test: challenger against champion.
        needed: smallest gain.
        alpha: level of the test.
        seed_sd: standard deviation of the metric between seeds.
    """
    from orchestrator.statistics.noise import prior_noise, with_seed_noise
    from orchestrator.statistics.paired import p_with_seed_noise

    p_value = p_with_seed_noise(test, seed_sd)
    interval = with_seed_noise(test.difference, prior_noise(seed_sd * math.sqrt(2), ORIGIN), 1).total
    if test.difference.value >= needed and p_value <= alpha:
        return True, p_value, interval
    return (False if interval.high < needed else None), p_value, interval


def rows_that_decide(test: "PairedTest", gain: float, seed_sd: float, alpha: float) -> int | None:
    """Return the number of rows that shows a true gain with a probability of 80 %; None: no number does.

    For an accuracy, a number up to ``EXACT_ROWS`` is at least that of the exact McNemar test; its power takes seconds
    to compute beyond.
    """
    from orchestrator.statistics.paired import rows_for_difference, rows_to_decide

    rows = rows_for_difference(test, gain, seed_sd, POWER, alpha)
    if rows is None or not test.discordant or rows > EXACT_ROWS:
        return rows
    discordance = max(test.discordant / test.rows, gain)
    return max(rows, rows_to_decide(gain, discordance, POWER, alpha))


def slice_gate(
    challenger: RowMeasures, champion: RowMeasures, slices: Mapping[str, Sequence[int]], rival: str, gates: Gates
) -> GateResult:
    """Return whether the candidate's accuracy is not much lower than that of the version in use on any slice.

    A larger drop than ``slice_drop`` refuses on slices of at least ``slice_rows`` rows, and warns on smaller ones.

    Args:
        challenger: test rows of the candidate.
        champion: test rows of the version in use, in the same order.
        slices: row numbers of each slice, by name.
        rival: name of the version in use.
        gates: the bounds; ``slice_drop`` is not None.
    """
    import numpy as np

    from orchestrator.statistics.paired import mcnemar

    most = gates.slice_drop or 0.0
    rule = f"accuracy at most {most:g} below {rival} on each slice of at least {gates.slice_rows:,} test rows"
    references_n = np.array(challenger.references)
    ours_n, theirs_n = np.array(challenger.predictions) == references_n, np.array(champion.predictions) == references_n
    tests = {name: mcnemar(ours_n[[*rows]], theirs_n[[*rows]]) for name, rows in slices.items() if len(rows)}
    if not tests:
        return GateResult(gate="slices", passed=None, detail="the test rows have no slices", rule=rule)
    large = {name: test for name, test in tests.items() if test.rows >= gates.slice_rows}
    worst = min(large or tests, key=lambda name: tests[name].difference.value)
    test = tests[worst]
    small = [
        f"{name} ({each.rows:,} rows, {each.difference.value:+.4f})"
        for name, each in tests.items()
        if name not in large and each.difference.value < -most
    ]
    refused = bool(large) and test.difference.value < -most
    rows = None
    if not large:  # so many test rows that the largest slice is large enough
        largest = max(each.rows for each in tests.values())
        rows = -(-len(references_n) * gates.slice_rows // largest)
    detail = (
        f"{len(tests)} slices, {len(large)} of at least {gates.slice_rows:,} rows; worst: {worst} ({test.rows:,} "
        f"rows), accuracy {test.difference.value:+.4f} against {rival} (95 % interval {test.difference.low:+.4f} to "
        f"{test.difference.high:+.4f}), at most {most:g} below"
    )
    if small:
        detail += f"; warning, small slices: {', '.join(small)}"
    if rows is not None:
        detail += f"; undecided: about {rows:,} test rows would give a slice of {gates.slice_rows:,} rows"
    return GateResult(
        gate="slices",
        passed=None if not large else not (refused or small),
        detail=detail,
        refuses=refused,
        rule=rule,
        value=test.difference.value,
        interval=test.difference,
        rows_needed=rows,
    )


def _agrees(test: "PairedTest", metric: Metric, challenger: Measurement, champion: Measurement) -> bool:
    """Return whether the rows give the measured difference; an objective may define its metric otherwise."""
    name = metric.name.rpartition("/")[2]
    name = "loss" if name == "perplexity" else name
    values = challenger.metrics.get(name, math.nan), champion.metrics.get(name, math.nan)
    sign = -1 if metric.direction is Direction.MINIMIZE else 1
    return math.isclose(sign * (values[0] - values[1]), test.difference.value, rel_tol=1e-4, abs_tol=1e-6)


def _at_least(gain: float) -> str:
    return f"at least {gain:g}" if gain > 0 else "more than 0"


def _remedy(rows: int | None, gain: float) -> str:
    if rows is None:
        return (
            f"undecided, and no number of test rows shows a gain of {gain:.4f} with one seed each: the noise between "
            "seeds hides it"
        )
    return f"undecided: about {rows:,} test rows would show a gain of {gain:.4f}"
