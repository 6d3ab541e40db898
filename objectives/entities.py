"""Finds entities in a text: people, places, amounts … The types are found in the data."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.entities.entity_metrics import ENTITIES, entity_counts, entity_metrics, word_baseline
from orchestrator.objective.entities.token_classification import TokenClassification
from orchestrator.objective.protocol import Splits


class Entities(TokenClassification):
    """Any number of entities per text."""

    name = "entities"
    metrics: Mapping[str, Direction] = ENTITIES
    default_metric = "val/f1"
    default_source = Source(origin=Origin.PACKAGED, name="news-entities")

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
        """Return the metrics; see ``orchestrator.evaluation.entities``."""
        return entity_metrics(self._named(pairs))

    def row_scores(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, list[float]]:
        """Return the right, predicted and true entities of each row."""
        return entity_counts(self._named(pairs))

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Give each word its most frequent tag in train."""
        return word_baseline(splits)

    def _named(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[list[str], list[str]]]:
        return [([self.labels[tag] for tag in ours], [self.labels[tag] for tag in theirs]) for ours, theirs in pairs]


OBJECTIVE = Entities()
"""The objective of this file."""
