"""The protocol of objectives. An objective declares one task; engines implement the training loop.

Tensor names end in their shapes: B rows, T input tokens, S target tokens, C classes, V vocabulary. Objectives do not
depend on Ray, Optuna, MLflow or an engine. They import torch inside their methods: checks of a sweep file run without
it.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from orchestrator.core.data import DataPlan, DataSummary, Source
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.problem import Problem
from orchestrator.core.trials.row_measures import TextSpan
from orchestrator.core.trials.settings import TrialSettings

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class Head(enum.StrEnum):
    """The kind of the model's head; selects the transformers auto class."""

    SEQUENCE_CLASSIFICATION = "sequence_classification"
    TOKEN_CLASSIFICATION = "token_classification"  # noqa: S105  (the name of a task)
    """One output per class for every token."""
    QUESTION_ANSWERING = "question_answering"
    """Two outputs for every token: the start and the end of an answer."""
    CAUSAL_LM = "causal_lm"
    SEQ2SEQ_LM = "seq2seq_lm"

    @property
    def classifies(self) -> bool:
        """Whether the head has an output per class, for a row or for every token; it is new and trained in full."""
        return self in {Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING}

    @property
    def by_token(self) -> bool:
        """Whether the head has an output per class for every token."""
        return self in {Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING}


Example = dict[str, Any]
"""One encoded row: ``input_ids`` (list of int) and other inputs of the objective's ``collate``.

A row may hold several sequences that stay in one batch, see ``objective.sequences``.
"""
REFERENCE = "reference"
"""Key of the base model's values of a row, in an example and in a batch; see ``ComparesWithBase``."""
NOT_INPUTS = frozenset({"labels", REFERENCE})
"""Keys of a batch for the loss only; a model gets the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Rows by split, before tokenisation. Train, validation and test are disjoint.

    Attributes:
        train, validation, test: ``datasets.Dataset`` with the objective's own columns.
        shift: shift sets by name; used for evaluation only.
        summary: counts of the used and excluded rows, and the mapping of labels.
    """

    train: "datasets.Dataset"
    validation: "datasets.Dataset"
    test: "datasets.Dataset"
    shift: Mapping[str, "datasets.Dataset"]
    summary: DataSummary = field(default_factory=DataSummary)

    def by_name(self) -> "dict[str, datasets.Dataset]":
        """Return the rows by split name; shift sets are named ``shift/NAME``."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        return own | {f"shift/{name}": rows for name, rows in self.shift.items()}


def problem_of(objective: "Objective") -> Problem | None:
    """Return the objective's attribute ``problem``, by default ``SINGLE_LABEL``; None for other heads."""
    if objective.head is not Head.SEQUENCE_CLASSIFICATION:
        return None
    return Problem(getattr(objective, "problem", Problem.SINGLE_LABEL))


class Objective(Protocol):
    """One task: its data, head, collation, loss and metrics."""

    name: str
    head: Head
    labels: tuple[str, ...]
    """Class names in the order of their ids; empty if the task has no classes."""
    metrics: Mapping[str, Direction]
    """Direction of ``loss`` and of the metrics from ``measure``, without a split: ``{"loss": MINIMIZE, ...}``."""
    default_metric: str
    """Default of the sweep file's ``search.metric``, with its split: ``val/accuracy``."""
    default_model: Source
    default_source: Source

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data.

        Raises:
            DataError: a column is missing, there are too few rows, or a row would be in two splits.
        """

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise rows without padding. Inputs and decoder targets are truncated to ``max_length`` tokens.

        Each row is encoded by itself: large splits are encoded in parts, and the examples are stored for later sweeps.
        """

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad to the longest of ``examples``: ``input_ids_BT``, ``attention_mask_BT``, ``labels``.

        Labels have shape B for class ids, B×C (float32) for vectors and B×T for tokens.

        A sequence-to-sequence objective returns ``labels_BS`` and ``decoder_attention_mask_BS``; the model derives its
        decoder's input from them.
        """

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_sum_B, units_B)``, float32: each row's summed loss and its number of units.

        A unit is a row in classification and a predicted token in language modelling. The loss of any set of rows is
        ``loss_sum_B.sum() / units_B.sum()``: accumulated micro-batches have the weights of one batch. A row's loss
        must not depend on other rows, because a batch may contain rows of several trials. ``logits`` must not be
        modified.
        """

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> "list[tuple[Any, Any]]":
        """Return one ``(prediction, reference)`` pair per row, small enough to store for a whole split."""

    def measure(self, pairs: "Sequence[tuple[Any, Any]]") -> dict[str, float]:
        """Return the metrics of a whole split, except ``loss``, from the pairs of ``predictions``."""

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:
        """Fit a classical model on train and return its metrics (``val/accuracy`` …); None without such a model."""


@runtime_checkable
class WritesAnswers(Protocol):
    """An objective whose model answers a prompt with text, measured against a reference; optional members."""

    generation_metrics: Mapping[str, Direction]
    """Some of ``core.tasks.generation.GENERATION_METRICS``; empty: answers are not measured."""

    def prompts(
        self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> list[list[int]]:
        """Return the token ids of each row's prompt, without its target, as ``predict`` builds them."""

    def references(self, rows: "datasets.Dataset") -> list[str]:
        """Return the right answer of each row."""


@runtime_checkable
class FindsAnswers(Protocol):
    """An objective whose answers are parts of a text; optional members for the report's worst rows."""

    def row_answers(self, pairs: "Sequence[tuple[Any, Any]]") -> list[str]:
        """Return the best answer of each row, from the joined pairs of ``predictions``; empty without any."""

    def true_answers(self, rows: "datasets.Dataset") -> list[list[str]]:
        """Return the true answers of each row; an empty list for a row without an answer."""


@runtime_checkable
class FindsEntities(Protocol):
    """An objective whose predictions are typed parts of a text; an optional member for the report's worst rows."""

    def row_spans(self, examples: Sequence[Example], pair: tuple[Any, Any]) -> tuple[list[TextSpan], list[TextSpan]]:
        """Return the predicted and the true parts of a row's text, from its examples and its joined pair."""


def generation_metrics(objective: Objective) -> Mapping[str, Direction]:
    """Return the metrics of the objective's answers; empty if it writes none, or does not measure them."""
    return objective.generation_metrics if isinstance(objective, WritesAnswers) else {}


@runtime_checkable
class LossOfSettings(Protocol):
    """An objective whose loss depends on settings of the trial, such as ``beta``."""

    loss_settings: tuple[str, ...]
    """The names of these settings."""

    def with_settings(self, settings: TrialSettings) -> Objective:
        """Return the objective with the loss and the metrics of a trial."""


@runtime_checkable
class ComparesWithBase(Protocol):
    """An objective that compares the trained model with its frozen base model.

    Engines call ``predictions`` with the base model's logits, once for all trials, and encode the result.
    """

    def with_reference(self, examples: Sequence[Example], pairs: "Sequence[tuple[Any, Any]]") -> list[Example]:
        """Return the rows with the key ``REFERENCE``, from the base model's ``predictions``, one pair per row."""

    def base_metrics(self, pairs: "Sequence[tuple[Any, Any]]") -> Mapping[str, float]:
        """Return ``loss`` and the other metrics of the base model itself, from its ``predictions``: the baseline."""


def objective_of(objective: Objective, settings: TrialSettings) -> Objective:
    """Return the objective of a trial: with its loss, if that depends on the settings."""
    return objective.with_settings(settings) if isinstance(objective, LossOfSettings) else objective
