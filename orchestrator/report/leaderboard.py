"""The leaderboard: trials ranked by their best checkpoint, as plain values. Knows nothing of files or screens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.configurations import ConfigurationSet
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.ranking import result_key
from orchestrator.core.space import ParamValue
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.core.trial import TrialRecord, TrialState

_FEW_SAMPLES = 2000
"""Training samples below which a trial says little about what fine-tuning can do."""
_LARGER_SPLITS = "Compare them on more rows (data.validation, data.test) before you choose."


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One trial, measured at its best checkpoint; None where nothing was measured.

    Attributes:
        rank: place from 1; None if no value of the searched metric is a number.
        score: best value of the searched metric, the newest that was measured.
        searched: what the search went by; another number if a kept adapter was measured in another number format.
        val_loss: validation loss there, in nats.
        gap: validation loss less train loss there, in nats.
        samples: nominal training samples seen there.
        trained: nominal training samples seen in all.
        final: metrics measured once the trial had ended (``shift/<set>/<metric>``, ``test/<metric>``).
        params: what the space proposed for it.
    """

    number: int
    rank: int | None
    state: TrialState
    reason: str | None
    score: float | None
    searched: float | None
    val_loss: float | None
    gap: float | None
    samples: int | None
    trained: int
    final: Mapping[str, float]
    params: Mapping[str, ParamValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaderboard:
    """Trials, the best first, and the classical baseline on the same rows.

    Attributes:
        varied: names of the parameters that differ between trials, in the space's order.
        baseline: the baseline's metrics by name (``val/accuracy``, ``test/accuracy`` ...); None if there is none.
        status: the sweep's; it says whether trials that have not ended run or are suspended.
    """

    metric: Metric
    rows: tuple[Row, ...]
    varied: tuple[str, ...]
    baseline: Mapping[str, float] | None = None
    status: SweepStatus = SweepStatus.RUNNING

    @property
    def best(self) -> Row | None:
        """The winner; None as long as nobody has a score."""
        return self.rows[0] if self.rows and self.rows[0].rank == 1 else None

    @property
    def measured_again(self) -> str | None:
        """Why rows and what was reported on the way differ, in words; None if they do not."""
        again = [
            f"{row.searched:.4f} for trial {row.number}"
            for row in self.rows
            if row.searched is not None and row.score is not None and round(row.searched - row.score, 4)
        ]
        if not again:
            return None
        return f"Kept adapters were measured again in float32; the search went by {', '.join(again)}"

    @property
    def below_baseline(self) -> bool:
        """Whether the winner is worse than the baseline on validation, so that no trial is promoted unless forced."""
        value, best = (self.baseline or {}).get(self.metric.name), self.best
        return best is not None and self._is_better(value, best.score)

    @property
    def beaten(self) -> str | None:
        """That the baseline is as good as the winner on validation or on test, and what to try; None if it is not."""
        name, best = self.metric.name, self.best
        value = (self.baseline or {}).get(name)
        if value is None or best is None or best.score is None:
            return None
        test = f"test/{name.rpartition('/')[2]}"
        tested, other = best.final.get(test), (self.baseline or {}).get(test)
        both = None if tested is None or other is None else f"{tested:.4f} to {other:.4f}"
        ahead_on_test = both is not None and self._is_better(tested, other)
        if self._is_better(best.score, value):
            if both is None or ahead_on_test:
                return None
            return (
                f"Trial {best.number} is better than the baseline on {name} and not on {test} ({both}): the gain may "
                f"be chance. {_LARGER_SPLITS}"
            )
        seen = f"No trial is better than the baseline on {name} ({best.score:.4f} to {value:.4f})"
        if ahead_on_test:
            return f"{seen}, but trial {best.number} is on {test} ({both}): the two are close. {_LARGER_SPLITS}"
        return f"{seen}. {self._advice(best)}"

    def _is_better(self, value: float | None, other: float | None) -> bool:
        return self.metric.sort_key(value) < self.metric.sort_key(other)

    def _advice(self, best: Row) -> str:
        """Return what to try where the baseline is ahead, by how long trials were trained."""
        longest = max(row.trained for row in self.rows)
        if longest < _FEW_SAMPLES:
            return (
                f"Trials were trained on at most {longest:,} samples, which may be too few to tell: raise "
                "training.epochs, or add training rows."
            )
        if best.samples == best.trained:
            return (
                f"Trial {best.number} was still best at its last report, after {best.trained:,} samples: longer "
                "trials (training.epochs) may do better."
            )
        return (
            f"Fine-tuning did not pay here, with trials of up to {longest:,} samples: try more training rows, another "
            "base model or a wider search.space, or use the baseline."
        )

    @property
    def extra(self) -> tuple[str, ...]:
        """The final metrics of the searched kind that any row has: ``test/accuracy``, ``shift/tweets/accuracy`` ..."""
        kind = self.metric.name.rpartition("/")[2]
        found = {name for row in self.rows for name in row.final if name.rpartition("/")[2] == kind}
        return tuple(sorted(found, key=lambda name: (not name.startswith("test/"), name)))


def metric_of(sweep: SweepRecord) -> Metric:
    """Return the searched metric, as the sweep's facts or its fingerprint hold it."""
    if sweep.facts.metric is not None:
        return sweep.facts.metric
    stored = sweep.fingerprint["metric"]
    return Metric(name=stored["name"], direction=Direction(stored["direction"]))


def leaderboard(
    records: Sequence[TrialRecord],
    metric: Metric,
    baseline: Mapping[str, float] | None = None,
    status: SweepStatus = SweepStatus.RUNNING,
) -> Leaderboard:
    """Rank trials by the best value that they reached, whatever their ending; those without a number come last."""
    ordered = sorted(records, key=result_key(metric))
    rows = tuple(_row(record, metric, place) for place, record in enumerate(ordered, start=1))
    varied = ConfigurationSet(record.params for record in records).varied
    return Leaderboard(metric=metric, rows=rows, varied=varied, baseline=baseline or None, status=status)


def _row(record: TrialRecord, metric: Metric, place: int) -> Row:
    best, at_best = record.best(metric), record.at_best(metric)
    return Row(
        number=record.number,
        rank=None if best is None else place,
        state=record.state,
        reason=record.reason,
        score=at_best.get(metric.name),
        searched=record.score(metric),
        val_loss=at_best.get("val/loss"),
        gap=at_best.get("gap/loss"),
        samples=None if best is None else best.nominal_samples,
        trained=record.samples,
        final=record.measured_last,
        params=record.params,
    )
