"""The description of a sweep for the tracker: plain values missing in the ledger's records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.sweep import SweepRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class DataInput:
    """A data set of a sweep, as listed by MLflow.

    Attributes:
        name: its display name, for example ``vader-movie``.
        context: ``training``, ``validation``, ``test`` or ``shift``.
        source: its origin: a packaged name, ``hub:org/name`` or a path.
        digest: identifies the rows; MLflow keeps the first 36 characters.
        rows: number of rows.
    """

    name: str
    context: str
    source: str
    digest: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepDescription:
    """The contents of a sweep's runs, beside the ledger's records.

    Attributes:
        metric: the searched metric; it decides the best checkpoint of a trial.
        fixed: settings fixed by the sweep file.
        params: the parent run's parameters: objective, model, data, sampler, rule ...
        data: the data sets, logged as inputs.
        notes: Markdown for the top of the parent run's description.
        files: a folder mirrored to the parent run's artifacts: report page and tables.
        row_files: files about single rows, added to these artifacts once they exist; they hold texts of the data.
        code_dir: a folder inside the checkout; its commit is recorded. None: the working directory.
        keep_adapters: number of best adapters logged as models at the end of the sweep.
    """

    metric: Metric
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    data: tuple[DataInput, ...] = ()
    notes: str = ""
    files: Path | None = None
    row_files: tuple[Path, ...] = ()
    code_dir: Path | None = None
    keep_adapters: int = 3


def sweep_key(sweep: SweepRecord) -> str:
    """Return the sweep's key, unique on a tracking server shared by several ledgers."""
    return sweep.key
