"""Suspected label errors: validation and test rows which every kept adapter classifies otherwise, with confidence.

No kept adapter was trained on these rows. cleanlab estimates from the probabilities which labels are wrong (confident
learning; Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence Research 70).
"""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.row_measures import RowMeasures

FILE = "suspected_labels.csv"
"""Name of the file in the folder of a sweep."""
_SURE = 0.9
_HEAD = ("split", "row", "given_label", "suggested_label", "probability_of_given_label", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectedLabel:
    """A row with a label that is probably wrong.

    Attributes:
        split: ``validation`` or ``test``.
        row: number of the row in the split.
        given: class id in the data.
        suggested: class id with the highest mean probability.
        quality: mean probability of the given label, in [0, 1]; cleanlab's self-confidence.
    """

    split: str
    row: int
    given: int
    suggested: int
    quality: float


def suspected_labels(measured: Mapping[str, Sequence[RowMeasures]]) -> tuple[SuspectedLabel, ...]:
    """Return the suspected label errors, the most certain first.

    A row is suspected if every adapter predicts a class other than the given one, and either cleanlab judges the mean
    probabilities so, or the mean probability of a class is at least 0.9. cleanlab alone misses errors in classes with
    few rows.

    Args:
        measured: rows of each adapter by split, with logits; the same rows for all adapters.
    """
    import numpy as np
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from scipy.special import softmax

    complete = {split: rows for split, rows in measured.items() if rows and all(each.logits for each in rows)}
    places = [(split, row) for split, rows in complete.items() for row in range(len(rows[0].references))]
    if not places:
        return ()
    labels_n = np.concatenate([np.array(rows[0].references) for rows in complete.values()])
    logits_knc = np.concatenate([np.array([each.logits for each in rows]) for rows in complete.values()], axis=1)
    mean_nc = softmax(logits_knc, axis=2).mean(axis=0)
    mean_nc /= mean_nc.sum(axis=1, keepdims=True)
    if not np.isfinite(mean_nc).all() or len(np.unique(labels_n)) < 2:
        return ()
    doubtful_n = find_label_issues(labels_n, mean_nc, n_jobs=1) | (mean_nc.max(axis=1) >= _SURE)
    wrong_n = (logits_knc.argmax(axis=2) != labels_n).all(axis=0)
    quality_n = get_label_quality_scores(labels_n, mean_nc)
    found = [
        SuspectedLabel(
            split=places[at][0],
            row=places[at][1],
            given=int(labels_n[at]),
            suggested=int(mean_nc[at].argmax()),
            quality=float(quality_n[at]),
        )
        for at in np.flatnonzero(doubtful_n & wrong_n)
    ]
    return tuple(sorted(found, key=lambda each: each.quality))


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
    try:
        with (sweep_dir / FILE).open(encoding="utf-8", newline="") as stream:
            splits = [row["split"] for row in csv.DictReader(stream)]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, csv.Error):  # not UTF-8, or another file
        return None
    return {split: splits.count(split) for split in ("validation", "test")}
