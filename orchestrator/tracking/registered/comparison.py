"""Comparison of two adapters by their cards: parameters, metrics, data. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.space import ParamValue
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.tracking.logged_models.adapters import AdapterCard


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricDifference:
    """One metric of two adapters.

    Attributes:
        a, b: the values; None: not measured.
        interval_a, interval_b: their 95 % intervals; None: unknown.
        difference: b − a; None if a value is missing.
        same_rows: whether both were measured on the same rows; None: unknown.
    """

    metric: str
    a: float | None
    b: float | None
    interval_a: MetricInterval | None
    interval_b: MetricInterval | None
    difference: float | None
    same_rows: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The differences of two adapters.

    Attributes:
        params: the values in a and b of each parameter with different values; None: not searched.
        metrics: every metric of either one.
        notes: one sentence for each other difference.
    """

    params: Mapping[str, tuple[ParamValue, ParamValue]]
    metrics: tuple[MetricDifference, ...]
    notes: tuple[str, ...]


def comparison(a: AdapterCard, b: AdapterCard) -> Comparison:
    """Return the differences of two adapters."""
    names = dict.fromkeys((*a.params, *b.params))
    params = {name: (a.params.get(name), b.params.get(name)) for name in names}
    metrics = tuple(_difference(name, a, b) for name in dict.fromkeys((*a.metrics, *b.metrics)))
    return Comparison(
        params={name: values for name, values in params.items() if values[0] != values[1]},
        metrics=metrics,
        notes=tuple(_notes(a, b, metrics)),
    )


def _difference(name: str, a: AdapterCard, b: AdapterCard) -> MetricDifference:
    one, other = a.metrics.get(name), b.metrics.get(name)
    return MetricDifference(
        metric=name,
        a=one,
        b=other,
        interval_a=a.intervals.get(name),
        interval_b=b.intervals.get(name),
        difference=None if one is None or other is None else other - one,
        same_rows=_same_rows(name, a, b),
    )


def _same_rows(metric: str, a: AdapterCard, b: AdapterCard) -> bool | None:
    """Return whether a metric was measured on the same rows; None: a digest is unknown, or the metric has no rows."""
    split = _split(metric)
    digests = [next((item.digest for item in card.data if item.split == split), None) for card in (a, b)]
    return None if None in digests else digests[0] == digests[1]


def _split(metric: str) -> str | None:
    if metric.startswith("best_val_"):
        return "validation"
    parts = metric.split("/")
    return "test" if parts[0] == "test" else "/".join(parts[:2]) if parts[0] == "shift" else None


def _notes(a: AdapterCard, b: AdapterCard, metrics: tuple[MetricDifference, ...]) -> list[str]:
    notes = [
        f"{what}: {one} and {other}"
        for what, one, other in (
            ("base model", a.base, b.base),
            ("objective", a.objective, b.objective),
            ("classes", ", ".join(a.labels), ", ".join(b.labels)),
            ("training samples", f"{a.samples:,}", f"{b.samples:,}"),
            ("seed", a.seed, b.seed),
        )
        if one != other
    ]
    if any(item.same_rows is False for item in metrics):
        notes.append("Metrics with other rows cannot be compared.")
    return notes
