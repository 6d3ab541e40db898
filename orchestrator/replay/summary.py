"""The figures of a replay: trials stopped by the rule, the winner, and its regret against the table's best."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.space import ParamValue
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.replay.replay import Replayed
from orchestrator.replay.table import TrialTable


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplaySummary:
    """One replay in figures.

    Attributes:
        seed: the search's seed.
        trials: number of trials.
        stopped: numbers of the trials stopped by the rule, by their last report point.
        unknown: numbers of the trials continued beyond their record, by their last recorded report point.
        samples: training samples of all trials.
        seconds: simulated duration of the search.
        winner: the winner's number; None without any score.
        params: the winner's configuration.
        score: the winner's searched metric.
        regret_metric: the metric of ``regret``: on the test split if it was recorded for every trial.
        regret: the difference between the best configuration of the table and the winner's, at least 0. Each counts
            with the mean of its replicates at their best recorded checkpoints.
        reason: why the search ended.
    """

    seed: int
    trials: int
    stopped: Mapping[int, tuple[int, ...]]
    unknown: Mapping[int, tuple[int, ...]]
    samples: int
    seconds: float
    winner: int | None
    params: Mapping[str, ParamValue]
    score: float | None
    regret_metric: str
    regret: float | None
    reason: str


def summarise_replay(result: Replayed, table: TrialTable, seed: int) -> ReplaySummary:
    """Return the figures of one replay."""
    winner = result.winner
    metric, values = configuration_values(table)
    best = min(values.values(), key=table.metric.sort_key, default=None)
    own = None if winner is None else values.get(result.recorded[winner.number].configuration)
    return ReplaySummary(
        seed=seed,
        trials=len(result.records),
        stopped=_by_samples(result.stopped),
        unknown=_by_samples(tuple(result.records[number] for number in result.unknown)),
        samples=result.samples,
        seconds=result.seconds,
        winner=None if winner is None else winner.number,
        params={} if winner is None else winner.params,
        score=None if winner is None else winner.score(result.metric),
        regret_metric=metric,
        regret=None if best is None or own is None else abs(best - own),
        reason=result.reason,
    )


def configuration_values(table: TrialTable) -> tuple[str, dict[frozenset[tuple[str, ParamValue]], float]]:
    """Return a metric's name, and the mean of the replicates of every configuration by its parameters.

    The metric is the searched one, on the test split if every trial that did not fail has it. Configurations without a
    value are left out.
    """
    kind = table.metric.name.rpartition("/")[2]
    tested = all(kind in trial.test for trial in table.trials if trial.state is not TrialState.FAIL)
    values: dict[frozenset[tuple[str, ParamValue]], float] = {}
    for group in table.configurations():
        measured = [trial.test.get(kind) if tested else trial.score(table.metric) for trial in group]
        found = [value for value in measured if value is not None]
        if found:
            values[group[0].configuration] = sum(found) / len(found)
    return f"test/{kind}" if tested else table.metric.name, values


def _by_samples(records: tuple[TrialRecord, ...]) -> dict[int, tuple[int, ...]]:
    by_samples: dict[int, list[int]] = {}
    for record in sorted(records, key=lambda record: (record.samples, record.number)):
        by_samples.setdefault(record.samples, []).append(record.number)
    return {samples: tuple(numbers) for samples, numbers in by_samples.items()}
