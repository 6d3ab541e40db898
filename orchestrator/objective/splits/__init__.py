"""Splits rows into train, validation and test, and cleans shift sets."""

from orchestrator.objective.splits.folds import Fold, folds
from orchestrator.objective.splits.near_copies import FILE as NEAR_COPIES_FILE
from orchestrator.objective.splits.near_copies import NearCopies, NearCopy, find_near_copies, write_near_copies
from orchestrator.objective.splits.read import read_splits, shift_columns
from orchestrator.objective.splits.rules import RULES, SplitRule, key_of, normalised, rule_of
from orchestrator.objective.splits.splitter import SplitRows, Splitter

__all__ = [
    "NEAR_COPIES_FILE",
    "RULES",
    "Fold",
    "NearCopies",
    "NearCopy",
    "SplitRows",
    "SplitRule",
    "Splitter",
    "find_near_copies",
    "folds",
    "key_of",
    "normalised",
    "read_splits",
    "rule_of",
    "shift_columns",
    "write_near_copies",
]
