"""The table of an adapter's metrics, each with its interval or the reason why it has none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapters import AdapterCard

VALIDATION, SHIFT = "best_val_", "shift/"
_REASONS = {
    "test/": "none",
    VALIDATION: "none: it chose the trial",
    SHIFT: "none: no rows stored",
    "forgetting/": "none: no rows stored",
    "overfit_gap_at_best": "none: no rows stored",
}
"""The cell of a metric without an interval, by the beginning of its name; other metrics are no scores."""
_WHY = {
    VALIDATION: "Validation values have no interval: they chose the trial and its checkpoint, so they are optimistic.",
    SHIFT: "A shift value has no interval if an earlier version measured it, or if the search chose by its shift set.",
}


def measured(card: "AdapterCard", names: Sequence[str] | None = None) -> str:
    """Return the table of metrics. Metrics with an interval add a column and a legend.

    Args:
        card: the adapter's card.
        names: the metrics shown, in their order; None: all.
    """
    values = {name: card.metrics[name] for name in (card.metrics if names is None else names)}
    without = [name for name in values if name not in card.intervals]
    why = [text for start, text in _WHY.items() if any(name.startswith(start) for name in without)]
    if not card.intervals:
        rows = "\n".join(f"| {name} | {_number(value)} |" for name, value in values.items())
        return "\n".join([f"| metric | value |\n|---|---|\n{rows}", *(f"\n{text}" for text in why)])
    lines = ["| metric | value | 95 % interval |", "|---|---|---|"]
    lines += [f"| {name} | {_number(value)} | {_interval(card, name)} |" for name, value in values.items()]
    by_sources: dict[str, list[str]] = {}
    for name, limits in card.intervals.items():
        by_sources.setdefault(limits.sources, []).append(name)
    sources = [f"- {', '.join(names)}: {text}" for text, names in by_sources.items()]
    lines += ["", "Each interval holds:", "", *sources]
    test = "The test rows were read once and chose nothing, so their intervals need no correction."
    return "\n".join([*lines, "", " ".join([test, *why])])


def score(card: "AdapterCard", metric: str) -> str:
    """Return a metric of the card in words, with its interval if it has one."""
    limits = card.intervals.get(metric)
    shown = f"{metric} {_number(card.metrics[metric])}"
    if limits is not None:
        return f"{shown} (95 % interval {limits.low:.4f} to {limits.high:.4f})"
    why = ": it chose the trial, so it is optimistic" if metric.startswith(VALIDATION) else ""
    return f"{shown} (no interval{why})"


def _interval(card: "AdapterCard", name: str) -> str:
    limits = card.intervals.get(name)
    if limits is not None:
        return f"{limits.low:.4f} to {limits.high:.4f}"
    return next((reason for start, reason in _REASONS.items() if name.startswith(start)), "")


def _number(value: float) -> str:
    """Return four decimals, or none for whole numbers other than 0 and 1, which may be shares."""
    return f"{value:.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.4f}"
