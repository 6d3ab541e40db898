"""The learning curve over training rows in words."""

from dataclasses import asdict

from orchestrator.evaluation.scores.learning_curve import FARTHEST, Gain, LearningCurve, MoreRows, RowsNeeded
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
    """Return whether more rows would help and how many, with the numbers behind it, without a full stop."""
    found = curve.forecasts
    if found.missing is not None or not found.gains:
        return f"whether more rows would help cannot be told: {found.missing}"
    twice, more = found.gains
    noise = f"95 % intervals: {curve.test_rows:,} test rows, seeds and choice of rows"
    if found.answer is MoreRows.HELP:
        text = (
            f"more rows would help: twice the rows ({twice.rows:,}) improve {curve.metric} by about {_gain(twice)}, "
            f"{more.rows:,} rows by about {_gain(more)} ({noise})"
        )
    elif found.answer is MoreRows.HARDLY:
        text = (
            f"more rows would hardly help: twice the rows ({twice.rows:,}) improve {curve.metric} by at most "
            f"{twice.high:.3f} ({noise})"
        )
    else:
        text = (
            f"whether more rows would help cannot be told: twice the rows ({twice.rows:,}) may change {curve.metric} "
            f"by {twice.low:+.3f} to {twice.high:+.3f} ({noise}). More test rows, or a larger learning_curve, narrow "
            "this"
        )
    return text if found.needed is None else f"{text}; {_needed(found.needed)}"


def _needed(needed: RowsNeeded) -> str:
    """Return how many rows an improvement needs, or that the curve does not tell it."""
    gain = f"an improvement by {needed.gain:g}"
    if needed.low is None:
        return f"{gain} needs more than {FARTHEST:g} times the rows, if any number gives it"
    if needed.rows is None or needed.high is None:
        return f"how many rows give {gain} cannot be told: at least {needed.low:,} training rows"
    return f"{gain} needs about {needed.rows:,} training rows [{needed.low:,}, {needed.high:,}]"


def _gain(gain: Gain) -> str:
    return f"{gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]"


def learning_curve_json(curve: LearningCurve) -> dict[str, object]:
    """Return the curve and its forecasts as plain values of one level, with their sentences."""
    values = asdict(curve)
    forecasts = values.pop("forecasts")
    return {**values, **forecasts, "sentence": f"{points_text(curve)}; {answer_text(curve)}"}
