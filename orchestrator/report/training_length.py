"""Whether the trials of a sweep trained long enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.trials.trial import LIMIT, TrialState
from orchestrator.report import words
from orchestrator.report.findings import Finding, Rule, unknown
from orchestrator.report.leaderboard import STILL_FALLING, Row, last_fall
from orchestrator.report.summary import Summary
from orchestrator.spec.trial_length import MIN_STEPS

_BEST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingLength:
    """The ends of the best complete trials.

    Attributes:
        trials: the best complete trials, at most three, the best first.
        falls: fall of the validation loss between the last two reports, as a fraction, by trial with two reports; 0 if
            an earlier loss was lower.
        of_function: whether the trials trained a function of the user: its optimizer steps are unknown.
    """

    trials: tuple[Row, ...]
    falls: Mapping[int, float]
    of_function: bool = False

    @property
    def falling(self) -> Mapping[int, float]:
        """The falls of the trials that still improved at their end."""
        return {number: fall for number, fall in self.falls.items() if fall > STILL_FALLING}

    @property
    def steps(self) -> int:
        """Most optimizer steps of the trials."""
        return max((row.steps for row in self.trials), default=0)

    @property
    def is_short(self) -> bool:
        """Whether longer training may help: trials still improved, or had few steps and the best no earlier peak."""
        return bool(self.falling) or (bool(self.falls) and self._has_few_steps and not self._best_peaked)

    @property
    def _has_few_steps(self) -> bool:
        return not self.of_function and self.steps < MIN_STEPS

    @property
    def _best_peaked(self) -> bool:
        """Whether the best checkpoint of the best trial is not its last one."""
        best = self.trials[0]
        return best.samples is not None and best.samples < best.trained

    @property
    def finding(self) -> Finding:
        """Whether the trials were too short, still improved at their end, or trained long enough."""
        if not self.trials:
            return unknown(Rule.LENGTH, "no trial reached its end, so the length of training has no evidence.")
        count, steps = len(self.trials), self.steps
        if not self.falls:
            missing = "the complete trials have fewer than two reports with val/loss."
            return unknown(Rule.LENGTH, missing, trials=count)
        numbers = {"trials": float(count), "falling": float(len(self.falling))}
        numbers |= {} if self.of_function else {"steps": float(steps)}
        few = f"{steps:,} optimizer steps are fewer than the {MIN_STEPS} that a new adapter needs."
        if self.falling:
            number, fall = max(self.falling.items(), key=lambda item: item[1])
            sentence = (
                f"{len(self.falling)} of the best {count} complete trials still improved at their end: val/loss of "
                f"trial {number} fell by {100 * fall:.1f} % between its last two reports."
            )
            sentence += f" Trials were too short to tell: {few}" if self._has_few_steps else ""
            return Finding(rule=Rule.LENGTH, sentence=sentence, numbers={**numbers, "fall": fall})
        if self.is_short:
            return Finding(rule=Rule.LENGTH, sentence=f"Trials were too short to tell: {few}", numbers=numbers)
        best = self.trials[0]
        sentence = (
            f"Trials were long enough: val/loss of none of the best {count} complete trials was at its lowest at the "
            f"end and still falling by more than {words.percent(STILL_FALLING)} a report. The best checkpoint of trial "
            f"{best.number} is at {words.count(best.samples)} of {best.trained:,} samples."
        )
        numbers |= {"samples_at_best": float(best.samples or 0), "samples": float(best.trained)}
        return Finding(rule=Rule.LENGTH, sentence=sentence, numbers=numbers)


def training_length(summary: Summary) -> TrainingLength:
    """Return the ends of the best complete trials of a sweep; longer training does not help one ended by a limit."""
    records = {record.number: record for record in summary.records}
    complete = [
        row
        for row in summary.leaderboard.rows
        if row.rank is not None and row.state is TrialState.COMPLETE and not (row.reason or "").startswith(LIMIT)
    ]
    best = tuple(complete[:_BEST])
    falls = {}
    for row in best:
        record = records[row.number]
        losses = [report.metrics["val/loss"] for report in record.reports if "val/loss" in report.metrics]
        fall = last_fall(record)
        if fall is not None:
            falls[row.number] = fall if losses[-1] <= min(losses) else 0.0
    of_function = any(records[row.number].settings.values for row in best)
    return TrainingLength(trials=best, falls=falls, of_function=of_function)
