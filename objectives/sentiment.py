"""Classifies a text as positive or negative. Trained on movie reviews; other packaged sets serve as shift sets."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits


class Sentiment(TextClassification):
    """Binary sentiment of short texts."""

    name = "sentiment"
    labels: tuple[str, ...] = ("negative", "positive")
    metrics: Mapping[str, Direction] = {
        "loss": Direction.MINIMIZE,
        "accuracy": Direction.MAXIMIZE,
        "macro_f1": Direction.MAXIMIZE,
    }
    default_metric = "val/accuracy"
    default_source = Source(origin=Origin.PACKAGED, name="vader-movie")

    def measure(self, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
        """Return accuracy and macro-F1."""
        return classification_metrics(pairs, len(self.labels))

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Fit TF-IDF and logistic regression on the same rows."""
        return tfidf_baseline(splits, len(self.labels))


OBJECTIVE = Sentiment()
