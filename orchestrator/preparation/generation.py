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
    most = default_new_tokens(objective, splits.train, tokenizer, max_length)
    say(f"answers: at most {most} tokens ({SHARE:.0%} of the training targets are no longer)")
    return GenerationPlan(max_new_tokens=most)
