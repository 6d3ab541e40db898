"""A warning about generated answers that the time limit ended."""

from collections.abc import Mapping, Sequence

from orchestrator.core.tasks.generation import UNFINISHED_ANSWERS
from orchestrator.core.trials.trial import TrialRecord


def unfinished_answers(records: Sequence[TrialRecord], baseline: Mapping[str, float] | None) -> tuple[str, ...]:
    """Return a sentence that names the trials with unfinished answers; nothing without any.

    Args:
        records: the trials, in any order.
        baseline: metrics of the baseline, the untuned model; None without one.
    """
    counts = {
        f"trial {record.number}": max(
            (_most(metrics) for metrics in (*(each.metrics for each in record.reports), record.final)), default=0
        )
        for record in sorted(records, key=lambda record: record.number)
    }
    counts["the baseline"] = _most(baseline or {})
    found = [name for name, count in counts.items() if count]
    if not found:
        return ()
    named = ", ".join(found[:10]) + (f" and {len(found) - 10} others" if len(found) > 10 else "")
    sentence = (
        f"generation.time_limit ended answers of {named}: up to {max(counts.values()):,} rows of a measurement. They "
        "count as empty answers, so the metrics of answers are too low there, and a faster machine gives others. Raise "
        "generation.time_limit, or lower generation.rows and generation.test_rows in a new sweep"
    )
    return (sentence,)


def _most(metrics: Mapping[str, float]) -> int:
    """Return the largest number of unfinished answers in one measurement."""
    return int(max((value for name, value in metrics.items() if name.endswith(f"/{UNFINISHED_ANSWERS}")), default=0))
