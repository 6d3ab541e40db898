"""Sources of models and data, and the plan of the splits. Plain values: nothing is read here."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

SPLIT_RULE = 2
"""Version of the split rule of new sweeps; see ``orchestrator.objective.splits``."""


class Origin(enum.StrEnum):
    """The kinds of sources of an asset; a sweep's own function reads model and data itself."""

    PACKAGED = "packaged"
    HUB = "hub"
    LOCAL = "local"
    FUNCTION = "function"
    SQLITE = "sqlite"
    SQL = "sql"
    TORCHHUB = "torchhub"
    KAGGLE = "kaggle"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A model or data set by origin and name.

    Attributes:
        origin: the kind of the source.
        name: name of the packaged asset; hub id (``org/name``); path of the file or folder, or several paths and
            patterns, one in each line; ``sqlite:////PATH?query=SELECT …``, or the address of another database, without
            a password; ``file.py:function``;
            ``REPOSITORY:ENTRY`` of a trusted PyTorch Hub repository or folder; handle of a Kaggle model.
        config: configuration of the hub data set, if it has several.
        split: split of the hub data set.
        revision: commit, tag or branch of the hub repository; version of the stored model of PyTorch Hub.
    """

    origin: Origin
    name: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the source stored by ``dataclasses.asdict``; unknown keys are ignored."""
        return cls(**{**_known(cls, stored), "origin": Origin(stored["origin"])})

    def __str__(self) -> str:
        if self.origin in (Origin.HUB, Origin.TORCHHUB, Origin.KAGGLE):
            return f"{self.origin}:{self.name}"
        return ", ".join(self.name.split("\n"))


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlan:
    """The rows for training, selection and test.

    Attributes:
        source: source of the rows.
        columns: the source's column name by the objective's column name (``text``, ``label``, ``group`` ...).
        labels: class name by value in the data, as text; None: rows with the value are omitted.
        train: number of training rows; None: all rows not used by the other splits.
        validation: number of validation rows.
        test: number of test rows.
        seed: seed of the split, the same for all trials of a sweep.
        train_eval: number of training rows measured in eval mode at every report.
        shift: shift sets by name, the part of their metrics' names after ``shift/``.
        shift_rows: maximum number of rows drawn from each shift set.
        split_rule: version of the rule for copies and for rows excluded from a second split.
        folds: number of folds of the rows for training and validation, from 2; the validation split is the first one.
            None: no further folds.
        repeats: number of divisions into folds.
        equal_folds: the validation split has a share of 1 / ``folds`` instead of ``validation`` rows.
        classes: class names in the order of their ids, found in the data; empty: the objective states them, or they
            are not known before the rows are read.
        general: general text, on which forgetting is measured; None: it is not measured.
        prompt: the input of a generative task, with ``{text}`` for the row's text; None: the objective's own.
        packing: whether the solo engine packs the rows of a micro-batch into few sequences.
        chat_template: the text of a chat template in Jinja; None: the tokenizer's own, in a task with conversations.
    """

    source: Source
    columns: Mapping[str, str] = field(default_factory=dict)
    train: int | None = None
    validation: int = 1000
    test: int = 1000
    seed: int = 0
    train_eval: int = 500
    shift: Mapping[str, Source] = field(default_factory=dict)
    shift_rows: int = 1000
    labels: Mapping[str, str | None] = field(default_factory=dict)
    split_rule: int = SPLIT_RULE
    general: Source | None = None
    folds: int | None = None
    repeats: int = 1
    equal_folds: bool = False
    classes: tuple[str, ...] = ()
    chat_template: str | None = None
    prompt: str | None = None
    packing: bool = False

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``; unknown keys are ignored."""
        shift = {name: Source.from_json(source) for name, source in stored.get("shift", {}).items()}
        values = {"split_rule": 1, **_known(cls, stored)}  # early versions had one split rule
        classes = tuple(stored.get("classes", ()))
        general = None if stored.get("general") is None else Source.from_json(stored["general"])
        read = {"source": Source.from_json(stored["source"]), "shift": shift, "classes": classes, "general": general}
        return cls(**{**values, **read})


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """Counts of the rows read, used and omitted.

    The objective fills it while reading the data. The plan, the terminal, the report and the model card show it.

    Attributes:
        labels: class name by value in the data, as text: ``{"0": "negative", "pos": "positive"}``. Empty if the task
            has no classes.
        classes: class names in the order of their ids; empty if the task has none.
        class_order: the rule behind this order, if the classes were found in the data; else empty.
        label_counts: number of rows by split (``train``, ``validation``, ``test``, ``shift/<set>``) and class name.
        dropped: number of omitted rows by source and reason: ``{"copy of another row": 40}``.
        truncated: number of rows with more than ``max_length`` tokens, by split; an estimate for very many rows.
        max_length: limit used for ``truncated``, the smallest if it is searched; None: not counted.
        longest: number of characters of the longest text by split.
        warnings: warnings for the user, one sentence each.
        split_rule: version of the split rule.
        turns: number of training conversations by their number of assistant turns; empty in other tasks.
        class_weights: class weights of the training loss, in words; empty: none.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    truncated: Mapping[str, int] = field(default_factory=dict)
    max_length: int | None = None
    longest: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    split_rule: int = 1
    classes: tuple[str, ...] = ()
    class_order: str = ""
    turns: Mapping[str, int] = field(default_factory=dict)
    class_weights: str = ""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the summary stored by ``dataclasses.asdict``; unknown keys are ignored."""
        lists = {name: tuple(stored.get(name, ())) for name in ("warnings", "classes")}
        return cls(**{**_known(cls, stored), **lists})


def class_names(data: DataSummary) -> tuple[str, ...]:
    """Return the class names in the order of their ids; summaries of early versions name them in their counts."""
    return data.classes or tuple(data.label_counts.get("train", {}))


def _known(cls: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored values of a dataclass's fields."""
    names = {item.name for item in fields(cls)}
    return {name: value for name, value in stored.items() if name in names}
