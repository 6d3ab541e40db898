"""The class that runs a base model with an adapter, by the head."""

from typing import TYPE_CHECKING

from orchestrator.objective.protocol import Head
from orchestrator.tracking.environment import load_mlflow

if TYPE_CHECKING:
    from orchestrator.tracking.adapter_model import AdapterRunner


def runner_class(head: str) -> "type[AdapterRunner]":
    """Return the runner for a head; it imports mlflow."""
    load_mlflow()
    from orchestrator.tracking.adapter_model import AdapterRunner
    from orchestrator.tracking.answer_model import AnswerRunner
    from orchestrator.tracking.entity_model import EntityRunner

    kinds = {Head.QUESTION_ANSWERING: AnswerRunner, Head.TOKEN_CLASSIFICATION: EntityRunner}
    return kinds.get(Head(head), AdapterRunner)
