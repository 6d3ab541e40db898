"""Suspected label errors: validation and test rows for which every kept adapter predicts another class.

No kept adapter was trained on these rows. cleanlab estimates from the probabilities which labels are wrong (confident
learning; Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence Research 70).
"""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.system.csv_cells import long_cells
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.metrics import NEED_LOGITS, classification_metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "suspected_labels.csv"
"""Name of the file in the folder of a sweep."""
_SURE = 0.9
_WEAKER = 0.05
_HEAD = ("split", "row", "given_label", "suggested_label", "probability_of_given_label", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectedLabel:
    """A row whose label every kept adapter contradicts: a wrong label, or a hard row.

    Attributes:
        split: ``validation`` or ``test``.
        row: number of the row in the split.
        given: class id in the data.
        suggested: class id with the highest mean probability.
        quality: mean probability of the given label, in [0, 1]; cleanlab calls it self-confidence.
    """

    split: str
    row: int
    given: int
    suggested: int
    quality: float


def suspected_labels(adapters: Sequence[Mapping[str, RowMeasures]]) -> tuple[SuspectedLabel, ...]:
    """Return the suspected label errors, the most certain first.

    A row is suspected if every adapter predicts a class other than the given one, and either cleanlab finds the label
    wrong from the mean probabilities, or the mean probability of a class is at least 0.9. cleanlab alone misses errors
    in classes with few rows. Adapters more than 5 points of accuracy below the best are ignored: they hide errors.

    Args:
        adapters: rows of each adapter by split, with logits; the same splits and rows for all adapters.
    """
    import numpy as np
    from scipy.special import softmax

    if not adapters:
        return ()
    splits = [*adapters[0]]
    places = [(split, row) for split in splits for row in range(len(adapters[0][split].references))]
    labels_n = np.array([adapters[0][split].references[row] for split, row in places])
    logits_knc = np.array([[logits for split in splits for logits in each[split].logits] for each in adapters])
    logits_knc = logits_knc[np.isfinite(logits_knc).all(axis=(1, 2))]
    if not len(logits_knc) or len(np.unique(labels_n)) < 2:
        return ()
    right_kn = logits_knc.argmax(axis=2) == labels_n
    good_k = right_kn.mean(axis=1) >= right_kn.mean(axis=1).max() - _WEAKER
    mean_nc = softmax(logits_knc[good_k], axis=2).mean(axis=0)
    doubtful_n = _doubtful(labels_n, mean_nc) & ~right_kn[good_k].any(axis=0)
    found = [
        SuspectedLabel(
            split=places[at][0],
            row=places[at][1],
            given=int(labels_n[at]),
            suggested=int(mean_nc[at].argmax()),
            quality=float(mean_nc[at, labels_n[at]]),
        )
        for at in np.flatnonzero(doubtful_n)
    ]
    return tuple(sorted(found, key=lambda each: each.quality))


def _doubtful(labels_n: "NDArray[np.int64]", probabilities_nc: "NDArray[np.float64]") -> "NDArray[np.bool_]":
    """Return whether cleanlab or a probability of at least 0.9 speaks against each label."""
    from cleanlab.filter import find_label_issues

    doubtful_n: NDArray[np.bool_] = probabilities_nc.max(axis=1) >= _SURE
    doubtful_n |= find_label_issues(labels_n, probabilities_nc, n_jobs=1)
    return doubtful_n


def write_suspected_labels(
    sweep_dir: Path, found: Sequence[SuspectedLabel], labels: Sequence[str], texts: Mapping[str, Sequence[str]]
) -> None:
    """Write the suspected label errors as CSV to the sweep's folder, atomically; without one the file has only a head.

    Args:
        sweep_dir: folder of the sweep.
        found: the suspected label errors.
        labels: class names in the order of their ids.
        texts: texts of the rows by split.

    Raises:
        OSError: the disk is full.
    """
    unfinished = sweep_dir / f".{FILE}.{os.getpid()}"
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_HEAD)
        for each in found:
            given, suggested = labels[each.given], labels[each.suggested]
            text = texts[each.split][each.row]
            writer.writerow((each.split, each.row, given, suggested, f"{each.quality:.4f}", text))
    unfinished.replace(sweep_dir / FILE)


def count_suspected_labels(sweep_dir: Path) -> dict[str, int] | None:
    """Return the number of suspected label errors by split; None if they were not searched."""
    suggested = _suggestions(sweep_dir)
    return None if suggested is None else {split: len(rows) for split, rows in suggested.items()}


def label_limit(sweep_dir: Path, split: str, measured: Measurement, labels: Sequence[str], metric: str) -> float | None:
    """Return the metric of a model that predicts the suggested class of each suspected row, and is right elsewhere.

    It is the value of a model without errors if all suspected labels are wrong and all others are right.

    Args:
        sweep_dir: folder of the sweep.
        split: ``validation`` or ``test``.
        measured: a measurement of a kept adapter on this split.
        labels: class names in the order of their ids.
        metric: such as ``accuracy``.

    Returns:
        None if no row of the split is suspected, if the metric does not follow from class ids, or if the objective
        defines it otherwise.
    """
    suggested, references = (_suggestions(sweep_dir) or {}).get(split), measured.rows.references
    if not suggested or metric in NEED_LOGITS or max(suggested) >= len(references):
        return None
    if not {*suggested.values()} <= {*labels}:
        return None
    own = _score(measured.rows.predictions, references, len(labels), metric)
    if own is None or not math.isclose(own, measured.metrics.get(metric, math.nan), rel_tol=1e-5, abs_tol=1e-9):
        return None
    best = [labels.index(suggested[row]) if row in suggested else reference for row, reference in enumerate(references)]
    return _score(best, references, len(labels), metric)


def _score(predictions: Sequence[int], references: Sequence[int], num_labels: int, metric: str) -> float | None:
    """Return a metric of class ids; None for other metrics."""
    if metric not in {"accuracy", "macro_f1"}:
        return classification_metrics([*zip(predictions, references, strict=True)], num_labels, (metric,)).get(metric)
    import numpy as np

    from orchestrator.statistics.row_metrics import accuracy, macro_f1

    # Without scikit-learn: every view of a sweep asks for this, and the import takes a second.
    measure = accuracy if metric == "accuracy" else macro_f1
    each_row = np.ones((1, len(references)), dtype=np.int64)
    return float(measure(each_row, np.array(predictions), np.array(references))[0])


def _suggestions(sweep_dir: Path) -> dict[str, dict[int, str]] | None:
    """Return the suggested class by row and split; None without a readable file."""
    found: dict[str, dict[int, str]] = {"validation": {}, "test": {}}
    try:
        with long_cells(), (sweep_dir / FILE).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                found[row["split"]][int(row["row"])] = row["suggested_label"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, csv.Error):  # not UTF-8, or another file
        return None
    return found
