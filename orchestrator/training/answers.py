"""Answers of a checkpoint on rows of a sweep."""

from typing import TYPE_CHECKING

from orchestrator.evaluation.generation.answers import AnswerRows, ScoredAnswers, score
from orchestrator.evaluation.generation.write import write
from orchestrator.objective.protocol import generation_metrics
from orchestrator.training.context import EngineContext

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def write_and_score(model: "PreTrainedModel | PeftModel", context: EngineContext, rows: AnswerRows) -> ScoredAnswers:
    """Return a model's answers to some rows with the objective's metrics of answers.

    The plan has a limit of tokens.
    """
    plan = context.generation
    assert plan is not None, "the plan measures answers"
    answers = write(model, rows.prompts, context.data.tokenizer, plan.max_new_tokens)
    return score(answers, rows.references, generation_metrics(context.objective))
