"""What a person is told of the data: rows used, left out and cut, labels, and warnings. The same words everywhere."""

from collections.abc import Mapping

from orchestrator.core.data import DataSummary
from orchestrator.report import words

_CLASSES = 12
"""Classes that a line names; JSON and the report's page have all."""


def data_lines(rows: Mapping[str, int], data: DataSummary, *, classes: bool = True) -> list[tuple[str, str]]:
    """Return pairs of a name and a line: rows, left out, cut, labels, classes, warnings. Empty ones are left out.

    Args:
        rows: number of rows by split.
        data: the counts.
        classes: whether to name the number of rows of each class, a line for each split.
    """
    lines = [("rows", " · ".join(f"{name} {words.count(number)}" for name, number in rows.items()))] if rows else []
    for place, reasons in left_out(data).items():
        told = " · ".join(f"{reason} {words.count(number)}" for reason, number in reasons.items())
        lost, used = sum(reasons.values()), _used(rows, place)
        where = f" {place}" if place else ""
        lines.append((f"left out{where}", f"{words.count(lost)} of {words.count(lost + used)}: {told}"))
    lines += [("cut", cut_text(data))] if any(data.truncated.values()) else []
    if not _is_identity(data.labels):
        lines.append(("labels", _some([f"{value} → {name}" for value, name in _by_class(data)])))
    for split, counts in data.label_counts.items() if classes else ():
        lines.append((f"classes {split}", _some([f"{name}: {words.count(number)}" for name, number in counts.items()])))
    return lines + [("warning", warning) for warning in data.warnings]


def left_out(data: DataSummary) -> dict[str, dict[str, int]]:
    """Return the number of rows left out by reason, by shift set; the sweep's own data has an empty name."""
    found: dict[str, dict[str, int]] = {}
    for key, number in data.dropped.items():
        place, _, reason = key.rpartition(": ") if key.startswith("shift/") else ("", "", key)
        found.setdefault(place, {})[reason] = number
    return found


def cut_text(data: DataSummary) -> str:
    """Return how many rows are cut to how many tokens, and the longest text."""
    counts = " · ".join(f"{name} {words.count(number)}" for name, number in data.truncated.items() if number)
    longest = max(data.longest.values(), default=0)
    told = f"; the longest text has {words.count(longest)} characters" if longest else ""
    return f"rows longer than {words.count(data.max_length)} tokens are cut: {counts}{told}"


def _used(rows: Mapping[str, int], place: str) -> int:
    if place:
        return rows.get(place, 0)
    return sum(number for name, number in rows.items() if not name.startswith("shift/"))


def _by_class(data: DataSummary) -> list[tuple[str, str]]:
    """Return the values in the data with their classes, in the order of the classes."""
    order = {name: place for counts in data.label_counts.values() for place, name in enumerate(counts)}
    return sorted(data.labels.items(), key=lambda pair: order.get(pair[1], 0))


def _is_identity(labels: Mapping[str, str]) -> bool:
    return all(value == name for value, name in labels.items())


def _some(parts: list[str]) -> str:
    more = len(parts) - _CLASSES
    return " · ".join(parts[:_CLASSES]) + (f" · and {more} more" if more > 0 else "")
