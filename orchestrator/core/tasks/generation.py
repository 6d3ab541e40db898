"""How the answers of a generative task are written and measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from orchestrator.core.metric import Direction

GENERATION_METRICS: Mapping[str, Direction] = dict.fromkeys(
    ("rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "exact_match"), Direction.MAXIMIZE
)
"""The metrics of answers (``orchestrator.evaluation.generation.metrics``), with their directions."""

UNFINISHED_ANSWERS = "unfinished_answers"
"""Metric: the rows whose answer the time limit ended, such as ``val/unfinished_answers``; absent without such a row."""
TIME_LIMIT_S = 3600.0
"""Default of ``generation.time_limit``: far above the time needed, because a limit that ends answers depends on the
machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """The section ``generation`` of a sweep file.

    Attributes:
        rows: most validation rows answered at a report.
        test_rows: most test rows answered by each kept adapter and by the baseline, after the search.
        every: trials write answers at every report with a multiple of this number, and at their last one; None: at no
            report.
        max_new_tokens: most tokens of an answer; None: the 99th percentile of the training targets.
        time_limit_s: longest time for the answers of a model to the rows of one measurement; None: no limit.
        searched: whether the search compares trials by a metric of answers.
    """

    rows: int = 64
    test_rows: int = 256
    every: int | None = None
    max_new_tokens: int | None = None
    time_limit_s: float | None = TIME_LIMIT_S
    searched: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationPlan:
    """The generation of a sweep.

    Attributes:
        max_new_tokens: most tokens of an answer, its end token included.
        rows, test_rows, every, time_limit_s: as in ``GenerationRequest``. A pack has the time of all its trials.
    """

    max_new_tokens: int
    rows: int = 64
    test_rows: int = 256
    every: int | None = None
    time_limit_s: float | None = TIME_LIMIT_S

    def is_due(self, point: int, points: Sequence[int]) -> bool:
        """Return whether a trial writes answers at a report point.

        Args:
            point: the report point.
            points: all report points of the trial, ascending.
        """
        if self.every is None:
            return False
        return point == points[-1] or (points.index(point) + 1) % self.every == 0

    def num_reports(self, points: Sequence[int]) -> int:
        """Return at how many of a trial's report points it writes answers."""
        return sum(self.is_due(point, points) for point in points)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``; unknown keys are ignored."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in names})
