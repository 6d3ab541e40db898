"""Where models and data come from, and how data is cut; plain descriptions, nothing is read here."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


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

    def __str__(self) -> str:
        return f"hub:{self.name}" if self.origin is Origin.HUB else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlan:
    """Which rows a sweep trains, selects and tests on.

    Attributes:
        source: where the rows come from.
        columns: the objective's column names (``text``, ``label``, ``group`` ...) to the source's own.
        train: number of training rows; None takes all that the other splits leave.
        validation: number of validation rows.
        test: number of test rows.
        seed: seed of the split; trials differ in their own seeds, never in this one.
        train_eval: rows of the training split whose loss is measured in eval mode at every report.
        shift: data sets of other distributions, by the name their metrics carry.
        shift_rows: rows drawn from each shift set, at most.
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
