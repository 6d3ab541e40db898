"""The test rows with the highest loss, over all kept adapters, as a file in the sweep's folder."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.core.system.csv_cells import long_cells
from orchestrator.core.trials.row_measures import RowMeasures

FILE = "worst_rows.csv"
"""Name of the file in the folder of a sweep. The report names it and shows no texts: they may be personal data."""
MOST = 50
"""Most rows in the file."""
_HEAD = ("row", "mean_loss", "label", "predictions", "text")
_ANSWERED = ("target", "answers")
"""Further columns of a generative task: the reference, and the different answers of the adapters."""


def write_worst_rows(
    sweep_dir: Path,
    adapters: Sequence[RowMeasures],
    labels: Sequence[str],
    texts: Sequence[str],
    targets: Sequence[str] = (),
) -> None:
    """Write the rows with the highest mean loss over the adapters, the worst first, atomically as CSV.

    Args:
        sweep_dir: folder of the sweep.
        adapters: test rows of each kept adapter, at least one.
        labels: class names in the order of their ids; empty without classes.
        texts: text of each test row.
        targets: the right answer of each test row; empty if the task writes none.

    Raises:
        OSError: the disk is full.
    """
    losses = [
        sum(each.losses[row] / max(each.units[row], 1.0) for each in adapters) / len(adapters)
        for row in range(len(texts))
    ]
    worst = sorted(range(len(texts)), key=lambda row: (-losses[row], row))[:MOST]
    unfinished = sweep_dir / f".{FILE}.{os.getpid()}"
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*_HEAD, *(_ANSWERED if targets else ())))
        for row in worst:
            label, predictions = "", ""
            if labels and adapters[0].references:
                label = labels[adapters[0].references[row]]
                predictions = ", ".join(dict.fromkeys(labels[each.predictions[row]] for each in adapters))
            answers = dict.fromkeys(each.answers[row] for each in adapters if row < len(each.answers))
            answered = (targets[row], " | ".join(answers)) if targets else ()
            writer.writerow((row, f"{losses[row]:.4f}", label, predictions, texts[row], *answered))
    unfinished.replace(sweep_dir / FILE)


def worst_rows_sentence(sweep_dir: Path) -> str | None:
    """Return the first of the worst rows and the file's name, without a full stop; None without the file."""
    try:
        with long_cells(), (sweep_dir / FILE).open(encoding="utf-8", newline="") as stream:
            rows = [*csv.DictReader(stream)]
        first = rows[0]
        what = f" (label {first['label']}, predicted as {first['predictions']})" if first["label"] else ""
        return (
            f"row {first['row']} of test has the highest loss, {first['mean_loss']}{what}; {FILE} in the sweep's "
            f"folder lists the worst {len(rows)} rows"
        )
    except (FileNotFoundError, NotADirectoryError, IndexError, KeyError, ValueError, csv.Error):  # absent or foreign
        return None
