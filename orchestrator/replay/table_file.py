"""Trial tables as Parquet files: one row per report, readable with plain pandas.

Every row repeats the columns of its trial. A trial without a report has one row with no value in ``samples``. A missing
metric has no value, and NaN is a value. Values of the test rows are lists, in the row of the best report only.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue, format_value, is_number
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.settings import RULES, TrialSettings
from orchestrator.core.trials.trial import TrialState
from orchestrator.replay.table import TableReport, TableTrial, TrialTable

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Version of the format, in the file's metadata. A later one is refused."""

_KEY = b"loratory.trial_table"
_PARAM, _FINAL, _TEST, _ROWS = "param/", "final/", "test/", "test_rows/"
_ROW_COLUMNS = ("losses", "units", "predictions", "references")
_ID_COLUMNS = (f"{_ROWS}predictions", f"{_ROWS}references")
_TRIAL_COLUMNS = ("trial", "sweep", "seed", "state", "reason", "params", "settings")
_REPORT_COLUMNS = ("samples", "seconds")

_Row: TypeAlias = dict[str, Any]


def write_table(table: TrialTable, path: Path) -> None:
    """Write a table; an existing file is replaced at once.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for trial in table.trials for row in _rows(trial, table.metric)]
    names = _column_names(rows)
    columns = [_column(name, [row.get(name) for row in rows], of_function=table.of_function) for name in names]
    about = {
        "version": VERSION,
        "name": table.name,
        "metric": asdict(table.metric),
        "points": table.points,
        "spec_text": table.spec_text,
    }
    written = pa.table(columns, names=names).replace_schema_metadata({_KEY: json.dumps(about).encode()})
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as stream:
            pq.write_table(written, stream, compression="zstd", compression_level=9)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_table(path: Path) -> TrialTable:
    """Return the table of a file.

    Raises:
        DataError: the file is missing, is damaged or has another form, or a later version wrote it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stored = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} cannot be read as a trial table: {reason}") from error
    about = _about(stored, path)
    by_trial: dict[tuple[str, int], list[_Row]] = {}
    for row in _present_values(stored):
        by_trial.setdefault((row["sweep"], row["trial"]), []).append(row)
    metric, metrics = about["metric"], [*filter(_is_metric, stored.column_names)]
    return TrialTable(
        name=about["name"],
        metric=Metric(name=metric["name"], direction=Direction(metric["direction"])),
        spec_text=about["spec_text"],
        points=tuple(about["points"]),
        trials=tuple(_trial(rows, metrics) for rows in by_trial.values()),
    )


def _about(stored: "pa.Table", path: Path) -> dict[str, Any]:
    """Return the file's metadata."""
    text = (stored.schema.metadata or {}).get(_KEY)
    if text is None:
        raise DataError(f"{path} is not a trial table; write one with: python -m orchestrator table NAME {path.name}")
    about: dict[str, Any] = json.loads(text)
    if about["version"] > VERSION:
        raise DataError(
            f"{path} is a trial table of version {about['version']}; this Loratory reads versions up to {VERSION}. "
            "Upgrade it"
        )
    return about


def _rows(trial: TableTrial, metric: Metric) -> Iterator[_Row]:
    """Yield the rows of a trial; a missing column has no value."""
    own: _Row = {
        "trial": trial.number,
        "sweep": trial.sweep,
        "seed": trial.seed,
        "state": trial.state.value,
        "reason": trial.reason,
        "params": json.dumps(dict(trial.params)),
        "settings": json.dumps(_settings(trial.settings)),
        **_prefixed(_PARAM, {name: _column_value(name, value) for name, value in trial.params.items()}),
        **_prefixed(_FINAL, trial.final),
        **_prefixed(_TEST, trial.test),
    }
    stored = trial.test_rows
    measured = {} if stored is None else {_ROWS + name: getattr(stored, name) for name in _ROW_COLUMNS}
    if not trial.reports:
        yield own | measured
        return
    best = trial.best(metric) or trial.reports[-1]
    for report in trial.reports:
        row = own | dict(report.metrics) | {"samples": report.samples, "seconds": report.seconds}
        yield row | measured if report is best else row


def _settings(settings: TrialSettings) -> dict[str, Any]:
    """Return the settings for ``TrialSettings.from_params``; those of a function are its values only."""
    return {"values": dict(settings.values)} if settings.values else settings.to_json()


def _trial(rows: Sequence[_Row], metrics: Sequence[str]) -> TableTrial:
    """Return the trial of its rows; ``metrics`` names the columns with metrics of the reports."""
    first = rows[0]
    measured = next((values for row in rows if (values := _below(_ROWS, row))), None)
    return TableTrial(
        number=first["trial"],
        sweep=first["sweep"],
        params=json.loads(first["params"]),
        settings=TrialSettings.from_params(json.loads(first["settings"])),
        seed=first["seed"],
        state=TrialState(first["state"]),
        reason=first.get("reason"),
        reports=tuple(
            TableReport(
                samples=row["samples"],
                metrics={name: row[name] for name in metrics if name in row},
                seconds=row["seconds"],
            )
            for row in rows
            if "samples" in row
        ),
        final=_below(_FINAL, first),
        test=_below(_TEST, first),
        test_rows=None if measured is None else RowMeasures.from_json(measured),
    )


def _present_values(stored: "pa.Table") -> Iterator[_Row]:
    """Yield the rows without their missing values."""
    columns = {name: column.to_pylist() for name, column in zip(stored.column_names, stored.columns, strict=True)}
    for values in zip(*columns.values(), strict=True):
        yield {name: value for name, value in zip(columns, values, strict=True) if value is not None}


def _column_names(rows: Iterable[_Row]) -> list[str]:
    """Return the columns: trial, report, parameters, metrics, then values of the best checkpoint."""
    names = dict.fromkeys((*_TRIAL_COLUMNS, *_REPORT_COLUMNS))
    names |= dict.fromkeys(name for row in rows for name in row)
    groups: list[Callable[[str], bool]] = [
        lambda name: name in {*_TRIAL_COLUMNS, *_REPORT_COLUMNS},
        lambda name: name.startswith(_PARAM),
        _is_metric,
    ]
    return sorted(names, key=lambda name: next((at for at, group in enumerate(groups) if group(name)), len(groups)))


def _column(name: str, values: Sequence[Any], *, of_function: bool) -> "pa.Array":
    """Return a column. A function's parameters have the type of their values; values of several types become texts."""
    import pyarrow as pa

    if not of_function or not name.startswith(_PARAM):
        return pa.array(values, _kind(name))
    kinds = {float if is_number(value) else type(value) for value in values if value is not None}
    if len(kinds) > 1:
        values = [None if value is None else format_value(value) for value in values]
    return pa.array(values)


def _kind(name: str) -> "pa.DataType":
    """Return the type of a column."""
    import pyarrow as pa

    integers = {"trial": pa.int32(), "seed": pa.int64(), "samples": pa.int64()}
    if name in integers:
        return integers[name]
    if name in _TRIAL_COLUMNS:
        return pa.string()
    if name.startswith(_ROWS):
        return pa.list_(pa.int32() if name in _ID_COLUMNS else pa.float32())
    if name.startswith(_PARAM):
        kinds = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
        return kinds.get(RULES[name.removeprefix(_PARAM)].kind, pa.string())
    return pa.float64()


def _column_value(name: str, value: ParamValue) -> ParamValue:
    """Return a parameter's value for its column: options of several kinds are texts."""
    return format_value(value) if name in RULES and RULES[name].kind is object and value is not None else value


def _is_metric(name: str) -> bool:
    """Return whether a column holds a metric of the reports."""
    return name not in {*_TRIAL_COLUMNS, *_REPORT_COLUMNS} and not name.startswith((_PARAM, _FINAL, _TEST, _ROWS))


def _prefixed(prefix: str, values: Mapping[str, object]) -> _Row:
    return {prefix + name: value for name, value in values.items()}


def _below(prefix: str, row: _Row) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
