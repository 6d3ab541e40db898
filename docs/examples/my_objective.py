"""An objective of your own: which team should answer a support ticket?

Name this file in a sweep file, as in ``tickets.yaml``. The rows are in ``tickets.csv``: a text, a label and a group.
The group is optional; here it is the customer, and all rows of a customer stay in one split. Everything below the class
attributes is optional.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits


class Tickets(TextClassification):
    """Three teams, and a metric for missed urgent tickets."""

    name = "tickets"
    labels: tuple[str, ...] = ("billing", "outage", "question")
    metrics: Mapping[str, Direction] = {
        "loss": Direction.MINIMIZE,
        "accuracy": Direction.MAXIMIZE,
        "macro_f1": Direction.MAXIMIZE,
        "missed_outages": Direction.MINIMIZE,
    }
    default_metric = "val/macro_f1"
    default_source = Source(origin=Origin.LOCAL, name=str(Path(__file__).with_name("tickets.csv")))

    def measure(self, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
        """Return every metric named above, except the loss, from pairs of predicted and true label ids."""
        outage = self.labels.index("outage")
        found = [predicted == outage for predicted, true in pairs if true == outage]
        missed = 1 - sum(found) / len(found) if found else 0.0
        return {**classification_metrics(pairs, len(self.labels)), "missed_outages": missed}

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Return the metrics of a classical model on the same rows, as a comparison in the report."""
        return tfidf_baseline(splits, len(self.labels))


OBJECTIVE = Tickets()
