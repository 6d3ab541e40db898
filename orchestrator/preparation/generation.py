"""The plan of the answers of a generative task."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.core.generation import GenerationPlan
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.target_length import SHARE, default_new_tokens, writes
from orchestrator.spec.possible import possible
from orchestrator.spec.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    return GenerationPlan(max_new_tokens=most, rows=request.rows, test_rows=request.test_rows, every=request.every)
