"""Classifies a text by the labels found in its data: names, numbers or booleans, each one a class."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import CLASSIFICATION, NEED_LOGITS, classification_metrics
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits

if TYPE_CHECKING:
    import torch


class Classification(TextClassification):
    """One class per text. A subclass may state its own ``labels`` and fewer ``metrics``."""

    name = "classification"
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Direction] = CLASSIFICATION
    default_metric = "val/macro_f1"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(logits by class, true id)`` per row, or ``(predicted id, true id)`` if no metric needs logits."""
        if not NEED_LOGITS & self.metrics.keys():
            return super().predictions(logits, batch)
        return [*zip(logits.float().tolist(), batch["labels"].tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, int]]) -> dict[str, float]:
        """Return the metrics; see ``orchestrator.evaluation.metrics`` for their rules."""
        return classification_metrics(pairs, len(self.labels), self.metrics)

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Fit TF-IDF and logistic regression on the same rows."""
        return tfidf_baseline(splits, len(self.labels), self.metrics)


OBJECTIVE = Classification()
