"""What the tracker is told about a sweep, once: plain values that the ledger's records do not hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweep import SweepRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class DataInput:
    """A data set that a sweep reads, as MLflow lists it.

    Attributes:
        name: what a person calls it, for example ``vader-movie``.
        context: ``training``, ``validation``, ``test`` or ``shift``.
        source: where it comes from: a packaged name, ``hub:org/name`` or a path.
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
    """What stands on a sweep's runs beside the ledger's records.

    Attributes:
        metric: the searched metric; its best value says which checkpoint of a trial is the best.
        fixed: settings that the sweep file fixes for every trial.
        params: the parent run's parameters: objective, model, data, sampler, rule ...
        data: the data sets, logged as inputs.
        notes: Markdown, put on top of the parent run's description.
        files: a folder that is mirrored to the parent run's artifacts: report, pictures, tables.
        code_dir: a folder inside the checkout whose commit is recorded; None: the working directory.
        keep_adapters: how many of the best adapters are logged as models when the sweep has finished.
    """

    metric: Metric
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    data: tuple[DataInput, ...] = ()
    notes: str = ""
    files: Path | None = None
    code_dir: Path | None = None
    keep_adapters: int = 3


def sweep_key(sweep: SweepRecord) -> str:
    """Return what tells this sweep from every other, of other ledgers on the same server too."""
    return sweep.key
