"""Scores of each class of a classifier, and its confusion matrix, from the stored rows of a measurement.

With several labels per row, and for the types of entities, each class is scored by itself, and there is no confusion
matrix. Entities are counted instead of rows.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.entities.counts import COUNTS


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """One class on the rows of a split.

    Attributes:
        name: the class.
        rows: number of rows with this label, or of entities of this type.
        predicted: number of rows with this prediction, or of predicted entities.
        hits: number of rows with both, or of entities that are right.
    """

    name: str
    rows: int
    predicted: int
    hits: int

    @property
    def precision(self) -> float | None:
        """Share of the predictions of this class that are right, in [0, 1]; None without a prediction."""
        return self.hits / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the rows of this class that are found, in [0, 1]; None without a row."""
        return self.hits / self.rows if self.rows else None

    @property
    def f1(self) -> float | None:
        """2 · hits / (rows + predicted), in [0, 1]; None if the class is neither label nor prediction of a row."""
        return 2 * self.hits / (self.rows + self.predicted) if self.rows + self.predicted else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """The classes of one adapter on the test rows, in the order of their ids.

    Attributes:
        classes: scores of each class.
        confusion: number of rows by label (first index) and prediction; empty with several labels per row.
        unit: the items counted: ``rows`` or ``entities``.
    """

    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    unit: str = "rows"

    @property
    def sentence(self) -> str:
        """The class with the lowest F1 and the most frequent confusion, without a full stop."""
        scored = [(each.f1, each) for each in self.classes if each.f1 is not None and each.rows]
        if not scored:
            return f"no {self.unit} have a class"
        f1, worst = min(scored, key=lambda pair: pair[0])
        text = f"{worst.name} has the lowest F1, {f1:.3f} ({worst.hits} of {worst.rows:,} {self.unit} found)"
        counts = [
            (count, label, prediction)
            for label, row in enumerate(self.confusion)
            for prediction, count in enumerate(row)
            if label != prediction
        ]
        most, label, prediction = max(counts, key=lambda each: each[0], default=(0, 0, 0))
        if not most:
            return text
        names = [each.name for each in self.classes]
        rows = f"{most:,} row{'' if most == 1 else 's'} of {names[label]} predicted as {names[prediction]}"
        return f"{text}; the most frequent confusion: {rows}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values: ``classes`` with their scores, and ``confusion``."""
        scores = [
            {**asdict(each), "precision": each.precision, "recall": each.recall, "f1": each.f1} for each in self.classes
        ]
        return {"classes": scores, "confusion": self.confusion}


def class_scores(rows: RowMeasures, names: Sequence[str]) -> ClassScores | None:
    """Return the scores of each class or type of entity; None without these, or if a class id has no name.

    Args:
        rows: the rows of a measurement.
        names: class names in the order of their ids.
    """
    if rows.true_class_sets:
        return _of_sets(rows, names)
    if (types := _of_entities(rows)) is not None:
        return types
    if not rows.references or max(*rows.references, *rows.predictions) >= len(names):
        return None
    confusion = [[0] * len(names) for _ in names]
    for label, prediction in zip(rows.references, rows.predictions, strict=True):
        confusion[label][prediction] += 1
    scores = tuple(
        ClassScore(
            name=name,
            rows=sum(confusion[place]),
            predicted=sum(row[place] for row in confusion),
            hits=confusion[place][place],
        )
        for place, name in enumerate(names)
    )
    return ClassScores(classes=scores, confusion=tuple(map(tuple, confusion)))


def _of_sets(rows: RowMeasures, names: Sequence[str]) -> ClassScores | None:
    predicted, true, hits = Counter[int](), Counter[int](), Counter[int]()
    for found, wanted in zip(rows.class_sets, rows.true_class_sets, strict=True):
        predicted.update(found)
        true.update(wanted)
        hits.update({*found} & {*wanted})
    if max([*predicted, *true], default=0) >= len(names):
        return None
    scores = tuple(
        ClassScore(name=name, rows=true[place], predicted=predicted[place], hits=hits[place])
        for place, name in enumerate(names)
    )
    return ClassScores(classes=scores, confusion=())


def _of_entities(rows: RowMeasures) -> ClassScores | None:
    """Return the scores of each type of entity; None for another task, and for rows stored without types."""
    right, predicted, true = (f"{name}/" for name in COUNTS)
    types = [name.removeprefix(true) for name in rows.scores if name.startswith(true)]
    if not types:
        return None
    scores = tuple(
        ClassScore(
            name=kind,
            rows=int(sum(rows.scores[true + kind])),
            predicted=int(sum(rows.scores[predicted + kind])),
            hits=int(sum(rows.scores[right + kind])),
        )
        for kind in types
    )
    return ClassScores(classes=scores, confusion=(), unit="entities")
