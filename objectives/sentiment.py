"""Classifies a text as positive or negative. Trained on movie reviews; other packaged sets serve as shift sets."""

from objectives.classification import Classification
from orchestrator.core.data import Origin, Source
from orchestrator.evaluation.metrics import BASIC


class Sentiment(Classification):
    """Binary sentiment of short texts."""

    name = "sentiment"
    labels: tuple[str, ...] = ("negative", "positive")
    metrics = BASIC
    default_metric = "val/accuracy"
    default_source = Source(origin=Origin.PACKAGED, name="vader-movie")


OBJECTIVE = Sentiment()
