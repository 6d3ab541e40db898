"""Bases for several labels per text, and for regression: each row's ``label`` is a vector of numbers.

The columns of the vector come from one column ``label``, or from several columns named ``label/NAME``.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Source
from orchestrator.core.errors import DataError
from orchestrator.core.tasks.labels import class_of, mapping_key
from orchestrator.core.tasks.problem import Problem
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.labels.class_ids import NO_LABEL
from orchestrator.objective.labels.counts import errors_name_shift_set
from orchestrator.objective.labels.found_classes import found_classes
from orchestrator.objective.labels.keys import absent_keys
from orchestrator.objective.protocol import Example, Splits
from orchestrator.objective.rows.columns import with_columns
from orchestrator.objective.rows.slice_columns import kept_columns
from orchestrator.objective.rows.text_pairs import PAIR, texts_of
from orchestrator.objective.splits import Splitter, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase

PREFIX = "label/"
"""Start of the names of several label columns in ``data.columns``; the rest is the name of the class or target."""
SEPARATORS = ";|,"
"""Characters between class names in a cell of text."""
_YES = {"1": 1.0, "1.0": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0, "no": 0.0}

Vector = list[float] | None
"""The label of a row; None: the row has none."""


@dataclass(kw_only=True, slots=True)
class FoundNames:
    """The classes or targets, filled from the first source read: the sweep's own data.

    Attributes:
        names: in the order of the vectors; empty before the first source is read.
        order: the rule behind their order, in words; empty unless they were found.
        values: all class names in the data, as written.
        dropped: number of excluded rows by reason.
    """

    names: list[str]
    values: set[str] = field(default_factory=set)
    order: str = ""
    dropped: Counter[str] = field(default_factory=Counter)


class VectorLabels(TextClassification):
    """Base of objectives with a vector of numbers as label. C: classes or targets."""

    labels: tuple[str, ...] = ()
    problem: Problem

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data; see ``Objective.splits``. The splits are not stratified.

        Raises:
            DataError: the data is invalid.
        """
        several = any(name.startswith(PREFIX) for name in plan.columns)
        if plan.labels and (several or self.problem is Problem.REGRESSION):
            numbers = self.problem is Problem.REGRESSION
            held = f"{self.name} reads numbers" if numbers else f"columns {PREFIX}NAME hold 1 or 0"
            raise DataError(f"data.labels: it maps the class names of one column, and {held}. Remove data.labels")
        found = FoundNames(names=[*(self.labels or plan.classes)])
        splits = read_splits(plan, partial(self._vectors, plan, found), Splitter(stratify=False))
        summary = replace(
            splits.summary,
            classes=tuple(found.names),
            class_order=found.order,
            label_counts=self.counts(splits, found.names),
            dropped={**splits.summary.dropped, **found.dropped},
        )
        absent = absent_keys([*map(mapping_key, plan.labels)], found.values)
        warnings = (*summary.warnings, *absent, *self.warnings_of(splits, found.names))
        return replace(splits, summary=replace(summary, warnings=warnings))

    def _vectors(
        self, plan: DataPlan, found: FoundNames, source: Source, columns: Mapping[str, str]
    ) -> "datasets.Dataset":
        """Return the rows of a source; the first one, the sweep's own data, fills ``found`` if it has no names."""
        read = ["", *plan.shift]
        shift = next((name for name in read[1:] if plan.shift[name] is source), "")
        several = [name for name in columns if name.startswith(PREFIX)]
        with errors_name_shift_set(shift):
            rows = read_table(source, columns, required=("text", *(several or ["label"])), text=texts_of(columns))
            place = f"column {columns.get('label', 'label')} of {source}"
            if several:
                vectors = self.from_columns(rows, several, found, source)
            else:
                vectors = self.from_column(rows, found, plan, place)
        own = ("text", PAIR, "label", "group", *several)
        kept = kept_columns(rows, columns, own)
        places = [place for place, vector in enumerate(vectors) if vector is not None]
        if len(places) < len(vectors):
            found.dropped[f"shift/{shift}: {NO_LABEL}" if shift else NO_LABEL] += len(vectors) - len(places)
        new = {**kept, "label": [vector or [] for vector in vectors]}
        full = with_columns(rows, (*texts_of(columns), "group"), new)
        return full if len(places) == len(vectors) else full.select(places)

    def from_columns(
        self, rows: "datasets.Dataset", several: Sequence[str], found: FoundNames, source: Source
    ) -> list[Vector]:
        """Return the vectors of several columns, in the order of ``data.columns``."""
        names = [name.removeprefix(PREFIX) for name in several]
        if found.names and found.names != names:
            needed = ", ".join(found.names)
            raise DataError(f"data.columns: the label columns are {', '.join(names)}; {needed} are needed")
        if not found.names:
            found.names, found.order = names, "the order of data.columns"
        values = [
            [self.number(value, f"column {name} of {source}", row) for row, value in enumerate(rows[name][:])]
            for name in several
        ]
        return [[*row] if None not in row else None for row in zip(*values, strict=True)]

    def from_column(self, rows: "datasets.Dataset", found: FoundNames, plan: DataPlan, place: str) -> list[Vector]:
        """Return the vectors of the column ``label``, and fill ``found`` if it has no names."""
        raise NotImplementedError

    def number(self, value: object, place: str, row: int) -> float | None:
        """Return a value of one of several columns as a number; None if it is missing."""
        raise NotImplementedError

    def counts(self, splits: Splits, names: Sequence[str]) -> Mapping[str, Mapping[str, int]]:  # noqa: ARG002
        """Return the number of rows by split and class; empty without classes."""
        return {}

    def warnings_of(self, splits: Splits, names: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Return warnings on the labels, one sentence each."""
        return []

    def row_labels(self, rows: "datasets.Dataset") -> list[Any]:
        """Return the vectors of the rows."""
        return [[float(value) for value in vector] for vector in rows["label"][:]]

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad the inputs as in ``TextClassification``; ``labels_BC`` are float32."""
        import torch

        batch = super().collate([{**example, "labels": 0} for example in examples], tokenizer)
        return {**batch, "labels": torch.tensor([example["labels"] for example in examples], dtype=torch.float32)}

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(logits, label)`` per row, both lists of C floats."""
        return [*zip(logits.float().tolist(), batch["labels"].tolist(), strict=True)]


class MultiLabelClassification(VectorLabels):
    """Base of objectives with any number of classes per text, also none.

    The column ``label`` holds lists of class names, or texts with class names between ``;``, ``|`` or ``,``. Several
    columns ``label/NAME`` hold 1 or 0, ``true`` or ``false``, ``yes`` or ``no``.
    """

    problem = Problem.MULTI_LABEL

    def from_column(self, rows: "datasets.Dataset", found: FoundNames, plan: DataPlan, place: str) -> list[Vector]:
        """Return the vectors of the column ``label``; unknown class names are an error."""
        feature = rows.features["label"]
        own = getattr(getattr(feature, "feature", None), "names", None)
        cells = [_class_names(cell, own, place, row) for row, cell in enumerate(rows["label"][:])]
        mapping = {mapping_key(key): name for key, name in plan.labels.items()}
        found.values |= {*chain.from_iterable(filter(None, cells))}
        if not found.names:
            classes, found.order = found_classes([*chain.from_iterable(filter(None, cells))], own, mapping, place)
            found.names = [*classes]
        class_ids: dict[str, int | None] = {}
        vectors: list[Vector] = []
        for row, cell in enumerate(cells):
            for written in cell or ():
                if written not in class_ids:
                    class_ids[written] = _class_id(
                        written, mapping, found.names, f"{place}: {written!r} (row {row + 1})"
                    )
            held = {class_ids[written] for written in cell or ()}
            vectors.append(None if cell is None else [float(index in held) for index in range(len(found.names))])
        return vectors

    def from_columns(
        self, rows: "datasets.Dataset", several: Sequence[str], found: FoundNames, source: Source
    ) -> list[Vector]:
        """Return the vectors of at least two columns, in the order of ``data.columns``."""
        if len(several) == 1:
            raise DataError(
                f"data.columns: {several[0]} is the only label column, and {self.name} needs at least two. For one "
                "class per text, set objective: classification, and name the column in data.columns.label"
            )
        return super().from_columns(rows, several, found, source)

    def number(self, value: object, place: str, row: int) -> float | None:
        """Return 1.0 or 0.0."""
        if value is None or value == "":
            return None
        written = str(value).strip().casefold()
        if written not in _YES:
            raise DataError(f"{place} has {str(value)[:60]!r} (row {row + 1}); 1 or 0, true or false is needed")
        return _YES[written]

    def counts(self, splits: Splits, names: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Return the number of rows with each class; a row may count several times."""
        return {
            split: {name: int(sum(vector[place] for vector in rows["label"][:])) for place, name in enumerate(names)}
            for split, rows in splits.by_name().items()
        }

    def warnings_of(self, splits: Splits, names: Sequence[str]) -> list[str]:
        """Return a warning for each split without rows of a class."""
        counts = self.counts(splits, names)
        absent = {split: [name for name, count in counts[split].items() if not count] for split in counts}
        return [f"{split} has no rows of {', '.join(some)}." for split, some in absent.items() if some]

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_B, ones_B)``: the binary cross entropy of each row, the mean over its C classes.

        Smoothing moves the labels 0 and 1 by ``label_smoothing / 2`` towards each other.
        """
        import torch

        labels_BC = batch["labels"] * (1 - label_smoothing) + label_smoothing / 2
        loss_BC = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels_BC, reduction="none")
        loss_B = loss_BC.mean(dim=1)
        return loss_B, torch.ones_like(loss_B)


class TextRegression(VectorLabels):
    """Base of objectives with one or several numbers per text, in the column ``label`` or in ``label/NAME``."""

    problem = Problem.REGRESSION

    def from_column(self, rows: "datasets.Dataset", found: FoundNames, plan: DataPlan, place: str) -> list[Vector]:
        """Return vectors of one number; the target has the name of its column in the data."""
        if not found.names:
            found.names = [plan.columns.get("label", "label")]
        if len(found.names) != 1:
            needed = f"{len(found.names)} targets are needed ({', '.join(found.names)})"
            raise DataError(
                f"{place}: one column, {needed}. Name data with a column for each target, or remove this set"
            )
        numbers = [self.number(value, place, row) for row, value in enumerate(rows["label"][:])]
        return [None if number is None else [number] for number in numbers]

    def number(self, value: object, place: str, row: int) -> float | None:
        """Return a finite number, also from text."""
        if value is None or value == "":
            return None
        try:
            number = float(Decimal(str(value).strip())) if not isinstance(value, bool) else math.nan
        except InvalidOperation:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"{place} has {str(value)[:60]!r} (row {row + 1}); a finite number is needed")
        return number

    def warnings_of(self, splits: Splits, names: Sequence[str]) -> list[str]:
        """Return a warning for each target with a large mean or spread: the head starts near 0 and has one rate."""
        import numpy as np

        warnings = []
        values_nt = np.array(splits.train["label"][:])
        for name, mean, sd in zip(names, values_nt.mean(axis=0), values_nt.std(axis=0), strict=True):
            if sd == 0:
                warnings.append(f"all training rows have the {name} {mean:g}.")
            elif not (abs(mean) <= 10 and 0.1 <= sd <= 10):
                warnings.append(
                    f"{name} has the mean {mean:.3g} and the standard deviation {sd:.3g}: a head learns numbers near 0 "
                    "faster. Scale the column, for example to mean 0 and standard deviation 1."
                )
        return warnings

    def losses(
        self,
        logits: "torch.Tensor",
        batch: "Mapping[str, torch.Tensor]",
        label_smoothing: float = 0.0,  # noqa: ARG002  (numbers have no classes to smooth)
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_B, ones_B)``: the squared error of each row, the mean over its C targets."""
        import torch

        loss_B = (logits.float() - batch["labels"]).square().mean(dim=1)
        return loss_B, torch.ones_like(loss_B)


def _class_names(cell: object, own: Sequence[str] | None, place: str, row: int) -> list[str] | None:
    """Return the class names in a cell, as written; None for a missing cell."""
    if cell is None:
        return None
    if isinstance(cell, str):
        for separator in SEPARATORS[1:]:
            cell = cell.replace(separator, SEPARATORS[0])
        cell = cell.split(SEPARATORS[0]) if cell.strip() else None
    if cell is None:
        return None
    if not isinstance(cell, list | tuple):
        raise DataError(
            f"{place} has {str(cell)[:60]!r} (row {row + 1}); a list of class names is needed. For one class per row, "
            "set objective: classification."
        )
    written = [own[value] if own and isinstance(value, int) else str(value).strip() for value in cell]
    return [*filter(None, written)]


def _class_id(written: str, mapping: Mapping[str, str | None], names: Sequence[str], place: str) -> int | None:
    """Return the id of a class name, which ``data.labels`` may rename; None if ``data.labels`` excludes it."""
    chosen = class_of(mapping_key(written), [*mapping])
    name = written if chosen is None else [*mapping.values()][chosen]
    if name is None:
        return None
    index = class_of(name, names)
    index = class_of(mapping_key(name), names) if index is None else index  # 1 and 1.0 are one class
    if index is None:
        raise DataError(f"{place} is not a class ({', '.join(names)})")
    return index
