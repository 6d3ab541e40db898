"""Classifies a news article into five topics."""

from objectives.classification import Classification
from orchestrator.core.data import Origin, Source
from orchestrator.evaluation.metrics import BASIC


class Topic(Classification):
    """Topic of an article's body. The default metric is macro-F1, because classes differ in size."""

    name = "topic"
    labels: tuple[str, ...] = ("business", "entertainment", "politics", "sports", "tech")
    metrics = BASIC
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")


OBJECTIVE = Topic()
