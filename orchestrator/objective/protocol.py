"""The protocol that objectives fulfil. An objective declares one task; engines hold the training loop.

Tensor names carry their shapes: B rows, T tokens, C classes, V vocabulary. Objectives know nothing of Ray, Optuna,
MLflow or of any engine, and import torch inside their methods, so that a sweep file can be checked without it.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.core.data import DataPlan, DataSummary, Source
from orchestrator.core.metric import Direction

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class Head(enum.StrEnum):
    """The transformers auto class that the objective's model is loaded with."""

    SEQUENCE_CLASSIFICATION = "sequence_classification"
    CAUSAL_LM = "causal_lm"
    SEQ2SEQ_LM = "seq2seq_lm"


Example = dict[str, Any]
"""One encoded row: ``input_ids`` (list of int) and whatever else the objective's ``collate`` needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Rows by split, before tokenisation. No row stands in two of train, validation and test.

    Attributes:
        train, validation, test: ``datasets.Dataset`` with the objective's own columns.
        shift: other distributions, by name; never trained on, never searched on.
        summary: counts of the rows used and left out, and the mapping of labels.
    """

    train: "datasets.Dataset"
    validation: "datasets.Dataset"
    test: "datasets.Dataset"
    shift: Mapping[str, "datasets.Dataset"]
    summary: DataSummary = field(default_factory=DataSummary)

    def by_name(self) -> "dict[str, datasets.Dataset]":
        """Return the rows by split; shift sets are named ``shift/<set>``."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        return own | {f"shift/{name}": rows for name, rows in self.shift.items()}


class Objective(Protocol):
    """One task: its data, head, collation, loss and metrics."""

    name: str
    head: Head
    labels: tuple[str, ...]
    """Class names in the order of their ids; empty if the task has no classes."""
    metrics: Mapping[str, Direction]
    """``loss`` and what ``measure`` computes, without a split's prefix: ``{"loss": MINIMIZE, ...}``."""
    default_metric: str
    """The metric that is searched if the sweep file names none, with its split: ``val/accuracy``."""
    default_model: Source
    default_source: Source

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and cut the data.

        Raises:
            DataError: a column is missing, there are too few rows, or a row would stand in two splits.
        """

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise rows without padding; what is read, and what a decoder writes, is cut to ``max_length`` tokens."""

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad to the longest of ``examples``: ``input_ids_BT``, ``attention_mask_BT``, ``labels`` (B, or B×T).

        A sequence-to-sequence objective has ``labels_BS`` and ``decoder_attention_mask_BS``; the model itself makes its
        decoder's input of them.
        """

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_sum_B, units_B)``, float32: each row's summed loss and how many units it sums over.

        A unit is what the mean is taken over: a row in classification, a predicted token in language modelling. The
        loss of any set of rows is ``loss_sum_B.sum() / units_B.sum()``, so accumulated batches weigh exactly as one.
        A row's loss depends on that row alone, for a batch may hold rows of several trials. Logits are not written to.
        """

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> "list[tuple[Any, Any]]":
        """Return one ``(prediction, reference)`` pair per row, small enough to keep for a whole split."""

    def measure(self, pairs: "Sequence[tuple[Any, Any]]") -> dict[str, float]:
        """Return the metrics of a whole split from its pairs, without ``loss``."""

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:
        """Fit a simple classical model on train, return ``val/accuracy`` ...; None if there is none."""
