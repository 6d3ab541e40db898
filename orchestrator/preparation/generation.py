"""The plan of the answers of a generative task."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.target_length import SHARE, default_new_tokens, writes
from orchestrator.report import words
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NEW_TOKEN = 5
"""Tokens of a prompt whose forward takes as long as one new token: 5.4 with SmolLM2 and 16 rows on 2 CPU cores."""
_SHARE_TEXT = "of the training targets are no longer"


def plan_generation(
    spec: SweepSpec,
    objective: Objective,
    splits: Splits,
    tokenizer: "PreTrainedTokenizerBase",
    say: Callable[[str], None],
) -> GenerationPlan | None:
    """Return how a sweep writes answers; None if its task writes none.

    Args:
        spec: the checked sweep file.
        objective: its objective.
        splits: its rows.
        tokenizer: the base model's.
        say: shows the limit of an answer to the user.
    """
    if not writes(objective):
        return None
    max_length = max(int(str(trial["max_length"])) for trial in possible(spec.space, spec.fixed, ("max_length",)))
    request, why = spec.generation, "generation.max_new_tokens"
    most = request.max_new_tokens
    if most is None:
        most, why = default_new_tokens(objective, splits.train, tokenizer, max_length), f"{SHARE:.0%} {_SHARE_TEXT}"
    say(f"answers: at most {most} tokens ({why})")
    return GenerationPlan(
        max_new_tokens=most,
        rows=request.rows,
        test_rows=request.test_rows,
        every=request.every,
        time_limit_s=request.time_limit_s,
    )


def answers_text(generation: GenerationPlan, plan: EnginePlan, rows: Mapping[str, int], row_tokens: float) -> str:
    """Return the answers of a sweep, and their share of a trial's time, in words.

    The share is an estimate from numbers of tokens: training costs three times a forward, and a new token as much as
    ``NEW_TOKEN`` tokens of a prompt.

    Args:
        generation: how answers are written.
        plan: plan of the engines.
        rows: number of rows by split.
        row_tokens: tokens of a row.
    """
    limit = f"at most {generation.max_new_tokens} tokens each"
    if generation.time_limit_s is not None:
        limit += f" and {words.duration(generation.time_limit_s)} for the answers of a model in one measurement"
        if plan.workers > 1:
            limit += " (the workers finish a batch of rows that they have begun)"
    test = f"{min(generation.test_rows, rows['test']):,} test rows by each kept adapter"
    points = plan.report_points
    reports = generation.num_reports(points)
    if not reports:
        return f"{limit}; {test}, none at reports"
    answered = min(generation.rows, rows["validation"])
    written = reports * answered * (row_tokens + NEW_TOKEN * generation.max_new_tokens)
    measured = len(points) * (rows["validation"] + min(plan.data.train_eval, rows["train"])) * row_tokens
    share = written / (written + measured + 3 * points[-1] * row_tokens)
    return (
        f"{limit}; {answered:,} validation rows at {reports} of {len(points)} reports, about {share:.0%} of a trial's "
        f"time (estimate from tokens); {test}"
    )
