"""Base class for text classification with one label per text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.objective.labels.class_ids import LabelReader, check_class_ids, current_reader, reading
from orchestrator.objective.labels.counts import errors_name_shift_set, summary_with_labels
from orchestrator.objective.padding import pad
from orchestrator.objective.protocol import Example, Head, Splits
from orchestrator.objective.rows.columns import with_columns
from orchestrator.objective.rows.slice_columns import kept_columns
from orchestrator.objective.rows.text_pairs import PAIR, texts_of, tokenizer_inputs
from orchestrator.objective.splits import Splitter, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class TextClassification:
    """Base of objectives with the columns ``text``, ``label`` and, optionally, ``text_pair`` and ``group``.

    A task sets ``name``, ``labels``, ``default_source`` and ``metrics``, and defines ``measure``. See
    ``orchestrator.objective.labels.class_ids`` for the conversion of labels to class ids. With ``labels = ()``, the
    classes are found in the data: see ``orchestrator.objective.labels.found_classes`` and ``with_classes``.
    """

    name: str
    head: Head = Head.SEQUENCE_CLASSIFICATION
    labels: tuple[str, ...]
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_model: Source = Source(origin=Origin.PACKAGED, name="minilm")
    default_source: Source

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data; see ``Objective.splits`` and ``read_splits``.

        Raises:
            DataError: the data is invalid, the class of a label is uncertain, or train has only one class.
        """
        readers: dict[str, LabelReader] = {}
        splits = read_splits(plan, partial(self._read, plan, readers), Splitter())
        return replace(splits, summary=summary_with_labels(splits, readers, str(plan.source)))

    def _read(
        self, plan: DataPlan, readers: dict[str, LabelReader], source: Source, columns: Mapping[str, str]
    ) -> "datasets.Dataset":
        """Return the rows of a source and add its label reader to ``readers``.

        The sweep's own data (name "") is read first, then the shift sets in their order.
        """
        name = ["", *plan.shift][len(readers)]
        packaged = source.origin is Origin.PACKAGED
        from_zero = bool(name) and (packaged or readers[""].counted)
        mapping = {} if name and packaged else plan.labels
        classes = readers[""].classes if name else self.labels or plan.classes
        readers[name] = reader = LabelReader(task=self.name, classes=classes, mapping=mapping, from_zero=from_zero)
        with errors_name_shift_set(name), reading(reader):
            rows = self.read(source, columns)
            if reader.mapping and not reader.called:
                raise DataError(f"data.labels: objective {self.name} has its own read(), which ignores data.labels")
            if not reader.classes:
                raise DataError(f"objective {self.name}: has its own read(), so it must state its labels")
            check_class_ids(rows["label"][:], reader.classes, self.name)
        return rows

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the labelled rows of a source.

        Columns: ``text``, ``label`` (class id), ``text_pair``, if ``columns`` has it, ``group``, if the source has it,
        and ``slice/<name>`` for each further name in ``columns``.
        """
        rows = read_table(source, columns, required=("text", "label"), text=texts_of(columns))
        names = getattr(rows.features["label"], "names", None)
        reader = current_reader() or LabelReader(task=self.name, classes=self.labels)
        ids = reader.read(rows["label"][:], names, f"column {columns.get('label', 'label')} of {source}")
        kept = kept_columns(rows, columns, ("text", PAIR, "label", "group"))
        result = with_columns(rows, (*texts_of(columns), "group"), {**kept, "label": ids})
        return result if None not in ids else result.select([row for row, label in enumerate(ids) if label is not None])

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise the texts; ``labels`` is the class id, or a vector.

        Of a pair, tokens are cut from the longer text first. ``token_type_ids`` are included if the tokenizer returns a
        value other than 0, as for the second text of a pair in BERT, and for XLNet and Funnel: the model then gives the
        same output as for the tokenizer's full result.
        """
        if len(rows) == 0:
            return []
        encoded = tokenizer(*tokenizer_inputs(rows), truncation=True, max_length=max_length)
        labels = self.row_labels(rows)
        types = encoded.get("token_type_ids")
        names = ["input_ids", "token_type_ids"] if types is not None and any(map(any, types)) else ["input_ids"]
        return [
            {**dict(zip(names, values, strict=True)), "labels": label}
            for *values, label in zip(*(encoded[name] for name in names), labels, strict=True)
        ]

    def row_labels(self, rows: "datasets.Dataset") -> list[Any]:
        """Return the class ids of the rows."""
        return check_class_ids(rows["label"][:], self.labels, self.name)

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the tokenizer's padding side, set by ``load_tokenizer`` for the model; ``labels_B`` are class ids."""
        return pad(examples, tokenizer, "left" if tokenizer.padding_side == "left" else "right")

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_B, ones_B)`` for ``logits_BC``: the cross entropy of each row; a row is one unit."""
        import torch

        loss_B = torch.nn.functional.cross_entropy(
            logits.float(), batch["labels"], reduction="none", label_smoothing=label_smoothing
        )
        return loss_B, torch.ones_like(loss_B)

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(predicted id, true id)`` per row of ``logits_BC``."""
        return [*zip(logits.argmax(dim=-1).tolist(), batch["labels"].tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:  # noqa: ARG002  (the protocol's)
        """Return no metrics; a task overrides this for its ``metrics`` other than the loss."""
        return {}

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:  # noqa: ARG002  (the protocol's)
        """Return None; a task may override this with a classical baseline."""
        return None
