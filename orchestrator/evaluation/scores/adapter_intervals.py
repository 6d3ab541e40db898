"""Intervals of all metrics of a trial that follow from its stored rows, and the reason where there is none."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import names_of
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import (
    kept_general,
    kept_measurement,
    kept_train,
    kept_validation,
    shift_measurement,
)
from orchestrator.evaluation.scores.score_intervals import MetricInterval, metric_intervals

GAP = "gap/loss"
SHIFT = "shift/"
USED = "the search used it"
"""Why a metric has no interval, if trials were chosen or ended by it."""


def adapter_intervals(
    sweep_dir: Path, trial: TrialRecord, metric: Metric, training_rows: int | None
) -> dict[str, MetricInterval]:
    """Return the 95 % intervals of a trial's ``test/...``, ``shift/SET/...``, ``forgetting/...`` and ``gap/loss``.

    ``metric_intervals`` has the methods for test and shift rows. The overfit gap is the difference of two means over
    independent rows; it holds the noise of the rows alone. The validation rows chose the checkpoint, so its loss, and
    with it the gap, is a little too low; the interval does not correct this. Forgetting has Student's interval over
    the texts, of the rise of the loss or of jackknife values.

    A metric without stored rows has no interval, nor has a metric of the goal or of its constraints: the search chose
    by it. So do all metrics of a shift set, if it chose by one of them.

    Args:
        sweep_dir: folder of the sweep.
        trial: the trial.
        metric: the searched metric.
        training_rows: number of rows of the trial's training; None: unknown.
    """
    found: dict[str, MetricInterval] = {}
    tested = kept_measurement(sweep_dir, trial, metric)
    if tested is not None:
        by_name = metric_intervals(tested.metrics, tested.rows, training_rows)
        found |= {f"test/{name}": each for name, each in by_name.items()}
    for name in shift_sets(trial.final):
        measured = shift_measurement(sweep_dir, trial, metric, name)
        if measured is not None and not is_used(f"{SHIFT}{name}/", metric):
            by_name = metric_intervals(measured.metrics, measured.rows, training_rows)
            found |= {f"{SHIFT}{name}/{each}": replace(item, of=f"rows of {name}") for each, item in by_name.items()}
    general = kept_general(sweep_dir, trial, metric)
    if general is not None:
        from orchestrator.evaluation.forgetting import PREFIX  # status starts faster without numpy

        if not is_used(PREFIX, metric):
            found |= forgetting_intervals(general.rows, [name for name in general.metrics if name.startswith(PREFIX)])
    gap = None if is_used(GAP, metric) else _gap(sweep_dir, trial, metric)
    return found if gap is None else {**found, GAP: gap}


def is_used(name: str, metric: Metric) -> bool:
    """Return whether the search chose by a metric, its constraints included.

    Args:
        name: name of the metric, or the start of the names of a group: ``shift/SET/``.
        metric: the searched metric.
    """
    return any(each.startswith(name) if name.endswith("/") else each == name for each in names_of(metric))


def shift_sets(names: Iterable[str]) -> tuple[str, ...]:
    """Return the shift sets among the names of metrics, each once."""
    return tuple(dict.fromkeys(name.split("/")[1] for name in names if name.startswith(SHIFT)))


def drop_interval(
    test: MetricInterval, shift: MetricInterval, values: tuple[float, float], direction: Direction
) -> MetricInterval:
    """Return the interval of the drop of a metric from the test rows to a shift set; positive: worse on the shift set.

    The two samples of rows are independent. The same trained adapter is measured on both, so the seed's part of the
    two errors is partly common; as its common part is unknown, the parts are taken as independent, and the interval
    is rather too wide. See ``statistics.difference_interval``.

    Args:
        test: the interval of the metric on the test rows.
        shift: its interval on the shift set.
        values: its values on the test rows and on the shift set.
        direction: the direction in which the metric improves.
    """
    from orchestrator.statistics.intervals import difference_interval

    ours, theirs = test.around(values[0]), shift.around(values[1])
    pair = (ours, theirs) if direction is Direction.MAXIMIZE else (theirs, ours)
    drop = difference_interval(*pair)
    known = test.seed_sd is not None and shift.seed_sd is not None
    return MetricInterval(
        low=drop.low,
        high=drop.high,
        level=drop.level,
        rows=test.rows,
        seed_sd=math.hypot(test.seed_sd or 0.0, shift.seed_sd or 0.0) if known else None,
        beside=f" and {shift.samples}",
    )


def _gap(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> MetricInterval | None:
    """Return the interval of the overfit gap; None without rows of both losses, or if they give another gap."""
    validation, train = (read(sweep_dir, trial, metric) for read in (kept_validation, kept_train))
    value = trial.at_best(metric).get(GAP)
    if value is None or validation is None or train is None:
        return None
    if min(len(validation.rows.losses), len(train.rows.losses)) < 2:
        return None
    import numpy as np

    from orchestrator.statistics.intervals import difference_interval, mean_interval

    pair = [mean_interval(np.array(each.rows.losses), np.array(each.rows.units)) for each in (validation, train)]
    found = difference_interval(*pair)
    # The report's value and that of the kept adapter may differ by rounding.
    if not math.isclose(found.value, value, rel_tol=0.02, abs_tol=1e-3) or not found.low < found.high:
        return None
    apart = value - found.value
    return MetricInterval(
        low=found.low + apart,
        high=found.high + apart,
        level=found.level,
        rows=len(validation.rows.losses),
        seed_sd=None,
        of="validation rows",
        beside=f" and {len(train.rows.losses):,} training rows",
    )


def forgetting_intervals(rows: RowMeasures, names: Iterable[str]) -> dict[str, MetricInterval]:
    """Return the interval of each metric of forgetting; none with fewer than 2 texts, or if all are equal.

    Args:
        rows: the texts, from ``forgetting.forgetting_rows``.
        names: the metrics.
    """
    import numpy as np

    from orchestrator.statistics.intervals import mean_interval

    found = {}
    for name in names:
        values, units = rows.scores.get(name, rows.losses), None if name in rows.scores else np.array(rows.units)
        if len(values) < 2:
            continue
        limits = mean_interval(np.array(values), units)
        if limits.low < limits.high:
            found[name] = MetricInterval(
                low=limits.low,
                high=limits.high,
                level=limits.level,
                rows=len(rows.units),
                seed_sd=None,
                of="general texts",
            )
    return found
