"""Answers of a checkpoint and of the untuned base model on rows of a sweep."""

import copy
import logging
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.generation.answers import AnswerRows, ScoredAnswers, score
from orchestrator.evaluation.generation.write import new_tokens, write
from orchestrator.evaluation.measure import measure
from orchestrator.objective.protocol import Objective, Splits, WritesAnswers, generation_metrics
from orchestrator.objective.rows.selection import first_rows
from orchestrator.objective.target_length import writes
from orchestrator.training.context import EngineContext
from orchestrator.training.model.base_model import load_base
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXAMPLES = 3
"""Training rows in the prompt of the second baseline."""
CHOSEN_BY = "rouge_l"
"""Metric of validation rows that chooses between the prompts; the first metric of answers without it."""
logger = logging.getLogger(__name__)


def write_and_score(model: "PreTrainedModel | PeftModel", context: EngineContext, rows: AnswerRows) -> ScoredAnswers:
    """Return a model's answers to some rows with the objective's metrics of answers.

    The plan has a limit of tokens, and perhaps of time.
    """
    plan = context.generation
    assert plan is not None, "the plan measures answers"
    limit_s = plan.time_limit_s
    answers = write(model, rows.prompts, context.data.tokenizer, plan.max_new_tokens, time_limit_s=limit_s)
    return score(answers, rows.references, generation_metrics(context.objective))


def measure_untuned(plan: EnginePlan, objective: Objective, splits: Splits) -> dict[str, float]:
    """Return the metrics of the base model's answers, with a prompt without examples and with three training rows.

    ``val/<metric>`` and ``test/<metric>`` belong to the prompt with the better answers to validation rows, and
    ``untuned_0/...`` and ``untuned_3/...`` to each. The second prompt is left out if the model has too few positions.

    Args:
        plan: plan of the sweep; it has a limit of tokens.
        objective: has metrics of answers.
        splits: the rows.

    Raises:
        LoratoryError: the base model cannot be loaded.
    """
    settings = TrialSettings.from_params(plan.largest)
    found: dict[int, dict[str, float]] = {}
    with kept_random_state():
        with closing(EngineContext(plan, objective, splits)) as context:
            tokenizer, device = context.data.tokenizer, context.device
        model = load_base(plan.model, objective, device, quantisation=plan.quantisation).model.eval()
        for count in (0, EXAMPLES) if _takes_examples(objective) else (0,):
            prompted, length = with_examples(objective, splits, tokenizer, settings.max_length, count)
            with closing(EngineContext(plan, prompted, splits)) as context:
                measured = _answered(model, context, length, optional=count > 0)
            if measured is not None:
                found[count] = measured
    names = generation_metrics(objective)
    chosen_by = f"val/{CHOSEN_BY if CHOSEN_BY in names else next(iter(names))}"
    best = max(found.values(), key=lambda values: values[chosen_by])
    each = {f"untuned_{count}/{name}": value for count, values in found.items() for name, value in values.items()}
    return best | each


def _answered(
    model: "PreTrainedModel", context: EngineContext, length: int, *, optional: bool
) -> dict[str, float] | None:
    """Return the metrics of a model's answers to validation and test rows with prompts of at most ``length`` tokens.

    None if the answers are optional and the model has too few positions for the prompts.
    """
    plan = context.generation
    assert plan is not None, "the plan measures answers"
    settings = TrialSettings.from_params({**context.plan.largest, "max_length": length})
    task = TrialTask(number=0, settings=settings, seed=0)
    rows = {
        "val": context.data.answer_rows("validation", task, plan.rows),
        "test": context.data.answer_rows("test", task, plan.test_rows),
    }
    longest = max(len(prompt) for each in rows.values() for prompt in each.prompts)
    if optional and not _fits(model, longest, plan.max_new_tokens):
        logger.warning("the base model has too few positions for a prompt of %d tokens with examples", longest)
        return None
    measured = {split: write_and_score(model, context, each).metrics for split, each in rows.items()}
    return {f"{split}/{name}": value for split, each in measured.items() for name, value in each.items()}


def _fits(model: "PreTrainedModel", longest: int, most: int) -> bool:
    """Return whether a model has positions for a prompt of ``longest`` tokens and an answer of ``most`` tokens."""
    if not model.config.is_encoder_decoder:
        return new_tokens(model, longest, most) == most
    positions = getattr(model.config, "max_position_embeddings", None)  # of the encoder; T5 has relative ones
    return not isinstance(positions, int) or positions <= 0 or longest <= positions


def _takes_examples(objective: Objective) -> bool:
    """Return whether examples may stand before the objective's prompt; conversations have a template instead."""
    return isinstance(getattr(objective, "prompt", None), str) and not hasattr(objective, "chat_template")


def with_examples(
    objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase", max_length: int, count: int
) -> tuple[Objective, int]:
    """Return the objective with training rows before its prompt, and the length of a prompt with them in tokens.

    Args:
        objective: has a prompt.
        splits: the rows; the first of train are the examples.
        tokenizer: the base model's.
        max_length: limit of a row without examples; an example's text is cut to a quarter of it.
        count: number of examples.
    """
    if not count or not isinstance(objective, WritesAnswers):
        return objective, max_length
    prompt: str = getattr(objective, "prompt", "{text}")
    rows = first_rows(splits.train, count)
    start = ""
    for text, target in zip(rows["text"][:], objective.references(rows), strict=True):
        ids = tokenizer(text, add_special_tokens=False, truncation=True, max_length=max(16, max_length // 4))[
            "input_ids"
        ]
        example = prompt.replace("{text}", str(tokenizer.decode(ids)))
        answered = f"{example}{'' if example[-1:].isspace() else ' '}{target}\n\n"
        start += answered.replace("{text}", "{ text }")  # the row's own text stands at the first {text}
    bound: Any = copy.copy(objective)
    bound.prompt = start + prompt
    prompted: Objective = bound
    return prompted, max_length + len(tokenizer(start, add_special_tokens=False, verbose=False)["input_ids"])


def untuned_losses(plan: EnginePlan, objective: Objective, splits: Splits) -> dict[str, float]:
    """Return ``loss`` and the objective's other metrics of the base model on validation and test rows, in float32.

    Args:
        plan: plan of the sweep; rows have its largest ``max_length``.
        objective: has a head of the base model itself, so no weight is new.
        splits: the rows.

    Raises:
        LoratoryError: the base model cannot be loaded.
    """
    length = TrialSettings.from_params(plan.largest).max_length
    named: dict[str, float] = {}
    with kept_random_state(), closing(EngineContext(plan, objective, splits)) as context:
        model = load_base(plan.model, objective, context.device, quantisation=plan.quantisation).model
        for prefix, split in (("val", "validation"), ("test", "test")):
            found = measure(model, objective, context.data.split(split, length), context.data.tokenizer)
            named |= {f"{prefix}/{name}": value for name, value in found.metrics.items()}
    return named


def baseline_metrics(plan: EnginePlan, objective: Objective, splits: Splits) -> Mapping[str, float]:
    """Return the metrics of the objective's own baseline, and of the untuned model if the objective writes text."""
    found = dict(objective.baseline(splits) or {})
    if writes(objective):
        found = {**untuned_losses(plan, objective, splits), **found}
    if plan.generation is not None and generation_metrics(objective):
        found |= measure_untuned(plan, objective, splits)
    return found
