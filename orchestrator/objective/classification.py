"""Text classification: one text, one of a few labels. A task states its labels, its data and its metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.objective.label_counts import in_shift_set, with_labels
from orchestrator.objective.labels import LabelReader, checked_ids, current_reader, reading
from orchestrator.objective.padding import pad
from orchestrator.objective.protocol import Example, Head, Splits
from orchestrator.objective.splits import Cutting, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class TextClassification:
    """Base of objectives whose rows have a ``text``, a ``label`` and, if it is known, a ``group``.

    A task sets ``name``, ``labels``, ``default_source`` and ``metrics``, and defines ``measure``. How labels in the
    data become ids is said in ``orchestrator.objective.labels``.
    """

    name: str
    head: Head = Head.SEQUENCE_CLASSIFICATION
    labels: tuple[str, ...]
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_model: Source = Source(origin=Origin.PACKAGED, name="minilm")
    default_source: Source

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and cut the data; see ``Objective.splits`` and ``read_splits``.

        Raises:
            DataError: a rule of the data is broken, a label is not certain, or train holds one class alone.
        """
        readers: dict[str, LabelReader] = {}
        splits = read_splits(plan, partial(self._read, plan, readers), Cutting())
        return replace(splits, summary=with_labels(splits, self.labels, readers, str(plan.source)))

    def _read(
        self, plan: DataPlan, readers: dict[str, LabelReader], source: Source, columns: Mapping[str, str]
    ) -> "datasets.Dataset":
        """Return the rows of a source, and keep the reader of its labels; shift sets follow the sweep's own data."""
        name = ["", *plan.shift][len(readers)]
        packaged = source.origin is Origin.PACKAGED
        from_zero = bool(name) and (packaged or readers[""].counted)
        mapping = {} if name and packaged else plan.labels
        readers[name] = reader = LabelReader(task=self.name, classes=self.labels, mapping=mapping, from_zero=from_zero)
        with in_shift_set(name), reading(reader):
            rows = self.read(source, columns)
            if reader.mapping and not reader.called:
                raise DataError(f"data.labels: objective {self.name} reads labels in code of its own, which ignores it")
            checked_ids(rows["label"][:], self.labels, self.name)
        return rows

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source with labels as ids: columns ``text``, ``label`` and, if there, ``group``.

        Rows without a label are left out.
        """
        import datasets

        rows = read_table(source, columns, required=("text", "label"), text=("text",))
        names = getattr(rows.features["label"], "names", None)
        reader = current_reader() or LabelReader(task=self.name, classes=self.labels)
        ids = reader.read(rows["label"][:], names, f"column {columns.get('label', 'label')} of {source}")
        kept = {name: rows[name][:] for name in ("text", "group") if name in rows.column_names}
        found = datasets.Dataset.from_dict({**kept, "label": ids})
        return found if None not in ids else found.select([row for row, label in enumerate(ids) if label is not None])

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise the texts; ``labels`` is the label's id.

        Token types come too where the tokenizer gives others than 0, as XLNet's and Funnel's do: without them the
        model would compute something else than for whoever passes it all that the tokenizer returns.
        """
        if len(rows) == 0:
            return []
        encoded = tokenizer(rows["text"][:], truncation=True, max_length=max_length)
        labels = checked_ids(rows["label"][:], self.labels, self.name)
        types = encoded.get("token_type_ids")
        names = ["input_ids", "token_type_ids"] if types is not None and any(map(any, types)) else ["input_ids"]
        return [
            {**dict(zip(names, values, strict=True)), "labels": label}
            for *values, label in zip(*(encoded[name] for name in names), labels, strict=True)
        ]

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the tokenizer's side, which ``load_tokenizer`` sets to what the model needs; ``labels_B``."""
        return pad(examples, tokenizer, "left" if tokenizer.padding_side == "left" else "right")

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return each row's cross entropy over ``logits_BC``, and ones: a row is one unit."""
        import torch

        loss_B = torch.nn.functional.cross_entropy(
            logits.float(), batch["labels"], reduction="none", label_smoothing=label_smoothing
        )
        return loss_B, torch.ones_like(loss_B)

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(predicted id, true id)`` per row of ``logits_BC``."""
        return [*zip(logits.argmax(dim=-1).tolist(), batch["labels"].tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:  # noqa: ARG002  (the protocol's)
        """Return no metric beside the loss; tasks return those that they list in ``metrics``."""
        return {}

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:  # noqa: ARG002  (the protocol's)
        """Return None: no baseline, unless the task defines one."""
        return None
