"""Classifies a text by the labels found in its data: names, numbers or booleans, each one a class."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits


class Classification(TextClassification):
    """One class per text; the classes are found in the column ``label``."""

    name = "classification"
    labels: tuple[str, ...] = ()
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


OBJECTIVE = Classification()
