"""Classifies a news article into five topics."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits


class Topic(TextClassification):
    """Topic of an article's body. The default metric is macro-F1, because classes differ in size."""

    name = "topic"
    labels: tuple[str, ...] = ("business", "entertainment", "politics", "sports", "tech")
    metrics: Mapping[str, Direction] = {
        "loss": Direction.MINIMIZE,
        "accuracy": Direction.MAXIMIZE,
        "macro_f1": Direction.MAXIMIZE,
    }
    default_metric = "val/macro_f1"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")

    def measure(self, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
        """Return accuracy and macro-F1."""
        return classification_metrics(pairs, len(self.labels))

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Fit TF-IDF and logistic regression on the same rows."""
        return tfidf_baseline(splits, len(self.labels))


OBJECTIVE = Topic()
