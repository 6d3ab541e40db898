"""Answers a question by a part of its context, in the form of SQuAD 1.1 and 2.0."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.extractive_qa.baseline import overlap_baseline
from orchestrator.evaluation.extractive_qa.row_scores import answer_metrics, row_scores
from orchestrator.evaluation.extractive_qa.squad import EXTRACTIVE_QA, AnswerPair
from orchestrator.objective.extractive_qa.extractive_qa import ExtractiveQA
from orchestrator.objective.protocol import Splits


class SquadQA(ExtractiveQA):
    """Extractive question answering with SQuAD's metrics, also with unanswerable questions."""

    name = "extractive_qa"
    metrics: Mapping[str, Direction] = EXTRACTIVE_QA
    default_metric = "val/f1"
    default_source = Source(origin=Origin.HUB, name="rajpurkar/squad_v2")

    def measure(self, pairs: Sequence[AnswerPair]) -> dict[str, float]:
        """Return the metrics; see ``orchestrator.evaluation.extractive_qa.squad`` for their rules."""
        return answer_metrics(pairs)

    def row_scores(self, pairs: Sequence[AnswerPair]) -> dict[str, list[float]]:
        """Return the metrics of each row, and the values for the threshold of no answer."""
        return row_scores(pairs)

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Answer with words near those of the question; see ``orchestrator.evaluation.extractive_qa.baseline``."""
        return overlap_baseline(splits)


OBJECTIVE = SquadQA()
