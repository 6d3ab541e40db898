"""Cut rows into train, validation and test, and clean the sets of other distributions."""

from orchestrator.objective.splits.cutting import Cut, Cutting, verify_disjoint
from orchestrator.objective.splits.read import read_splits, shift_columns
from orchestrator.objective.splits.rules import RULES, SplitRule, key_of, normalised, rule_of

__all__ = [
    "RULES",
    "Cut",
    "Cutting",
    "SplitRule",
    "key_of",
    "normalised",
    "read_splits",
    "rule_of",
    "shift_columns",
    "verify_disjoint",
]
