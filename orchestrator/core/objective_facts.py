"""What a sweep file needs to know of an objective in order to be checked: plain values, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.data import Source
from orchestrator.core.metric import Direction


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveFacts:
    """An objective's metrics and defaults, named as in the protocol ``orchestrator.objective.protocol.Objective``.

    Attributes:
        metrics: direction by metric, without a split's prefix: ``{"loss": MINIMIZE, "accuracy": MAXIMIZE}``.
        default_metric: the metric that is searched if the sweep file names none, with its split: ``val/accuracy``.
        default_model: the base model if the sweep file names none.
        default_source: the data if the sweep file names none.
        labels: class names in the order of their ids; empty if the task has no classes, None if they are not known.
        complete: whether these are all metrics; False where a file was read without being run, and says it in code.
    """

    metrics: Mapping[str, Direction]
    default_metric: str
    default_model: Source
    default_source: Source
    labels: tuple[str, ...] | None = None
    complete: bool = True
