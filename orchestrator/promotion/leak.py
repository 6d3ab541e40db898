"""The gate on leaks: test rows among the training rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.errors import LoratoryError, in_short
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits import rule_of
from orchestrator.objective.splits.draw import keyed_hash
from orchestrator.promotion.gates import GateResult
from orchestrator.promotion.stored_rows import rows_digest

if TYPE_CHECKING:
    import datasets

SHOWN = 60
"""Characters of a leaked text in the message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Test rows among the training rows.

    Attributes:
        exact: number of test rows with the text of a training row.
        near: number of further test rows that differ from a training row in case, spaces and punctuation alone.
        example: the first of these texts; None without a leak.
    """

    exact: int
    near: int
    example: str | None

    @property
    def rows(self) -> int:
        """Number of leaked rows."""
        return self.exact + self.near


def find_leak(train: "datasets.Dataset", test: "datasets.Dataset", split_rule: int) -> Leak:
    """Return the test rows among the training rows, by the forms of the split rule.

    Rows are compared by their column ``text``; without one, by all of their columns with texts.
    """
    rule = rule_of(split_rule)
    copies, near_forms = set[bytes](), set[bytes]()
    for form in map(rule.forms, _texts(train)):
        copies.add(_hash(form.copy))
        near_forms.add(_hash(form.near))
    exact = near = 0
    example = None
    for text in _texts(test):
        form = rule.forms(text)
        if not form.copy:
            continue
        is_copy, is_near = _hash(form.copy) in copies, _hash(form.near) in near_forms
        exact, near = exact + is_copy, near + (is_near and not is_copy)
        if example is None and (is_copy or is_near):
            example = text
    return Leak(exact=exact, near=near, example=example)


def leak_gate(sweep: SweepRecord, read: Callable[[], Splits] | None, most: int) -> GateResult:
    """Return whether at most ``most`` test rows are among the training rows. Without the sweep's data it abstains.

    Args:
        sweep: the candidate's sweep.
        read: reads the rows of the sweep again; None: they are not available.
        most: largest number of leaked rows.
    """
    rule = f"at most {most:,} test rows among the training rows"
    if read is None:
        return GateResult(gate="leak", passed=None, detail="the rows of the sweep are not available", rule=rule)
    try:
        splits = read()
    except (LoratoryError, OSError) as error:  # the data was moved or needs a network: the other gates decide
        detail = f"the rows of the sweep cannot be read: {in_short(error)}"
        return GateResult(gate="leak", passed=None, detail=detail, rule=rule)
    changed = [
        name
        for name, rows in (("train", splits.train), ("test", splits.test))
        if digest(rows) != rows_digest(sweep, name)
    ]
    if changed:
        detail = f"the rows have changed since the sweep: {' and '.join(changed)}"
        return GateResult(gate="leak", passed=None, detail=detail, rule=rule)
    leak, total = find_leak(splits.train, splits.test, splits.summary.split_rule), len(splits.test)
    passed = leak.rows <= most
    detail = f"{leak.rows:,} of {total:,} test rows are among the training rows"
    if leak.example is not None:
        shown = leak.example if len(leak.example) <= SHOWN else f"{leak.example[: SHOWN - 1]}…"
        detail += f" ({leak.exact:,} equal, {leak.near:,} up to case and punctuation), for example {shown!r}"
    return GateResult(gate="leak", passed=passed, detail=detail, refuses=not passed, rule=rule, value=float(leak.rows))


def _hash(text: str) -> bytes:
    """Return a hash of a text: those of all training rows are in memory."""
    return keyed_hash(0, text)


def _texts(rows: "datasets.Dataset") -> Sequence[str]:
    if "text" in rows.column_names:
        return row_texts(rows)
    names = [name for name, kind in rows.features.items() if getattr(kind, "dtype", None) in {"string", "large_string"}]
    columns = [rows[name][:] for name in names]
    return ["\n".join(map(str, texts)) for texts in zip(*columns, strict=True)]
