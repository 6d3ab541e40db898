"""Advice for the next sweep. Each piece of advice has the numbers behind it."""

from collections.abc import Sequence

from orchestrator.core.methods.catalogue import LORA, takers
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import OVERFITTING, TrialState
from orchestrator.evaluation.scores.learning_curve import MoreRows
from orchestrator.report import words
from orchestrator.report.bounds import TouchedBound
from orchestrator.report.findings import Finding, Rule, unknown
from orchestrator.report.leaderboard import Row
from orchestrator.report.learning_curve import answer_text, points_text
from orchestrator.report.summary import Summary
from orchestrator.report.training_length import TrainingLength

FEWEST_TRIALS = 8
"""Fewest trials of the search for advice on more trials."""
_LATE = 0.25
"""A winner among this last fraction of the trials shows that further trials may help."""
_LARGE_GAP = 0.25
"""Overfit gap, as a fraction of the validation loss, from which more training rows may help."""
_SMALL_GAP = 0.05
"""Overfit gap, as a fraction of the validation loss, below which the winner fits all rows equally well."""
_MANY_EXITS = 0.25
"""Fraction of the complete trials ended by the overfitting exit, from which more training rows may help."""


def advice(summary: Summary, length: TrainingLength, touched: Sequence[TouchedBound]) -> tuple[Finding, ...]:
    """Return the advice on trials, rows, training length, base model and ranges.

    Advice on trials and rows is always present, also against them. The other kinds are present if a number supports
    them. If the winner is as good as the suspected label errors allow, the last three would raise no score.

    Args:
        summary: the sweep.
        length: the ends of the best complete trials.
        touched: the touched bounds of the space.
    """
    best = summary.leaderboard.best
    if best is None:
        return (unknown(Rule.MORE_TRIALS, "no trial has a score, so no rule applies."),)
    found = [_more_trials(summary), _more_rows(summary, best)]
    if (labels := summary.leaderboard.label_advice) is not None:
        numbers = {"score": best.score or 0.0, "limit": summary.leaderboard.label_limit or 0.0}
        return (*found, Finding(rule=Rule.LABELS, sentence=labels, numbers=numbers))
    if length.is_short:
        found.append(_longer_training(length))
    if touched:
        found.append(_wider_ranges(touched))
    model = None if touched or length.is_short or not length.falls else _larger_model(best)
    return tuple(found if model is None else [*found, model])


def _more_trials(summary: Summary) -> Finding:
    """Return whether the best trial of the search came late among the trials."""
    board = summary.leaderboard
    rows = sorted(board.rows, key=lambda row: row.number)
    winner = min(sorted(board.within, key=lambda row: row.number), key=lambda row: board.metric.sort_key(row.searched))
    later, trials = sum(row.number > winner.number for row in rows), len(rows)
    numbers = {"trials": trials, "winner": winner.number, "later": later}
    if board.unfinished and board.status is SweepStatus.FINISHED:
        sentence = (
            f"Continue the search: {board.unfinished} of {trials} trials are unfinished, because "
            f"{summary.sweep.facts.end_reason}. Raise this limit in section budget and repeat the sweep command."
        )
        return Finding(rule=Rule.MORE_TRIALS, sentence=sentence, numbers=numbers | {"unfinished": board.unfinished})
    if trials < FEWEST_TRIALS:
        missing = f"{trials} trials are too few to tell whether more would help ({FEWEST_TRIALS} needed)."
        return unknown(Rule.MORE_TRIALS, missing, **numbers)
    if later < _LATE * trials:
        after = f"only {later} of {trials} trials came after trial {winner.number}, the best of the search"
        sentence = f"More trials may help: {after}."
    else:
        after = f"none of the {later} trials after trial {winner.number} was better"
        sentence = f"More trials: no sign of a gain; {after}."
    return Finding(rule=Rule.MORE_TRIALS, sentence=sentence, numbers=numbers)


def _more_rows(summary: Summary, best: Row) -> Finding:
    """Return what the learning curve says of more rows; without one, what the overfit gap suggests."""
    if (curve := summary.learning_curve) is not None:
        numbers = {f"rows_{point.rows}": point.mean for point in curve.points}
        numbers |= {f"gain_{gain.rows}": gain.value for gain in curve.forecasts.gains}
        sentence = f"Training rows: {answer_text(curve)}. Measured: {points_text(curve)}."
        known = curve.forecasts.answer is not MoreRows.UNKNOWN
        return Finding(rule=Rule.MORE_ROWS, sentence=sentence, numbers=numbers, known=known)
    complete = [row for row in summary.leaderboard.rows if row.state is TrialState.COMPLETE]
    exits = sum((row.reason or "").startswith(OVERFITTING) for row in complete)
    share = _gap_share(best)
    numbers = {"complete": float(len(complete)), "overfitting": float(exits)}
    if share is None:
        missing = "the winner has no overfit gap, so the need for more training rows is unknown."
        return unknown(Rule.MORE_ROWS, missing, **numbers)
    numbers["gap_share"] = share
    gap = f"the winner's overfit gap {words.signed(best.gap)} is {words.percent(share)} of its validation loss"
    ended = f", and {exits} of {len(complete)} complete trials were ended by overfitting" if complete else ""
    if share >= _LARGE_GAP or (complete and exits >= _MANY_EXITS * len(complete)):
        sentence = f"More training rows may help: {gap}{ended}."
    else:
        sentence = f"More training rows: no sign of a gain; {gap}{ended}."
    return Finding(rule=Rule.MORE_ROWS, sentence=sentence, numbers=numbers)


def _longer_training(length: TrainingLength) -> Finding:
    falling, trials, steps = len(length.falling), len(length.trials), length.steps
    numbers = {"falling": float(falling), "trials": float(trials)}
    sentence = f"Longer training may help: {falling} of the best {trials} complete trials still improved at their end"
    if length.of_function:
        sentence += ". Raise function.samples."
    else:
        sentence += f", after {steps:,} optimizer steps. Raise training.epochs, or remove it: the epochs then follow "
        sentence += "from the data."
        numbers["steps"] = float(steps)
    return Finding(rule=Rule.LONGER_TRAINING, sentence=sentence, numbers=numbers)


def _larger_model(best: Row) -> Finding | None:
    share = _gap_share(best)
    if share is None or best.val_loss is None or best.gap is None or abs(share) >= _SMALL_GAP:
        return None
    train = best.val_loss - best.gap
    rank = " or a higher rank" if best.params.get("method", LORA) in takers("rank") else ""
    sentence = (
        f"A larger base model{rank} may help: the winner fits training rows (loss {words.number(train, 3)}) "
        f"no better than validation rows ({words.number(best.val_loss, 3)}), and it no longer improved."
    )
    numbers = {"train_loss": train, "val_loss": best.val_loss}
    return Finding(rule=Rule.LARGER_MODEL, sentence=sentence, numbers=numbers)


def _wider_ranges(touched: Sequence[TouchedBound]) -> Finding:
    bounds = [
        f"{bound.name} {'above' if bound.side == 'upper' else 'below'} {words.param(bound.bound)}" for bound in touched
    ]
    sentence = f"Wider ranges may help: {', '.join(bounds)}."
    return Finding(rule=Rule.WIDER_RANGES, sentence=sentence, numbers={"bounds": len(touched)})


def _gap_share(row: Row) -> float | None:
    """Return the overfit gap as a fraction of the validation loss; None without both."""
    if row.gap is None or row.val_loss is None or row.val_loss <= 0:
        return None
    return row.gap / row.val_loss
