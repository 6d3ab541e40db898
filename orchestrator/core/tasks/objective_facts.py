"""The facts of an objective used to check a sweep file. Plain values, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.data import Source
from orchestrator.core.metric import Direction


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveFacts:
    """Metrics and defaults of an objective, with the names of ``orchestrator.objective.protocol.Objective``.

    Attributes:
        metrics: direction by metric, without a split's prefix: ``{"loss": MINIMIZE, "accuracy": MAXIMIZE}``.
        default_metric: the searched metric if the sweep file names none, with its split: ``val/accuracy``.
        default_model: the base model if the sweep file names none.
        default_source: the data if the sweep file names none.
        labels: class names in the order of their ids; empty if the task has no classes, None if they are unknown.
        generated: names of the metrics of generated answers, on validation and test rows alone; a part of ``metrics``.
        loss_settings: names of the settings that its loss depends on, such as ``beta``.
        one_class: whether each row has one class, needed by class weights; True if unknown.
        complete: whether ``metrics`` is complete; False if the file was read without execution and computes them.
    """

    metrics: Mapping[str, Direction]
    default_metric: str
    default_model: Source
    default_source: Source
    labels: tuple[str, ...] | None = None
    loss_settings: tuple[str, ...] = ()
    one_class: bool = True
    complete: bool = True
    generated: frozenset[str] = frozenset()
