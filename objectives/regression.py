"""Predicts one or several numbers for a text."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.vector_baselines import regression_baseline
from orchestrator.evaluation.vector_metrics import REGRESSION, VectorPair, regression_metrics
from orchestrator.objective.protocol import Splits
from orchestrator.objective.vector_labels import TextRegression


class Regression(TextRegression):
    """One or several numbers per text; the default data are the ratings of movie reviews, from −4 to 4."""

    name = "regression"
    metrics: Mapping[str, Direction] = REGRESSION
    default_metric = "val/spearman"
    default_source = Source(origin=Origin.PACKAGED, name="vader-movie-ratings")

    def measure(self, pairs: Sequence[VectorPair]) -> dict[str, float]:
        """Return the metrics; see ``orchestrator.evaluation.vector_metrics``."""
        return regression_metrics(pairs)

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Fit TF-IDF and ridge regression on the same rows."""
        return regression_baseline(splits)


OBJECTIVE = Regression()
