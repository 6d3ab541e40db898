"""The learning curve over training rows in words."""

from dataclasses import asdict

from orchestrator.evaluation.learning_curve import Gain, LearningCurve, MoreRows
from orchestrator.report import words


def points_text(curve: LearningCurve) -> str:
    """Return the values by share of the rows, without a full stop."""
    shares = ", ".join(f"{100 * point.share:g} %" for point in curve.points)
    values = ", ".join(words.number(point.mean, 3) for point in curve.points)
    rows = curve.points[-1].rows
    seeds = len(curve.points[-1].values)
    return (
        f"trial {curve.trial}'s configuration on {shares} of {rows:,} training rows: {curve.metric} {values} "
        f"(means over {seeds} trainings)"
    )


def answer_text(curve: LearningCurve) -> str:
    """Return whether more rows would help, with the numbers behind it, without a full stop."""
    if curve.missing is not None or not curve.gains:
        return f"whether more rows would help cannot be told: {curve.missing}"
    twice, more = curve.gains
    noise = f"95 % intervals: {curve.test_rows:,} test rows, seeds and choice of rows"
    if curve.answer is MoreRows.HELP:
        return (
            f"more rows would help: twice the rows ({twice.rows:,}) improve {curve.metric} by about {_gain(twice)}, "
            f"{more.rows:,} rows by about {_gain(more)} ({noise})"
        )
    if curve.answer is MoreRows.HARDLY:
        return (
            f"more rows would hardly help: twice the rows ({twice.rows:,}) improve {curve.metric} by at most "
            f"{twice.high:.3f} ({noise})"
        )
    return (
        f"whether more rows would help cannot be told: twice the rows ({twice.rows:,}) may change {curve.metric} by "
        f"{twice.low:+.3f} to {twice.high:+.3f} ({noise}). More test rows, or a larger learning_curve, narrow this"
    )


def _gain(gain: Gain) -> str:
    return f"{gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]"


def learning_curve_json(curve: LearningCurve) -> dict[str, object]:
    """Return the curve as plain values, with its sentences."""
    return {**asdict(curve), "sentence": f"{points_text(curve)}; {answer_text(curve)}"}
