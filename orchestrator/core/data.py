"""Where models and data come from, and how data is cut; plain descriptions, nothing is read here."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

SPLIT_RULE = 2
"""Version of the rule that cuts the rows of a new sweep into splits; see ``orchestrator.objective.splits``."""


class Origin(enum.StrEnum):
    """The three places an asset can come from."""

    PACKAGED = "packaged"
    HUB = "hub"
    LOCAL = "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A model or data set by place and name.

    Attributes:
        origin: packaged, hub or local.
        name: the packaged asset's name, the hub id (``org/name``), or the file's or folder's path.
        config: the hub data set's configuration, if it has several.
        split: the hub data set's split to read.
        revision: the hub repository's commit, tag or branch.
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
        return f"hub:{self.name}" if self.origin is Origin.HUB else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlan:
    """Which rows a sweep trains, selects and tests on.

    Attributes:
        source: where the rows come from.
        columns: the objective's column names (``text``, ``label``, ``group`` ...) to the source's own.
        labels: class name by the value that stands in the data, as text; None leaves the rows of that value out.
        train: number of training rows; None takes all that the other splits leave.
        validation: number of validation rows.
        test: number of test rows.
        seed: seed of the split; trials differ in their own seeds, never in this one.
        train_eval: rows of the training split whose loss is measured in eval mode at every report.
        shift: data sets of other distributions, by the name their metrics carry.
        shift_rows: rows drawn from each shift set, at most.
        split_rule: version of the rule that says which rows are copies and which may not stand in two splits.
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

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``; unknown keys are ignored."""
        shift = {name: Source.from_json(source) for name, source in stored.get("shift", {}).items()}
        values = {"split_rule": 1, **_known(cls, stored)}  # early versions had one split rule
        return cls(**{**values, "source": Source.from_json(stored["source"]), "shift": shift})


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """Counts of the rows that a sweep reads, uses and leaves out.

    The objective fills it when it reads the data. The plan, the screen, the report and the model card show it.

    Attributes:
        labels: class name by the value that stands in the data, as text: ``{"0": "negative", "pos": "positive"}``.
            Empty if the task has no classes.
        label_counts: number of rows by split (``train``, ``validation``, ``test``, ``shift/<set>``) and class name.
        dropped: number of rows left out, by split or source and reason: ``{"copy of another row": 40}``.
        truncated: number of rows by split whose tokens exceed ``max_length``; of very many rows, an estimate.
        max_length: the limit that ``truncated`` is counted at, the smallest if it is searched; None: not counted.
        longest: number of characters of the longest text by split.
        warnings: sentences a person should read before training starts.
        split_rule: version of the rule that cut the rows into splits.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    truncated: Mapping[str, int] = field(default_factory=dict)
    max_length: int | None = None
    longest: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    split_rule: int = 1

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the summary stored by ``dataclasses.asdict``; unknown keys are ignored."""
        return cls(**{**_known(cls, stored), "warnings": tuple(stored.get("warnings", ()))})


def _known(cls: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored values of a dataclass's fields."""
    names = {item.name for item in fields(cls)}
    return {name: value for name, value in stored.items() if name in names}
