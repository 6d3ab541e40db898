"""The kept adapters on the test rows: intervals of their metrics, and the adapters that cannot be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.methods.catalogue import takers
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.policy import PREFER, Preferred
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_measurement
from orchestrator.evaluation.scores.adapter_intervals import adapter_intervals
from orchestrator.evaluation.scores.score_intervals import MetricInterval, adapter_ties

if TYPE_CHECKING:
    from orchestrator.statistics.ties import Ties

_VALIDATION_LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
NO_CORRECTION = (
    "The trials were chosen by validation rows and the test rows are read once, so intervals need no correction"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The kept adapters against the best of them, by paired tests on the test rows.

    Attributes:
        tied: trials that cannot be told apart, the best on the test rows first; one trial: it is better than all.
        worse: trials worse than the best.
        rows: number of test rows.
        p_value: lowest p-value among the tied trials, adjusted by Holm's method; without a tie the highest one among
            the worse trials.
        preferred: the preferred trial of ``tied``; trials equal in all preferred facts: the best test value.
        reasons: the facts that decided the preference, in words.
    """

    tied: tuple[int, ...]
    worse: tuple[int, ...]
    rows: int
    p_value: float
    preferred: int
    reasons: tuple[str, ...]

    def sentence(self, winner: int | None) -> str:
        """Return the comparison in words, without a full stop.

        Args:
            winner: number of the first of these trials on the leaderboard, which ``promote`` registers; None: unknown.
        """
        place = f"on {self.rows:,} test rows"
        tests = "paired test" if len(self.tied) + len(self.worse) == 2 else "paired tests"
        if len(self.tied) == 1:
            sign = "=" if len(self.worse) == 1 else "≤"
            return f"{_trials(self.tied)} is better than {_trials(self.worse)} {place} ({tests}, p {sign} {self._p})"
        sign = "=" if len(self.tied) == 2 else "≥"
        worse = ""
        if self.worse:
            worse = f"; {_trials(self.worse)} {'is' if len(self.worse) == 1 else 'are'} worse"
        promoted = "" if winner in {None, self.preferred} else f" (promote takes trial {winner}, first by rank)"
        return (
            f"{_trials(self.tied)} cannot be told apart {place} ({tests}, p {sign} {self._p}){worse}; "
            f"trial {self.preferred} is preferred: {', then '.join(self.reasons) or 'best test value'}{promoted}"
        )

    @property
    def _p(self) -> str:
        return f"{self.p_value:.2g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAdapters:
    """The statistics of the kept adapters.

    Attributes:
        intervals: interval by metric (``test/accuracy``, ``shift/tweets/accuracy`` ...), by trial; trials without
            stored rows are missing.
        comparison: paired tests in the searched metric; None with fewer than 2 adapters or for an unknown metric.
    """

    intervals: Mapping[int, Mapping[str, MetricInterval]] = field(default_factory=dict)
    comparison: Comparison | None = None


def kept_adapters(
    sweep_dir: Path,
    records: Sequence[TrialRecord],
    metric: Metric,
    training_rows: int | None,
    prefer: Sequence[Preferred] = PREFER,
) -> KeptAdapters:
    """Return the statistics of the kept adapters from the rows stored in their trials' folders.

    Args:
        sweep_dir: folder of the sweep.
        records: the trials, in any order.
        metric: the searched metric.
        training_rows: number of the sweep's training rows; None: unknown.
        prefer: what is preferred among adapters that cannot be told apart, the most important first.
    """
    measured = {
        record.number: measurement
        for record in of_the_search(records)
        if (measurement := kept_measurement(sweep_dir, record, metric)) is not None
    }
    by_number = {record.number: record for record in records}
    intervals = {}
    for number in measured:
        trial = by_number[number]
        intervals[number] = adapter_intervals(sweep_dir, trial, metric, trial.training_rows(training_rows))
    name = metric.name.rpartition("/")[2]
    comparable = {number: found.rows for number, found in measured.items() if f"test/{name}" in intervals[number]}
    within = {number for number in comparable if by_number[number].violation(metric, newest=True) == 0}
    if within:  # an adapter outside the constraints is not preferred, however good it is
        comparable = {number: rows for number, rows in comparable.items() if number in within}
    ties = adapter_ties(name, comparable, metric.direction)
    return KeptAdapters(
        intervals=intervals, comparison=None if ties is None else _comparison(ties, by_number, metric, prefer)
    )


def comparison_json(comparison: Comparison | None, winner: int | None) -> dict[str, Any] | None:
    """Return a comparison as plain values with its sentence, or None."""
    return None if comparison is None else {**asdict(comparison), "sentence": comparison.sentence(winner)}


def _comparison(
    ties: "Ties", records: Mapping[int, TrialRecord], metric: Metric, prefer: Sequence[Preferred]
) -> Comparison:
    from orchestrator.statistics.ties import Preference
    from orchestrator.statistics.ties import prefer as preferred_trial

    facts = _facts([records[number] for number in ties.members], metric)
    chosen = preferred_trial(ties, facts, [Preference(name=each) for each in prefer])
    lowest = ties.p_value
    return Comparison(
        tied=ties.members,
        worse=tuple(each.trial for each in ties.worse),
        rows=ties.rows or 0,
        p_value=max(each.p_value for each in ties.worse) if lowest is None else lowest,
        preferred=chosen.trial,
        reasons=tuple(_reason(Preferred(reason.name), reason.value) for reason in chosen.reasons),
    )


def _facts(members: Sequence[TrialRecord], metric: Metric) -> dict[int, dict[str, float]]:
    """Return the facts of each trial by the name of the preference; unknown ones are missing."""
    methods = {record.settings.method for record in members}
    ranked = len(methods) == 1 and methods <= {*takers("rank")}  # ranks of different methods are not comparable
    found: dict[int, dict[str, float]] = {}
    for record in members:
        best, at_best = record.best(metric), record.at_best(metric)
        values = {
            Preferred.RANK: float(record.settings.rank) if ranked else None,
            Preferred.GAP: at_best.get("gap/loss"),
            Preferred.LOSS: record.score(_VALIDATION_LOSS),
            Preferred.SAMPLES: None if best is None else float(best.nominal_samples),
        }
        found[record.number] = {str(name): value for name, value in values.items() if value is not None}
    return found


def _reason(preferred: Preferred, value: float) -> str:
    return {
        Preferred.RANK: f"smallest rank ({value:.0f})",
        Preferred.GAP: "smallest overfit gap",
        Preferred.LOSS: f"lowest validation loss ({value:.4f})",
        Preferred.SAMPLES: f"fewest samples ({value:,.0f})",
    }[preferred]


def _trials(numbers: Sequence[int]) -> str:
    """Return ``trial 3``, or ``trials 0, 17 and 15``."""
    *first, last = map(str, numbers)
    return f"trials {', '.join(first)} and {last}" if first else f"trial {last}"
