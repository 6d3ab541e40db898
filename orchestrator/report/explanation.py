"""The findings of a sweep in plain words. ``explain`` and the report page show them."""

from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialState
from orchestrator.report import words
from orchestrator.report.advice import advice
from orchestrator.report.bounds import BEST, bound_findings, touched_bounds
from orchestrator.report.findings import Finding, Rule, unknown
from orchestrator.report.summary import Summary
from orchestrator.report.training_length import training_length
from orchestrator.spec.fingerprint import stored_space

_SHOWN = 3
"""Number of parameters named with their importance."""
_TRIALS_PER_PARAMETER = 10
"""Fewer trials per parameter make importances rough."""


def explain(summary: Summary) -> tuple[Finding, ...]:
    """Return the findings of a sweep, in the order of the page. Each topic has at least one."""
    board = summary.leaderboard
    scored = [row.params for row in board.rows if row.rank is not None]
    space, length = stored_space(summary.sweep.fingerprint), training_length(summary)
    touched = touched_bounds(space, scored)
    found = [
        _end(summary),
        _baseline(summary),
        _first_guess(summary),
        _importance(summary),
        _ties(summary),
        *_fresh_seeds(summary),
        length.finding,
        *bound_findings(space, len(scored), touched),
    ]
    return (*found, *advice(summary, length, touched))


def _end(summary: Summary) -> Finding:
    sweep, states = summary.sweep, summary.states
    trials = sum(states.values())
    numbers = {"trials": float(trials), **{state.value: float(count) for state, count in states.items()}}
    if sweep.status is SweepStatus.RUNNING:
        sentence = f"The sweep is still running, with {trials} trials so far."
        return Finding(rule=Rule.END, sentence=sentence, numbers=numbers)
    reason = sweep.facts.end_reason
    if not reason:
        return unknown(Rule.END, f"no reason for the end is stored. The sweep has {trials} trials.", **numbers)
    if sweep.status is SweepStatus.INTERRUPTED:
        sentence = f"The sweep was interrupted after {trials} trials: {reason}. The same command resumes it."
        return Finding(rule=Rule.END, sentence=sentence, numbers=numbers)
    early = states.get(TrialState.PRUNED, 0)
    stopped = f"{early} of {trials} trials were stopped early" if early else "no trial was stopped early"
    unfinished = states.get(TrialState.RUNNING, 0)
    suspended = f", {unfinished} unfinished. A larger budget continues them" if unfinished else ""
    sentence = f"The search ended because {reason}; {stopped}{suspended}."
    return Finding(rule=Rule.END, sentence=sentence, numbers=numbers)


def _baseline(summary: Summary) -> Finding:
    board = summary.leaderboard
    value, best = (board.baseline or {}).get(board.metric.name), board.best
    if value is None or best is None or best.score is None:
        missing = "the sweep has no baseline" if value is None else "no trial has a score"
        return unknown(Rule.BASELINE, f"{missing}, so fine-tuning has no simple model to compare with.")
    numbers = {"trial": best.number, "score": best.score, "baseline": value}
    sentence = board.baseline_warning or (
        f"Trial {best.number} beats the baseline on {board.metric.name}: {words.number(best.score)} to "
        f"{words.number(value)}."
    )
    return Finding(rule=Rule.BASELINE, sentence=sentence, numbers=numbers)


def _first_guess(summary: Summary) -> Finding:
    """Return whether the search beat its start points, and whether the gain exceeds the noise of one configuration."""
    from orchestrator.search.gain import fluctuation

    gain = summary.search_gain
    if gain is None:
        if not summary.sweep.facts.start_points:
            missing = "the sweep has no start points (search.start or search.prior), so it has no first guess to beat."
        elif summary.sweep.status is not SweepStatus.FINISHED:
            missing = "the sweep has not finished, so a later trial may still beat the start points."
        else:
            missing = "the start points or the proposals have no score, or none within the constraints."
        return unknown(Rule.FIRST_GUESS, missing)
    noise = fluctuation(of_the_search(summary.records), summary.leaderboard.metric)
    numbers = {"start": gain.start_value, "best": gain.value, "difference": gain.difference, "noise": noise}
    sentence = f"{gain.sentence}."
    if gain.improved and noise == 0:
        sentence += " Complete trials have too few reports to show the noise of one configuration: it may be chance."
    elif gain.improved:
        compared = "less than twice" if gain.difference < 2 * noise else "at least twice"
        chance = ": it may be chance" if gain.difference < 2 * noise else ""
        sentence += (
            f" Late reports of one configuration vary by {noise:.2g} (standard deviation); the gain is {compared} "
            f"this noise{chance}."
        )
    return Finding(rule=Rule.FIRST_GUESS, sentence=sentence, numbers=numbers)


def _importance(summary: Summary) -> Finding:
    importances, board = summary.importances, summary.leaderboard
    ordered = sorted(importances.values.items(), key=lambda item: -item[1])
    if not ordered:
        return unknown(Rule.IMPORTANCE, f"{importances.note or 'no importances are computed'}.")
    parts = [f"{name} {words.percent(share)}" for name, share in ordered[:_SHOWN]]
    compared = f" ({importances.note})" if importances.note else ""
    sentence = f"Share of the variance of {board.metric.name} explained: {', '.join(parts)}{compared}."
    first = ordered[0][0]
    values = [words.param(row.params[first]) for row in board.rows[:BEST] if row.rank and first in row.params]
    if values:
        sentence += f" {first} of the best {len(values)} trials: {', '.join(values)}."
    trials = importances.trials
    if trials is not None and trials < _TRIALS_PER_PARAMETER * len(ordered):
        sentence += f" {trials} trials for {len(ordered)} parameters are few, so the shares are rough."
    numbers = dict(ordered) | ({} if trials is None else {"trials": float(trials)})
    return Finding(rule=Rule.IMPORTANCE, sentence=sentence, numbers=numbers)


def _ties(summary: Summary) -> Finding:
    comparison, note = summary.leaderboard.comparison, summary.leaderboard.comparison_note
    if comparison is None or note is None:
        missing = "fewer than two kept adapters have results for each test row, so no paired test compares them."
        return unknown(Rule.TIES, missing)
    numbers = {"tied": len(comparison.tied), "rows": comparison.rows, "p_value": comparison.p_value}
    return Finding(rule=Rule.TIES, sentence=f"Kept adapters: {note}.", numbers=numbers)


def _fresh_seeds(summary: Summary) -> list[Finding]:
    metric = summary.leaderboard.metric
    if not summary.confirmation:
        missing = "no configuration was trained again with fresh seeds, so the winner's value may owe much to its seed."
        why = summary.sweep.facts.confirmation
        return [unknown(Rule.FRESH_SEEDS, missing if why is None else f"{missing} {_sentence(why)}")]
    found = []
    for score in summary.confirmation:
        numbers = {"trainings": float(len(score.trainings)), "failed": float(score.failed)}
        sentence = f"Confirmed: {score.sentence}."
        if score.searched is not None and score.mean is not None:
            numbers |= {"searched": score.searched, "mean": score.mean}
            if metric.better(score.searched, score.mean):
                lucky = abs(score.searched - score.mean)
                sentence += f" The search's value is better by {lucky:.4f}: it was chosen as the best of many."
        found.append(Finding(rule=Rule.FRESH_SEEDS, sentence=sentence, numbers=numbers))
    if (why := summary.sweep.facts.confirmation) is not None:
        found.append(Finding(rule=Rule.FRESH_SEEDS, sentence=_sentence(why)))
    return found


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
