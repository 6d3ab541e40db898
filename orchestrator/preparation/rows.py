"""The rows of a sweep, with their counts."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.core.data import Source
from orchestrator.core.sweeps.goal import names_of
from orchestrator.core.tasks.class_weights import NONE
from orchestrator.evaluation.forgetting import check_names
from orchestrator.objective.class_weights import class_weights
from orchestrator.objective.loading import with_classes
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.rows.languages import language_warning
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits import NearCopies, find_near_copies, folds
from orchestrator.objective.truncation import truncated
from orchestrator.report.data_text import data_lines
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.training.checks.model_check import CheckedModel, checked_splits
from orchestrator.training.data.general import general_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def read_rows(
    spec: SweepSpec, objective: Objective, say: Callable[[str], None] = lambda _line: None
) -> tuple[Objective, Splits, CheckedModel, NearCopies]:
    """Return the objective with its classes, the rows with a complete summary, the checked model, the near-duplicates.

    Args:
        spec: the checked sweep file.
        objective: its objective.
        say: shows each note, and each line of the summary except the rows by class, to the user.

    Raises:
        AssetError: the data or the model is not available.
        DataError: the data breaks a rule.
        ModelError: the model is damaged, or does not fit the task, the rows or their length.
        UserError: the search names a metric of forgetting that this model does not have, or the class weights do not
            fit the task.
    """
    check_names(names_of(spec.metric), objective.head)
    check_names(spec.stopping.early, objective.head, "early_stopping")
    objective, splits, checked = checked_splits(spec, with_classes(objective, spec.data.classes))
    if spec.data.general is not None:
        general_texts(spec.data.general)  # an error here, not after the search
    for note in checked.notes:
        say(note)
    folds(splits, spec.data)  # refuses too few rows before anything is trained
    splits, near_copies = with_near_copies(with_language_warning(splits, spec.model))
    return objective, with_row_counts(spec, objective, splits, say, checked.tokenizer), checked, near_copies


def with_row_counts(
    spec: SweepSpec,
    objective: Objective,
    splits: Splits,
    say: Callable[[str], None] = lambda _line: None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> Splits:
    """Return the splits with a complete summary, including the number of rows cut to ``max_length`` tokens.

    Args:
        spec: the checked sweep file.
        objective: its objective.
        splits: the rows, as the objective read them.
        say: shows each line of the summary, except the rows by class, to the user.
        tokenizer: the base model's; None: it is loaded if it is needed.

    Raises:
        AssetError: the tokenizer is not available.
    """
    max_length = shortest_max_length(spec)
    counts = truncated(objective, splits, spec.model, max_length, tokenizer)
    weights = class_weights_text(spec, objective, splits)
    summary = replace(splits.summary, truncated=counts, max_length=max_length, class_weights=weights)
    for name, line in data_lines(row_counts(splits), summary, classes=False):
        say(f"{name}: {line}")
    return replace(splits, summary=summary)


def class_weights_text(spec: SweepSpec, objective: Objective, splits: Splits) -> str:
    """Return the possible class weights of the training loss in words; empty if there are none.

    Raises:
        UserError: the objective has no such weights, or a class does not exist.
    """
    trials = possible(spec.space, spec.fixed, ("class_weights",))
    settings = [*dict.fromkeys(str(trial["class_weights"]) for trial in trials)]
    texts = []
    for setting in settings:
        weights = class_weights(setting, objective, (row["label"] for row in splits.train))
        named = zip(objective.labels, weights or (), strict=False)
        texts.append(" · ".join(f"{name} {weight:.3g}" for name, weight in named) or setting)
    return "" if settings == [NONE] else f"{' or '.join(texts)}, in the training loss alone"


def shortest_max_length(spec: SweepSpec) -> int:
    """Return ``max_length`` of a sweep in tokens, the smallest if it is searched."""
    return max_lengths(spec)[0]


def max_lengths(spec: SweepSpec) -> list[int]:
    """Return the possible values of ``max_length`` in tokens, ascending."""
    trials = possible(spec.space, spec.fixed, ("max_length",))
    return sorted({int(str(trial["max_length"])) for trial in trials})


def row_counts(splits: Splits) -> dict[str, int]:
    """Return the number of rows by split; shift sets are named ``shift/<set>``."""
    return {name: len(rows) for name, rows in splits.by_name().items()}


def with_language_warning(splits: Splits, model: Source) -> Splits:
    """Return the splits with a warning in their summary if the base model is English and many rows are not."""
    if "text" not in splits.train.column_names:
        return splits
    warning = language_warning(model, row_texts(splits.train))
    if warning is None:
        return splits
    return replace(splits, summary=replace(splits.summary, warnings=(*splits.summary.warnings, warning)))


def with_near_copies(splits: Splits) -> tuple[Splits, NearCopies]:
    """Return the splits with a warning of near-duplicates in their summary, and the near-duplicates.

    Rows without a column ``text`` are not compared.
    """
    by_name = splits.by_name()
    named = {name: by_name[name] for name in ("test", "validation", "train")}
    if any("text" not in rows.column_names for rows in named.values()):
        return splits, NearCopies()
    found = find_near_copies({name: row_texts(rows) for name, rows in named.items()})
    if found.warning is None:
        return splits, found
    summary = replace(splits.summary, warnings=(*splits.summary.warnings, found.warning))
    return replace(splits, summary=summary), found
