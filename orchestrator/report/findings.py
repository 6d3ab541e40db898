"""A finding of a sweep: one sentence, the rule behind it, and the numbers it rests on."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Rule(enum.StrEnum):
    """The rule of a finding. JSON has its value."""

    END = "end"
    BASELINE = "baseline"
    FIRST_GUESS = "first_guess"
    IMPORTANCE = "importance"
    TIES = "ties"
    FRESH_SEEDS = "fresh_seeds"
    LENGTH = "length"
    BOUNDS = "bounds"
    MORE_TRIALS = "more_trials"
    MORE_ROWS = "more_rows"
    LABELS = "labels"
    LONGER_TRAINING = "longer_training"
    LARGER_MODEL = "larger_model"
    WIDER_RANGES = "wider_ranges"


TOPICS: Mapping[Rule, str] = {
    Rule.END: "why it ended",
    Rule.BASELINE: "against the baseline",
    Rule.FIRST_GUESS: "against the first guess",
    Rule.IMPORTANCE: "what mattered",
    Rule.TIES: "what is equally good",
    Rule.FRESH_SEEDS: "with fresh seeds",
    Rule.LENGTH: "length of training",
    Rule.BOUNDS: "bounds of the space",
}
"""Heading of each rule. The other rules are advice."""
ADVICE = "what to try next"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        rule: the rule that made it.
        sentence: the finding in words, with full stops.
        numbers: the numbers behind it by name.
        known: False if the stored numbers do not answer the question; the sentence names what is missing.
    """

    rule: Rule
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    known: bool = True

    @property
    def topic(self) -> str:
        """The heading of the finding."""
        return TOPICS.get(self.rule, ADVICE)


def unknown(rule: Rule, sentence: str, **numbers: float) -> Finding:
    """Return a finding that states what cannot be said, and why."""
    return Finding(rule=rule, sentence=f"Cannot say: {sentence}", numbers=numbers, known=False)
