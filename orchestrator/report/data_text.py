"""The data of a sweep as lines of text: rows used, omitted and truncated, labels, warnings."""

from collections.abc import Mapping

from orchestrator.core.data import DataSummary
from orchestrator.report import words

_CLASSES = 12
"""Maximum number of classes in one line. JSON and the report page list all of them."""


def data_lines(rows: Mapping[str, int], data: DataSummary, *, classes: bool = True) -> list[tuple[str, str]]:
    """Return pairs of a name and a line: rows, omitted, truncated, labels, class ids, classes, class
    weights, warnings.

    Empty lines are skipped.

    Args:
        rows: number of rows by split.
        data: counts of rows and labels.
        classes: whether to add one line for each split with its rows by class.
    """
    lines = [("rows", " · ".join(f"{name} {words.count(number)}" for name, number in rows.items()))] if rows else []
    for source, reasons in omitted_rows(data).items():
        counts = " · ".join(f"{reason}: {words.count(number)}" for reason, number in reasons.items())
        omitted, used = sum(reasons.values()), _used(rows, source)
        name = f"omitted {source}" if source else "omitted"
        lines.append((name, f"{words.count(omitted)} of {words.count(omitted + used)} rows ({counts})"))
    lines += [("truncated", truncation_text(data))] if any(data.truncated.values()) else []
    if data.turns:
        parts = [f"{number}: {words.count(rows)}" for number, rows in data.turns.items()]
        lines.append(("turns", f"training conversations by assistant turns: {_abbreviated(parts)}"))
    if not _is_identity(data.labels):
        lines.append(("labels", _abbreviated([f"{value} → {name}" for value, name in _by_class(data)])))
    if data.class_order:
        lines.append(("class ids", f"{_abbreviated([*data.classes])} ({data.class_order})"))
    for split, rows_by_class in data.label_counts.items() if classes else ():
        parts = [f"{name}: {words.count(number)}" for name, number in rows_by_class.items()]
        lines.append((f"classes {split}", _abbreviated(parts)))
    lines += [("class weights", data.class_weights)] if data.class_weights else []
    return lines + [("warning", warning) for warning in data.warnings]


def omitted_rows(data: DataSummary) -> dict[str, dict[str, int]]:
    """Return the number of omitted rows by shift set and reason. The sweep's own data has an empty name."""
    omitted: dict[str, dict[str, int]] = {}
    for key, number in data.dropped.items():
        source, _, reason = key.rpartition(": ") if key.startswith("shift/") else ("", "", key)
        omitted.setdefault(source, {})[reason] = number
    return omitted


def truncation_text(data: DataSummary) -> str:
    """Return the truncated rows by split, the maximum number of tokens and the length of the longest text."""
    counts = " · ".join(f"{name} {words.count(number)}" for name, number in data.truncated.items() if number)
    longest = max(data.longest.values(), default=0)
    note = f"; longest text: {words.count(longest)} characters" if longest else ""
    return f"rows over {words.count(data.max_length)} tokens: {counts}{note}"


def _used(rows: Mapping[str, int], source: str) -> int:
    if source:
        return rows.get(source, 0)
    return sum(number for name, number in rows.items() if not name.startswith("shift/"))


def _by_class(data: DataSummary) -> list[tuple[str, str]]:
    """Return pairs of a value in the data and its class, in the order of the classes."""
    order = {name: place for counts in data.label_counts.values() for place, name in enumerate(counts)}
    return sorted(data.labels.items(), key=lambda pair: order.get(pair[1], 0))


def _is_identity(labels: Mapping[str, str]) -> bool:
    return all(value == name for value, name in labels.items())


def _abbreviated(parts: list[str]) -> str:
    more = len(parts) - _CLASSES
    return " · ".join(parts[:_CLASSES]) + (f" · and {more} more" if more > 0 else "")
