"""Text classification: one text, one of a few labels. A task states its labels, its data and its metrics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.objective.padding import pad
from orchestrator.objective.protocol import Example, Head, Splits
from orchestrator.objective.splits import Cutting

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class TextClassification:
    """Base of objectives whose rows have a ``text``, a ``label`` and, if it is known, a ``group``.

    A task sets ``name``, ``labels``, ``default_source`` and ``metrics``, and defines ``measure``. Labels in the data
    are names (in any case) or ids; a hub data set's own class names are used if they are the task's.
    """

    name: str
    head: Head = Head.SEQUENCE_CLASSIFICATION
    labels: tuple[str, ...]
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_model: Source = Source(origin=Origin.PACKAGED, name="minilm")
    default_source: Source

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and cut the data; see ``Objective.splits`` and ``Cutting``."""
        cutting = Cutting()
        train, validation, test = cutting.cut(self.read(plan.source, plan.columns), plan)
        shift = {
            name: cutting.shift(self.read(source, shift_columns(source, plan)), train, plan.shift_rows, plan.seed)
            for name, source in plan.shift.items()
        }
        return Splits(train=train, validation=validation, test=test, shift=shift)

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source with labels as ids: columns ``text``, ``label`` and, if there, ``group``."""
        import datasets

        rows = read_table(source, columns, required=("text", "label"))
        names = getattr(rows.features["label"], "names", None)
        kept = {name: rows[name][:] for name in ("text", "group") if name in rows.column_names}
        return datasets.Dataset.from_dict({**kept, "label": self._ids(rows["label"][:], names, source)})

    def _ids(self, values: Sequence[Any], names: Sequence[str] | None, source: Source) -> list[int]:
        known: dict[Any, int] = {label.casefold(): index for index, label in enumerate(self.labels)}
        known |= {index: index for index in range(len(self.labels))}
        if names is not None and {name.casefold() for name in names} == {label.casefold() for label in self.labels}:
            values = [None if value is None else names[value] for value in values]
        keys = [value.strip().casefold() if isinstance(value, str) else value for value in values]
        unknown = sorted({repr(value) for key, value in zip(keys, values, strict=True) if key not in known})
        if unknown:
            raise DataError(
                f"{source} has labels that {self.name} does not know: {', '.join(unknown[:5])}; it knows "
                f"{', '.join(self.labels)}, or 0 to {len(self.labels) - 1}"
            )
        return [known[key] for key in keys]

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise the texts; ``labels`` is the label's id.

        Token types come too where the tokenizer gives others than 0, as XLNet's and Funnel's do: without them the
        model would compute something else than for whoever passes it all that the tokenizer returns.
        """
        if len(rows) == 0:
            return []
        encoded = tokenizer(rows["text"][:], truncation=True, max_length=max_length)
        types = encoded.get("token_type_ids")
        names = ["input_ids", "token_type_ids"] if types is not None and any(map(any, types)) else ["input_ids"]
        return [
            {**dict(zip(names, values, strict=True)), "labels": label}
            for *values, label in zip(*(encoded[name] for name in names), rows["label"][:], strict=True)
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


def shift_columns(source: Source, plan: DataPlan) -> Mapping[str, str]:
    """Return the column names for a shift set: the plan's, except that packaged data has our names already."""
    return {} if source.origin is Origin.PACKAGED else plan.columns
