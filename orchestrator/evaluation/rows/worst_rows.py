"""The worst test rows, over all kept adapters, as a file in the sweep's folder.

| task | the worst row has | further columns |
|---|---|---|
| regression | the largest absolute error, the mean over its targets | true and predicted numbers |
| extractive question answering | the lowest F1, then the highest loss | true and predicted answers |
| entities | the highest loss | true entities that an adapter missed, and wrong predicted ones |
| others | the highest loss | label and predicted labels; or reference and generated answers |

Losses, errors and F1 are means over the adapters. Different predictions of the adapters stand one after another.
"""

import csv
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from orchestrator.core.system.csv_cells import long_cells
from orchestrator.core.trials.row_measures import RowMeasures

FILE = "worst_rows.csv"
"""Name of the file in the folder of a sweep. The report names it and shows no texts: they may be personal data."""
MOST = 50
"""Most rows in the file."""
NOTHING = "(none)"
"""No label, or no answer."""
_HEAD = ("row", "mean_loss", "label", "predictions", "text")
_ANSWERED = ("target", "answers")
"""Further columns of answers: the reference, and the different answers of the adapters."""
_ENTITIES = ("missed", "wrong")
"""Further columns of entities: true ones that at least one adapter did not find, and predicted ones that are not true.
"""
_ERROR, _F1 = "mean_absolute_error", "mean_f1"
"""A further column: the value of the order, if it is not the loss."""


def write_worst_rows(
    sweep_dir: Path,
    adapters: Sequence[RowMeasures],
    labels: Sequence[str],
    texts: Sequence[str],
    targets: Sequence[str] = (),
) -> None:
    """Write the worst rows over the adapters, the worst first, atomically as CSV; see the module for their order.

    Args:
        sweep_dir: folder of the sweep.
        adapters: test rows of each kept adapter, at least one.
        labels: names of the classes or targets in their order; empty without them.
        texts: text of each test row.
        targets: the right answer of each test row; empty if the task writes and finds none.

    Raises:
        OSError: the disk is full.
    """
    losses = [fmean(each.losses[row] / max(each.units[row], 1.0) for each in adapters) for row in range(len(texts))]
    name, values = _order(adapters, len(texts))
    keys = losses if name is None else values if name == _ERROR else [-value for value in values]
    worst = sorted(range(len(texts)), key=lambda row: (_badness(keys[row]), _badness(losses[row]), row))[:MOST]
    marked = not targets and any(any(each.spans) or any(each.true_spans) for each in adapters)
    unfinished = sweep_dir / f".{FILE}.{os.getpid()}"
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        further = _ANSWERED if targets else _ENTITIES if marked else ()
        writer.writerow((*_HEAD, *further, *([] if name is None else [name])))
        for row in worst:
            label, predictions = _labels(adapters, labels, row)
            shown = _entities(adapters, texts[row], row) if marked else ()
            if targets:
                shown = (targets[row], _joined(_answers(adapters, row), " | "))
            value = [] if name is None else [f"{values[row]:.4g}" if name == _ERROR else f"{values[row]:.4f}"]
            writer.writerow((row, f"{losses[row]:.4f}", label, predictions, texts[row], *shown, *value))
    unfinished.replace(sweep_dir / FILE)


def worst_rows_sentence(sweep_dir: Path) -> str | None:
    """Return the first of the worst rows and the file's name, without a full stop; None without the file."""
    try:
        with long_cells(), (sweep_dir / FILE).open(encoding="utf-8", newline="") as stream:
            rows = [*csv.DictReader(stream)]
        first = rows[0]
        what = f" (label {first['label']}, predicted as {first['predictions']})" if first["label"] else ""
        worst = f"the highest loss, {first['mean_loss']}"
        if _ERROR in first:
            worst = f"the largest absolute error, {first[_ERROR]}"
        elif _F1 in first:
            worst = f"the lowest F1, {first[_F1]}, and of those the highest loss, {first['mean_loss']}"
        return (
            f"row {first['row']} of test has {worst}{what}; {FILE} in the sweep's folder lists the worst {len(rows)} "
            "rows"
        )
    except (FileNotFoundError, NotADirectoryError, IndexError, KeyError, ValueError, csv.Error):  # absent or foreign
        return None


def _order(adapters: Sequence[RowMeasures], count: int) -> tuple[str | None, list[float]]:
    """Return the name and the values of the order; None and nothing if it is the loss."""
    if adapters[0].true_numbers:
        each = [
            [
                fmean(abs(one - two) for one, two in zip(given, true, strict=True))
                for given, true in zip(rows.numbers, rows.true_numbers, strict=True)
            ]
            for rows in adapters
        ]
        return _ERROR, [fmean(of_row) for of_row in zip(*each, strict=True)]
    if all(len(rows.answers) == len(rows.scores.get("f1", ())) == count for rows in adapters):
        return _F1, [fmean(of_row) for of_row in zip(*(rows.scores["f1"] for rows in adapters), strict=True)]
    return None, []


def _badness(value: float) -> float:
    """Return a key that sorts large values first, and NaN before all."""
    return -math.inf if math.isnan(value) else -value


def _labels(adapters: Sequence[RowMeasures], labels: Sequence[str], row: int) -> tuple[str, str]:
    """Return the label of a row, and the different predictions of the adapters; empty without labels."""
    first = adapters[0]
    if first.true_numbers:
        return _numbers(first.true_numbers[row], labels), _joined(
            (_numbers(each.numbers[row], labels) for each in adapters), " | "
        )
    if first.true_class_sets:
        return _classes(first.true_class_sets[row], labels), _joined(
            (_classes(each.class_sets[row], labels) for each in adapters), " | "
        )
    if labels and first.references:
        return labels[first.references[row]], _joined((labels[each.predictions[row]] for each in adapters), ", ")
    return "", ""


def _answers(adapters: Sequence[RowMeasures], row: int) -> list[str]:
    return [each.answers[row] or NOTHING for each in adapters if row < len(each.answers)]


def _entities(adapters: Sequence[RowMeasures], text: str, row: int) -> tuple[str, ...]:
    """Return the true entities that an adapter missed, and the wrong predicted ones."""
    true = {*adapters[0].true_spans[row]}
    found = [{*each.spans[row]} for each in adapters]
    missed, wrong = true - found[0].intersection(*found[1:]), found[0].union(*found[1:]) - true
    return tuple(
        " | ".join(f"{text[start:end]} ({kind})" for start, end, kind in sorted(spans)) or NOTHING
        for spans in (missed, wrong)
    )


def _numbers(values: Sequence[float], names: Sequence[str]) -> str:
    """Return numbers with four significant digits, several ones with their names."""
    if len(values) == 1 or len(names) != len(values):
        return ", ".join(f"{value:.4g}" for value in values)
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))


def _classes(ids: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(names[index] for index in ids) or NOTHING


def _joined(texts: Iterable[str], between: str) -> str:
    return between.join(dict.fromkeys(texts))
