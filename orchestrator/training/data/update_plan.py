"""The rows of a trial in training and in its reports, the same for every engine."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.class_weights import class_weights
from orchestrator.objective.protocol import Example
from orchestrator.objective.rows.encoded_rows import lengths_of, values_of
from orchestrator.training.data.order import data_order

if TYPE_CHECKING:
    from orchestrator.training.data.task_data import TaskData


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdatePlan:
    """The optimizer steps ("updates") of a trial, a function of its settings and its seed.

    Attributes:
        rows: encoded training rows.
        order: indices into ``rows``, one list per update.
        tokens: tokens seen after 0, 1, 2 ... updates, without padding.
        due: the number of updates after which each report point is reported; points within one update share it.
        splits: the rows measured at a report, by the prefix of their metrics.
        class_weights: weight of each class in the training loss; None: all rows count alike.
    """

    rows: Sequence[Example]
    order: list[list[int]]
    tokens: list[int]
    due: Mapping[int, int]
    splits: Mapping[str, Sequence[Example]]
    class_weights: tuple[float, ...] | None = None

    @classmethod
    def create(cls, data: "TaskData", task: TrialTask, timetable: Timetable) -> "UpdatePlan":
        """Return the plan of a trial."""
        settings = task.settings
        points = timetable.of(settings)
        due = {point: math.ceil(point / settings.rows_per_update) for point in points}
        rows = data.train(task)
        lengths = lengths_of(rows)
        order = data_order(lengths, settings.rows_per_update, due[points[-1]], task.seed)
        tokens = [0, *accumulate(sum(lengths[row] for row in update) for update in order)]
        splits = {"train": data.train_eval(task), "val": data.validation(task)}
        weights = class_weights(settings.class_weights, data.objective, _labels(rows))
        return cls(rows=rows, order=order, tokens=tokens, due=due, splits=splits, class_weights=weights)


def _labels(rows: Sequence[Example]) -> "Iterator[Any]":
    yield from values_of(rows, "labels")  # read only if the weights need them
