"""Gives a text any number of classes, found in the data: lists of names, or a column per class."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.vector_baselines import multi_label_baseline
from orchestrator.evaluation.vector_metrics import MULTI_LABEL, VectorPair, multi_label_metrics
from orchestrator.objective.protocol import Splits
from orchestrator.objective.vector_labels import MultiLabelClassification


class MultiLabel(MultiLabelClassification):
    """Several classes per text."""

    name = "multi_label"
    metrics: Mapping[str, Direction] = MULTI_LABEL
    default_metric = "val/micro_f1"
    default_source = Source(origin=Origin.PACKAGED, name="news-mentions")

    def measure(self, pairs: Sequence[VectorPair]) -> dict[str, float]:
        """Return the metrics; see ``orchestrator.evaluation.vector_metrics``."""
        return multi_label_metrics(pairs)

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Fit TF-IDF and a logistic regression per class on the same rows."""
        return multi_label_baseline(splits)


OBJECTIVE = MultiLabel()
