"""Record the trials of a task: all configurations once, then the leaders and the default with further seeds.

Each part of the work is a small sweep of this product, without early stopping, whose start points are its
configurations. Its finished trials are added to the table's file, which is therefore usable, and can be continued on
another machine, after every part.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.exceptions import ExperimentalWarning

from orchestrator.api import load_sweep, run_sweep
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.policy import SamplerName, SamplerPolicy
from orchestrator.ledger.codec import canonical
from orchestrator.ledger.ledger import Ledger
from orchestrator.replay.recorded import table_of
from orchestrator.replay.table import TableTrial, TrialTable, merge
from orchestrator.replay.table_file import read_table, write_table
from orchestrator.search.samplers import Proposal, build_sampler
from orchestrator.search.space import propose
from orchestrator.spec.sweep_spec import SweepSpec

FOLDER = Path(__file__).parent
WORK = FOLDER.parent.parent / "build" / "tables"
"""Ledger, checkpoints and tracking of the recording sweeps; not needed once a part is in the table."""
TASKS = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
PART = 16
"""Configurations of one recording sweep."""
LEADERS = 16
"""Configurations with the best validation value recorded with ``SEEDS`` seeds, besides the default."""
SEEDS = 5

Params = dict[str, ParamValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Configurations to record in one sweep, all with the same replicate number."""

    name: str
    replicate: int
    configurations: tuple[Params, ...]


def record(task: str, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Record the missing parts of a table, until ``stop`` is set."""
    WORK.mkdir(parents=True, exist_ok=True)
    os.environ["LORATORY_HOME"] = str(WORK / "home")
    path = FOLDER / f"{task}.parquet"
    table = read_table(path) if path.is_file() else None
    while not stop.is_set():
        part = next(_missing(task, table), None)
        if part is None:
            say(f"{path.name} is complete")
            return
        say(f"{part.name}: {len(part.configurations)} configurations, replicate {part.replicate}")
        added = _run(task, part, stop, say)
        if added is None:
            return
        merged = added if table is None else merge([table, added])
        # the part's file has its configurations as start points; a search starts from those of the task's file
        table = replace(merged, name=task, spec_text=(FOLDER / f"{task}.yaml").read_text())
        write_table(table, path)
        say(f"{path.name}: {len(table.trials)} trials, {path.stat().st_size / 1e6:.2f} MB")


def configurations(spec: SweepSpec, count: int) -> list[Params]:
    """Return the sweep's first start point, then points of a Sobol' sequence over its space; ``count`` in all."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    points: dict[str, Params] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the sampler is pinned by the lock file
        study = optuna.create_study(sampler=build_sampler(_proposal(spec)))
        for start in spec.start_points[:1]:
            study.enqueue_trial(dict(start))
        while len(points) < count:
            params = propose(study.ask(), spec.space)
            points.setdefault(canonical(params), params)
    return list(points.values())


def _missing(task: str, table: TrialTable | None) -> Iterator[Part]:
    spec = load_sweep(FOLDER / f"{task}.yaml")
    count = spec.budget.trials
    assert count is not None, "the file of a recorded task sets budget.trials"
    recorded = {trial.sweep.partition("#")[0] for trial in table.trials} if table else set()
    every = configurations(spec, count)
    yield from (part for part in _parts(task, 0, every) if part.name not in recorded)
    assert table is not None, "its first parts are recorded"
    repeated = [every[0], *(dict(trial.params) for trial in _leaders(table))]
    unique = list({canonical(params): params for params in repeated}.values())
    for replicate in range(1, SEEDS):
        yield from (part for part in _parts(task, replicate, unique) if part.name not in recorded)


def _parts(task: str, replicate: int, points: Sequence[Params]) -> Iterator[Part]:
    size = PART if replicate == 0 else len(points)
    for first in range(0, len(points), size):
        chosen = tuple(points[first : first + size])
        yield Part(name=f"{task}-r{replicate}-{first}", replicate=replicate, configurations=chosen)


def _leaders(table: TrialTable) -> list[TableTrial]:
    """Return the first trial of each of the configurations with the best validation value, at most ``LEADERS``."""
    first = [group[0] for group in table.configurations()]
    scored = [trial for trial in first if trial.score(table.metric) is not None]
    return sorted(scored, key=lambda trial: table.metric.sort_key(trial.score(table.metric)))[:LEADERS]


def _run(task: str, part: Part, stop: threading.Event, say: Callable[[str], None]) -> TrialTable | None:
    """Return the table of a part's sweep; None if it was suspended."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / f"{task}.yaml").read_text())
    document["name"] = part.name
    document["search"]["start"] = list(part.configurations)
    document["budget"] = {"trials": len(part.configurations)}
    document["confirm"] = "none"  # further seeds are parts of their own
    document["tracking"] = {"keep_adapters": 1, "record": True, "uri": f"sqlite:///{WORK / 'mlflow.db'}"}
    document["seed"] = 1000 * part.replicate + int(part.name.rpartition("-")[2])
    file = WORK / f"{part.name}.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    sweep = run_sweep(file, stop=stop, say=say)
    if sweep.status != "finished":
        return None
    ledger = Ledger.open()
    try:
        record = ledger.sweeps.newest(part.name)
        assert record is not None, "the sweep was just run"
        return table_of(ledger, record)
    finally:
        ledger.close()


def _proposal(spec: SweepSpec) -> Proposal:
    return Proposal(space=spec.space, policy=SamplerPolicy(name=SamplerName.QMC), trials=None, seed=spec.seed)
