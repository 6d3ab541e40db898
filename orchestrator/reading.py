"""The rows of a sweep with their counts, before anything is planned."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.truncation import truncated
from orchestrator.report.data_text import data_lines
from orchestrator.search.sweeps import newest_with_trials
from orchestrator.spec.possible import possible
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.training.checks.model_check import checked_splits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def with_stored_rule(spec: SweepSpec, ledger: Ledger | None) -> SweepSpec:
    """Return the spec with the split rule of the stored sweep that it goes on with, so that its rows stay the same.

    A sweep that has no trials binds nothing: it takes the newest rule.
    """
    stored = None if ledger is None else newest_with_trials(ledger, spec.name)
    if stored is None:
        return spec
    return replace(spec, data=replace(spec.data, split_rule=stored.fingerprint.get("split_rule", 1)))


def read_rows(
    spec: SweepSpec, objective: Objective, say: Callable[[str], None] = lambda _line: None
) -> tuple[Splits, tuple[str, ...]]:
    """Return the rows with a complete summary, and what a person should know of the base model, a sentence each.

    Args:
        spec: the checked sweep file.
        objective: its objective.
        say: told each of these sentences, and each line of the summary but the rows by class.

    Raises:
        AssetError: the data or the model cannot be had.
        DataError: the data breaks a rule.
        ModelError: the model is damaged, or does not suit the task, the rows or their length.
    """
    splits, notes, tokenizer = checked_splits(spec, objective)
    for note in notes:
        say(note)
    return counted(spec, objective, splits, say, tokenizer), notes


def counted(
    spec: SweepSpec,
    objective: Objective,
    splits: Splits,
    say: Callable[[str], None] = lambda _line: None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> Splits:
    """Return the splits with a complete summary: the rows that are cut to ``max_length`` tokens are counted too.

    Args:
        spec: the checked sweep file.
        objective: its objective.
        splits: what the objective read.
        say: told each line of the summary but the rows by class.
        tokenizer: the base model's; None: it is loaded if it is needed.

    Raises:
        AssetError: the tokenizer cannot be had.
    """
    max_length = min(int(str(trial["max_length"])) for trial in possible(spec.space, spec.fixed, ("max_length",)))
    found = truncated(objective, splits, spec.model, max_length, tokenizer)
    summary = replace(splits.summary, truncated=found, max_length=max_length)
    for name, line in data_lines(row_counts(splits), summary, classes=False):
        say(f"{name}: {line}")
    return replace(splits, summary=summary)


def row_counts(splits: Splits) -> dict[str, int]:
    """Return the number of rows by split; shift sets are named ``shift/<set>``."""
    return {name: len(rows) for name, rows in splits.by_name().items()}
