"""Checks of the rows after the search, with the stored results of the kept adapters: slices and suspected labels."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.extractive_qa.answer_scores import at_threshold, row_threshold
from orchestrator.evaluation.measurement_file import kept_measurement, kept_validation
from orchestrator.evaluation.rows.slices import write_slice_columns
from orchestrator.evaluation.rows.suspected_labels import suspected_labels, write_suspected_labels
from orchestrator.evaluation.rows.worst_rows import NOTHING, write_worst_rows
from orchestrator.objective.protocol import FindsAnswers, Objective, Splits, WritesAnswers
from orchestrator.objective.rows.slice_columns import slice_names
from orchestrator.objective.rows.text_pairs import row_texts


def write_row_checks(
    sweep_dir: Path, objective: Objective, splits: Splits, records: Sequence[TrialRecord], metric: Metric
) -> None:
    """Write ``test_slices.json``, ``worst_rows.csv`` and, with stored logits, ``suspected_labels.csv``.

    Args:
        sweep_dir: folder of the sweep.
        objective: the task.
        splits: its rows.
        records: the trials, with their test metrics.
        metric: decides the best checkpoint of a trial.

    Raises:
        OSError: the disk is full.
    """
    columns = slice_names(splits.test, objective.labels, str(getattr(objective, "target", "")))
    if columns:
        write_slice_columns(sweep_dir, columns)
    rows = {"validation": splits.validation, "test": splits.test}
    adapters, tested = [], []
    for record in of_the_search(records):
        validation = kept_validation(sweep_dir, record, metric)
        test = kept_measurement(sweep_dir, record, metric)
        if test is not None and len(test.rows.losses) == len(splits.test):
            tested.append(at_threshold(test.rows, row_threshold(test.rows, validation)))
        if validation is not None and test is not None:
            measured = {"validation": validation.rows, "test": test.rows}
            if all(len(measured[split].logits) == len(rows[split]) for split in rows):
                adapters.append(measured)
    if tested and "text" in splits.test.column_names:
        targets = _targets(objective, splits)
        write_worst_rows(sweep_dir, tested, objective.labels, row_texts(splits.test), targets)
    if adapters and all("text" in each.column_names for each in rows.values()):
        texts = {split: row_texts(each) for split, each in rows.items()}
        write_suspected_labels(sweep_dir, suspected_labels(adapters), objective.labels, texts)


def _targets(objective: Objective, splits: Splits) -> Sequence[str]:
    """Return the right answer of each test row; empty if the task writes and finds none."""
    if isinstance(objective, FindsAnswers):
        return [" | ".join(answers) or NOTHING for answers in objective.true_answers(splits.test)]
    if isinstance(objective, WritesAnswers) and objective.generation_metrics:
        return objective.references(splits.test)
    return ()
