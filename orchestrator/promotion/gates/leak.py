"""The gates on leaks: test rows among the training rows, and test rows with almost the words of a training row."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.core.errors import LoratoryError, in_short
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits import find_near_copies, rule_of
from orchestrator.objective.splits.draw import keyed_hash
from orchestrator.objective.splits.near_copies import SIMILARITY
from orchestrator.promotion.gates.rules import GateResult
from orchestrator.promotion.gates.stored_rows import rows_digest

if TYPE_CHECKING:
    import datasets

SHOWN = 60
"""Characters of a leaked text in the message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Test rows among the training rows.

    Attributes:
        exact: places of the test rows with the text of a training row, ascending.
        near: places of further test rows that differ from a training row in case, spaces and punctuation alone.
        example: the first of these texts; None without a leak.
    """

    exact: tuple[int, ...]
    near: tuple[int, ...]
    example: str | None

    @property
    def rows(self) -> int:
        """Number of leaked rows."""
        return len(self.exact) + len(self.near)


def find_leak(train: "datasets.Dataset", test: "datasets.Dataset", split_rule: int) -> Leak:
    """Return the test rows among the training rows, by the forms of the split rule.

    Rows are compared by their column ``text``; without one, by all of their columns with texts.
    """
    rule = rule_of(split_rule)
    copies, near_forms = set[bytes](), set[bytes]()
    for form in map(rule.forms, _texts(train)):
        copies.add(_hash(form.copy))
        near_forms.add(_hash(form.near))
    exact, near = list[int](), list[int]()
    example = None
    for place, text in enumerate(_texts(test)):
        form = rule.forms(text)
        if not form.copy:
            continue
        if _hash(form.copy) in copies:
            exact.append(place)
        elif _hash(form.near) in near_forms:
            near.append(place)
        else:
            continue
        example = text if example is None else example
    return Leak(exact=tuple(exact), near=tuple(near), example=example)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearLeak:
    """Test rows with almost the words of a training row.

    Attributes:
        places: their places in the test split, ascending.
        examined: number of compared test rows.
        examined_train: number of compared training rows.
        example: the most similar pair, a test row and its training row; None without one.
    """

    places: tuple[int, ...]
    examined: int
    examined_train: int
    example: tuple[str, str] | None


def find_near_leak(train: "datasets.Dataset", test: "datasets.Dataset", leaked: Collection[int] = ()) -> NearLeak:
    """Return the test rows with a near-duplicate among the training rows; see ``find_near_copies``.

    Args:
        train: the training rows.
        test: the test rows.
        leaked: places of test rows that ``find_leak`` has counted; they are not counted again.
    """
    found = find_near_copies({"test": _texts(test), "train": _texts(train)})
    pairs = [pair for pair in found.pairs if pair.row not in leaked]
    first = max(pairs, key=lambda pair: pair.similarity, default=None)
    return NearLeak(
        places=tuple(sorted(pair.row for pair in pairs)),
        examined=found.examined["test"],
        examined_train=found.examined["train"],
        example=None if first is None else (first.text, first.other_text),
    )


def leak_gates(
    sweep: SweepRecord, read: Callable[[], Splits] | None, gates: Gates, measured: RowMeasures | None = None
) -> tuple[GateResult, ...]:
    """Return the results of the gates on leaks and on near copies. Without the sweep's data they abstain.

    Args:
        sweep: the candidate's sweep.
        read: reads the rows of the sweep again; None: they are not available.
        gates: the bounds ``leaked_rows`` and ``near_copies``; None switches one off.
        measured: the candidate's test rows, for its accuracy without the near copies; None: not stored.
    """
    rules = {}
    if gates.leaked_rows is not None:
        rules["leak"] = f"at most {gates.leaked_rows:,} test rows among the training rows"
    if gates.near_copies is not None:
        share = f"{100 * gates.near_copies:g} %"
        rules["near copies"] = f"at most {share} of the test rows with almost the words of a training row"
    splits = _unchanged(sweep, read) if rules else ""
    if isinstance(splits, str):
        return tuple(GateResult(gate=gate, passed=None, detail=splits, rule=rule) for gate, rule in rules.items())
    leak, results = find_leak(splits.train, splits.test, splits.summary.split_rule), []
    if gates.leaked_rows is not None:
        results.append(_leak(leak, len(splits.test), gates.leaked_rows))
    if gates.near_copies is not None:
        near = find_near_leak(splits.train, splits.test, {*leak.exact, *leak.near})
        found = _near_copies(near, splits, gates.near_copies, refuses=gates.binds("near_copies"))
        results.append(replace(found, detail=found.detail + _without({*near.places}, measured, len(splits.test))))
    return tuple(replace(result, rule=rules[result.gate]) for result in results)


def _unchanged(sweep: SweepRecord, read: Callable[[], Splits] | None) -> Splits | str:
    """Return the rows of the sweep, or in words why they are not available."""
    if read is None:
        return "the rows of the sweep are not available"
    try:
        splits = read()
    except (LoratoryError, OSError) as error:  # the data was moved or needs a network: the other gates decide
        return f"the rows of the sweep cannot be read: {in_short(error)}"
    named = (("train", splits.train), ("test", splits.test))
    changed = [name for name, rows in named if digest(rows) != rows_digest(sweep, name)]
    return f"the rows have changed since the sweep: {' and '.join(changed)}" if changed else splits


def _leak(leak: Leak, total: int, most: int) -> GateResult:
    """Return whether at most ``most`` test rows are among the training rows."""
    passed = leak.rows <= most
    detail = f"{leak.rows:,} of {total:,} test rows are among the training rows"
    if leak.example is not None:
        kinds = f"{len(leak.exact):,} equal, {len(leak.near):,} up to case and punctuation"
        detail += f" ({kinds}), for example {_short(leak.example)}"
    return GateResult(gate="leak", passed=passed, detail=detail, refuses=not passed, value=float(leak.rows))


def _near_copies(near: NearLeak, splits: Splits, most: float, *, refuses: bool) -> GateResult:
    """Return whether the share of test rows with a near-duplicate among the training rows is at most ``most``.

    A larger share refuses only if a user set the bound: texts written from one template are alike in use, too.
    """
    share = len(near.places) / near.examined if near.examined else 0.0
    detail = (
        f"{len(near.places):,} of {near.examined:,} test rows ({100 * share:.2g} %) have almost the words of a "
        f"training row (similarity of word pairs ≥ {SIMILARITY:g})"
    )
    if near.examined < len(splits.test) or near.examined_train < len(splits.train):
        detail += (
            f"; compared: {near.examined:,} of {len(splits.test):,} test rows, {near.examined_train:,} of "
            f"{len(splits.train):,} training rows"
        )
    if near.example is not None:
        detail += f"; for example {_short(near.example[0])} and {_short(near.example[1])}"
    passed = share <= most
    return GateResult(gate="near copies", passed=passed, detail=detail, refuses=refuses and not passed, value=share)


def _without(places: Collection[int], measured: RowMeasures | None, total: int) -> str:
    """Return the candidate's accuracy with and without these test rows, in words; empty if the rows do not give it."""
    if measured is None or not len(measured.predictions) == len(measured.references) == total:
        return ""
    if not 0 < len(places) < total:
        return ""
    pairs = zip(measured.predictions, measured.references, strict=True)
    right = [predicted == reference for predicted, reference in pairs]
    others = [each for place, each in enumerate(right) if place not in places]
    return f"; test accuracy {sum(right) / total:.4f}, without these rows {sum(others) / len(others):.4f}"


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")


def _hash(text: str) -> bytes:
    """Return a hash of a text: those of all training rows are in memory."""
    return keyed_hash(0, text)


def _texts(rows: "datasets.Dataset") -> Sequence[str]:
    if "text" in rows.column_names:
        return row_texts(rows)
    names = [name for name, kind in rows.features.items() if getattr(kind, "dtype", None) in {"string", "large_string"}]
    columns = [rows[name][:] for name in names]
    return ["\n".join(map(str, texts)) for texts in zip(*columns, strict=True)]
