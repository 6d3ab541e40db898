"""The quality of the kept adapters and of the rows: slices, classes, targets, answers, calibration, label errors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.core.metric import Metric
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.calibration import AdapterCalibration, kept_calibration
from orchestrator.evaluation.extractive_qa.answer_scores import AnswerScores, answer_scores
from orchestrator.evaluation.measurement_file import kept_measurement, kept_validation
from orchestrator.evaluation.rows.class_scores import ClassScores, class_scores
from orchestrator.evaluation.rows.slices import SMALL, Slice, measured_slices, read_slice_columns, worst_slice
from orchestrator.evaluation.rows.suspected_labels import FILE, count_suspected_labels, label_limit
from orchestrator.evaluation.rows.target_errors import TargetErrors, target_errors
from orchestrator.evaluation.rows.worst_rows import worst_rows_sentence
from orchestrator.report import words


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Slices and calibration of the kept adapters by trial, and the suspected label errors.

    Attributes:
        slices: slices of the test rows; trials without stored rows are missing.
        classes: scores of each class on the test rows; trials without class ids are missing.
        label_limits: the searched metric on validation and test by name, such as ``val/accuracy``, if the suspected
            labels are wrong and a model is right on every row; splits without a suspected label are missing.
        targets: errors of each target on the test rows; only in regression.
        answers: scores of the rows with and without an answer; only in extractive question answering.
        worst_rows: the worst test row in words; None without stored rows.
        calibrations: calibration on the test rows; trials without class logits are missing.
        suspected: number of suspected label errors by split; None: not searched.
    """

    slices: Mapping[int, tuple[Slice, ...]] = field(default_factory=dict)
    calibrations: Mapping[int, AdapterCalibration] = field(default_factory=dict)
    suspected: Mapping[str, int] | None = None
    classes: Mapping[int, ClassScores] = field(default_factory=dict)
    label_limits: Mapping[str, float] = field(default_factory=dict)
    worst_rows: str | None = None
    targets: Mapping[int, TargetErrors] = field(default_factory=dict)
    answers: Mapping[int, AnswerScores] = field(default_factory=dict)

    def lines(self, winner: int | None) -> list[tuple[str, str]]:
        """Return pairs of a name and a sentence without a full stop.

        Args:
            winner: trial with the shown slice and calibration; None: only the suspected labels are shown.
        """
        lines = []
        worst = None if winner is None else worst_slice(self.slices.get(winner, ()))
        if worst is not None:
            lines.append(("worst slice", slice_sentence(worst, len(self.slices[winner]) if winner is not None else 0)))
        if winner is not None and winner in self.classes:
            lines.append(("classes", self.classes[winner].sentence))
        if winner is not None and winner in self.targets:
            lines.append(("targets", self.targets[winner].sentence))
        if winner is not None and winner in self.answers:
            lines.append(("answers", self.answers[winner].sentence))
        if winner is not None and winner in self.calibrations:
            lines.append(("calibration", self.calibrations[winner].sentence))
        if self.worst_rows is not None:
            lines.append(("worst rows", self.worst_rows))
        if self.suspected is not None and any(self.suspected.values()):
            counts = " and ".join(f"{words.count(n)} of {split}" for split, n in self.suspected.items() if n)
            sentence = f"every kept adapter contradicts the labels of {counts} rows: wrong labels or hard rows"
            if self.label_limits:
                limits = " and ".join(f"{name} {words.number(value)}" for name, value in self.label_limits.items())
                sentence += f" (if all are wrong, a model without errors reaches {limits})"
            lines.append(("labels", f"{sentence}; {FILE} in the sweep's folder lists them, the most certain first"))
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return plain values by trial: ``slices``, ``worst_slice``, ``class_scores``, and others."""
        return {
            "slices": {number: [_slice_json(each) for each in slices] for number, slices in self.slices.items()},
            "worst_slice": {
                number: _slice_json(worst)
                for number, slices in self.slices.items()
                if (worst := worst_slice(slices)) is not None
            },
            "class_scores": {number: each.to_json() for number, each in self.classes.items()},
            "target_errors": {number: each.to_json() for number, each in self.targets.items()},
            "answer_scores": {number: each.to_json() for number, each in self.answers.items()},
            "worst_rows": self.worst_rows,
            "calibration": {number: asdict(each) for number, each in self.calibrations.items()},
            "suspected_labels": self.suspected,
            "label_limits": dict(self.label_limits),
        }


def quality(sweep_dir: Path, records: Sequence[TrialRecord], metric: Metric, labels: Sequence[str] = ()) -> Quality:
    """Return the quality of a sweep's kept adapters and rows from the files in its folder.

    Args:
        sweep_dir: folder of the sweep.
        records: the trials, in any order.
        metric: the searched metric.
        labels: class names in the order of their ids; empty: no scores of classes.
    """
    columns = read_slice_columns(sweep_dir)
    slices, calibrations, classes, targets, answers = {}, {}, {}, {}, {}
    for record in of_the_search(records):
        measured = kept_measurement(sweep_dir, record, metric)
        if measured is None:
            continue
        slices[record.number] = measured_slices(measured.rows, columns)
        if (scores := class_scores(measured.rows, labels)) is not None:
            classes[record.number] = scores
        if (errors := target_errors(measured.rows, labels)) is not None:
            targets[record.number] = errors
        if measured.rows.answers and (found := answer_scores(measured, kept_validation(sweep_dir, record, metric))):
            answers[record.number] = found
        if (calibration := kept_calibration(sweep_dir, record, metric)) is not None:
            calibrations[record.number] = calibration
    suspected = count_suspected_labels(sweep_dir)
    return Quality(
        slices=slices,
        calibrations=calibrations,
        suspected=suspected,
        label_limits={} if not suspected else _label_limits(sweep_dir, records, metric, labels, suspected),
        classes=classes,
        targets=targets,
        answers=answers,
        worst_rows=worst_rows_sentence(sweep_dir),
    )


def _label_limits(
    sweep_dir: Path,
    records: Sequence[TrialRecord],
    metric: Metric,
    labels: Sequence[str],
    suspected: Mapping[str, int],
) -> dict[str, float]:
    limits: dict[str, float] = {}
    kind = metric.name.rpartition("/")[2]
    for prefix, split, kept in (("val", "validation", kept_validation), ("test", "test", kept_measurement)):
        if not suspected[split]:  # most sweeps: no measurement is read
            continue
        stored = (kept(sweep_dir, record, metric) for record in of_the_search(records))
        measured = next((each for each in stored if each is not None and each.rows.references), None)
        if measured is not None:
            limit = label_limit(sweep_dir, split, measured, labels, kind)
            limits |= {} if limit is None else {f"{prefix}/{kind}": limit}
    return limits


def slice_sentence(worst: Slice, count: int) -> str:
    """Return the worst slice in words, without a full stop.

    Args:
        worst: the slice.
        count: number of slices compared.
    """
    small = f"; fewer than {SMALL} rows" if worst.small else ""
    return (
        f"{worst.column} = {worst.name}: {worst.metric} {words.number(worst.value, 3)} "
        f"({words.number(worst.low, 3)} to {words.number(worst.high, 3)}) on {worst.rows:,} test rows, the worst of "
        f"{count} slices{small}"
    )


def _slice_json(each: Slice) -> dict[str, Any]:
    return {**asdict(each), "small": each.small}
