"""From the checked sweep file to what engine, search and tracker are built from. Nothing is run here."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.assets.models import resolve_model
from orchestrator.core import deepspeed
from orchestrator.core.methods import LORA, takers
from orchestrator.core.metric import Metric
from orchestrator.core.outcome import SweepPlan
from orchestrator.core.plan import EngineName, EnginePlan
from orchestrator.core.settings import RULES
from orchestrator.core.space import Choices, Constant, Distribution, IntRange, ParamValue
from orchestrator.core.timetable import Timetable, samples_of
from orchestrator.objective.digest import digest
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.reading import row_counts
from orchestrator.search.plan import SearchPlan
from orchestrator.search.stopping.points import report_points
from orchestrator.search.stopping.rules import compared_at
from orchestrator.spec.covering import covering
from orchestrator.spec.possible import possible, possible_epochs
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.adapters import SweepAdapters
from orchestrator.tracking.description import DataInput, SweepDescription
from orchestrator.training.engine import Capacity, PackingEngine

_SIZES = ("rank", "batch_size", "max_length", "dropout")
"""Settings that decide what a trial takes of time and memory."""
_TRIED = ("method", "target_modules", "init", "dora", "rslora", "dropout", "rank")
"""Settings with which peft may refuse an adapter."""
_KINDS = ("method", "target_modules", "init", "dora")
"""Settings that decide whether a trial can be packed."""
REPORT_DIR = "report"
"""Folder in a sweep's own that holds its report."""


def plan_engine(spec: SweepSpec, splits: Splits, folder: Path) -> EnginePlan:
    """Return what the sweep's engines are built from; a trial's budget is its epochs times the training rows."""
    return EnginePlan(
        objective=spec.objective,
        model=spec.model,
        data=replace(spec.data, train=len(splits.train)),
        report_points=_points(spec, splits),
        rows_per_epoch=spec.rows_per_epoch(len(splits.train)),
        sweep_dir=str(folder),
        metric=spec.metric.name,
        precision=spec.precision,
        threads=spec.resources.cpus_per_trial,
        device=spec.device,
        engine=spec.resources.engine,
        smallest=_extreme(spec, min),
        largest=_extreme(spec, max),
        kinds=_kinds(spec),
        tried=covering(spec.space, spec.fixed, _TRIED),
        searched=spec.space.searched,
        quantisation=spec.quantisation,
        deepspeed=spec.deepspeed,
    )


def plan_search(spec: SweepSpec, timetable: Timetable) -> SearchPlan:
    """Return what the sweep searches, how, and what it may spend."""
    return SearchPlan(
        space=spec.space,
        metric=spec.metric,
        timetable=timetable,
        budget=spec.budget,
        sampler=spec.sampler,
        stopping=spec.stopping,
        fixed=spec.fixed,
        start_points=spec.start_points,
        seed=spec.seed,
    )


def plan_sweep(spec: SweepSpec, splits: Splits, model_notes: Sequence[str] = ()) -> SweepPlan:
    """Return what the sweep would do with these rows, after trying its objective's hooks and the packed engine.

    Raises:
        AssetError: the model cannot be had.
        ObjectiveError: a hook of the objective raises, or returns what it may not return.
    """
    warning = _rehearse(spec, load_objective(spec.objective), splits)
    points, resources = _points(spec, splits), spec.resources
    capacity = Capacity(slots=resources.parallel_trials, why="", packs=False)
    if resources.engine is EngineName.PACKED:
        capacity = _capacity(spec, splits)
    notes = [*model_notes, *capacity.notes]
    check_solo(spec, splits, notes.append)
    tokens = points[-1] * _tokens_per_row(spec, splits)
    cost = {"trial_tokens": tokens}
    if spec.budget.trials:
        cost["sweep_tokens"] = tokens * spec.budget.trials
    return SweepPlan(
        space=tuple(
            (
                parameter.name,
                _distribution(parameter.distribution),
                " and ".join(_condition(name, values) for name, values in parameter.when.items()),
            )
            for parameter in spec.space.parameters
        ),
        sampler=spec.sampler.name.value,
        stopping=spec.stopping.rule.value,
        report_points=points,
        ends=_ends(spec, splits),
        rungs=compared_at(spec.stopping, points),
        rows=row_counts(splits),
        data_summary=splits.summary,
        parallel_trials=capacity.slots,
        engine=(EngineName.PACKED if capacity.packs else EngineName.SOLO).value,
        why=capacity.why,
        alone=capacity.alone,
        cost={name: value for name, value in cost.items() if value},
        notes=(*notes, *([] if warning is None else [warning])),
    )


def check_solo(spec: SweepSpec, splits: Splits, say: Callable[[str], None]) -> None:
    """Try the adapters of a sweep that the solo engine trains, and say what ``check_adapters`` returns.

    A packing engine tries them itself, where the libraries are loaded anyway.

    Raises:
        UserError: peft refuses some.
    """
    if spec.resources.engine is EngineName.SOLO:
        from orchestrator.training.checks.adapter_check import check_adapters

        for note in check_adapters(plan_engine(spec, splits, Path()), load_objective(spec.objective)):
            say(note)


def _rehearse(spec: SweepSpec, objective: Objective, splits: Splits) -> str | None:
    """Call the objective's hooks on a few rows; see ``training.rehearsal``."""
    from orchestrator.training.checks.rehearsal import rehearse

    return rehearse(objective, splits, plan_engine(spec, splits, Path()))


def _capacity(spec: SweepSpec, splits: Splits) -> Capacity:
    """Try whether the base can be packed, and measure how many trials pay at once where the file does not say it."""
    from orchestrator.training.build import build_engine

    with TemporaryDirectory() as folder, closing(build_engine(plan_engine(spec, splits, Path(folder)))) as engine:
        assert isinstance(engine, PackingEngine)
        return engine.capacity(spec.resources.parallel_trials, measure=spec.resources.measured)


def fingerprint_of(spec: SweepSpec, splits: Splits) -> dict[str, Any]:
    """Return what may not change when a sweep goes on: the file's part, the rows themselves, and an own objective."""
    found = {**spec.fingerprint(), "rows": {name: digest(rows) for name, rows in splits.by_name().items()}}
    if spec.objective.endswith(".py"):
        found["objective_file"] = hashlib.sha256(Path(spec.objective).read_bytes()).hexdigest()[:16]
    return found


def facts_of(spec: SweepSpec, splits: Splits, plan: EnginePlan) -> dict[str, Any]:
    """Return what the ledger is told of the sweep when it begins to run, as plain JSON."""
    stopping = spec.stopping
    return {
        "metric": {"name": spec.metric.name, "direction": spec.metric.direction.value},
        "data": row_counts(splits),
        "data_summary": asdict(splits.summary),
        "report_points": list(plan.report_points),
        "engine": asdict(plan),
        "rungs": list(compared_at(stopping, plan.report_points)),
    }


def describe(spec: SweepSpec, splits: Splits, digests: Mapping[str, str], folder: Path) -> SweepDescription:
    """Return what the tracker is told of the sweep, beside the ledger's records.

    Args:
        spec: the checked sweep file.
        splits: its rows.
        digests: a name for the rows of each split by their content, from the fingerprint.
        folder: the sweep's own.
    """
    params: Mapping[str, Any] = {
        "objective": spec.objective,
        "model": str(spec.model),
        "data": str(spec.data.source),
        "sampler": spec.sampler.name.value,
        "stopping": spec.stopping.rule.value,
        "metric": spec.metric.name,
        "seed": spec.seed,
    }
    if not spec.space.has("epochs"):
        params = {**params, "epochs": spec.epochs}
    if spec.quantisation is not None:
        params = {**params, "quantisation": spec.quantisation.value}
    if spec.deepspeed is not None:
        params = {**params, "deepspeed": deepspeed.told(spec.deepspeed)}
    contexts = {"train": "training"}
    return SweepDescription(
        metric=spec.metric,
        fixed=spec.fixed,
        params=params,
        data=tuple(
            DataInput(
                name=name,
                context=contexts.get(name, name.partition("/")[0]),
                source=str(spec.data.shift.get(name.partition("/")[2], spec.data.source)),
                digest=digests[name],
                rows=len(rows),
            )
            for name, rows in splits.by_name().items()
        ),
        notes=spec.description or "",
        files=folder / REPORT_DIR,
        keep_adapters=spec.tracking.keep_adapters,
    )


def adapters_of(
    plan: EnginePlan, objective: Objective, metric: Metric, facts: Mapping[str, Any] | None = None
) -> SweepAdapters:
    """Return where a sweep's adapters lie, and what they have in common.

    Args:
        plan: of the sweep's engines.
        objective: the sweep's.
        metric: says which checkpoint is best.
        facts: the sweep's, for the labels that its data had; None: nothing is known of them.

    Raises:
        AssetError: the base model cannot be had.
    """
    prompt, data = getattr(objective, "prompt", None), (facts or {}).get("data_summary", {})
    return SweepAdapters(
        sweep_dir=Path(plan.sweep_dir),
        metric=metric,
        base=plan.model,
        base_path=resolve_model(plan.model),
        quantisation=plan.quantisation,
        head=objective.head.value,
        labels=tuple(objective.labels),
        objective=objective.name,
        prompt=prompt if isinstance(prompt, str) else "{text}",
        label_values=data.get("labels", {}),
        label_counts=data.get("label_counts", {}),
        text_column=plan.data.columns.get("text", "text"),
    )


def _points(spec: SweepSpec, splits: Splits) -> tuple[int, ...]:
    return report_points(samples_of(spec.epochs, len(splits.train)), spec.stopping.reports)


def _ends(spec: SweepSpec, splits: Splits) -> tuple[int, ...]:
    """Return the samples at which trials can end that nobody stops, ascending; of a range of epochs, its ends."""
    rows = len(splits.train)
    return tuple(sorted({samples_of(epochs, rows) for epochs in possible_epochs(spec.space, spec.fixed)}))


def _tokens_per_row(spec: SweepSpec, splits: Splits) -> float:
    """Estimate real tokens of a training row from its characters: about four a token in English."""
    max_length = float(str(spec.fixed.get("max_length", RULES["max_length"].default)))
    sample = splits.train.select(range(min(500, len(splits.train))))
    lengths = [sum(len(value) for value in row.values() if isinstance(value, str)) / 4 for row in sample]
    return sum(min(length, max_length) for length in lengths) / max(1, len(lengths))


def _extreme(spec: SweepSpec, choose: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """Return the settings of the smallest or the largest trial that can come, those that are not searched included.

    Where some methods are packed and others are not, packed trials count: they share memory.
    """
    found = dict(spec.fixed)
    for name in _SIZES:
        if spec.space.has(name):  # each by itself: all of them together have too many combinations to count
            trials = possible(spec.space, spec.fixed, (name, "method"))
            packed = [trial for trial in trials if trial["method"] == LORA] or trials
            found[name] = choose([trial[name] for trial in packed])
    return found


def _kinds(spec: SweepSpec) -> tuple[dict[str, Any], ...]:
    """Return every combination that can come of the settings that decide whether a trial can be packed.

    Settings that a trial's method does not take decide nothing.
    """
    deciding = [name for name in _KINDS if spec.space.has(name)]
    found: dict[frozenset[tuple[str, Any]], dict[str, Any]] = {}
    for trial in possible(spec.space, spec.fixed, {"method", *deciding}) if deciding else ():
        kind = {name: trial[name] for name in deciding if trial["method"] in takers(name)}
        found.setdefault(frozenset(kind.items()), kind)
    return tuple(found.values())


def _distribution(distribution: Distribution) -> str:
    if isinstance(distribution, Constant):
        return f"fixed at {distribution.value}"
    if isinstance(distribution, Choices):
        return "one of " + ", ".join(map(_written, distribution.choices))
    plain = distribution.step is None or (isinstance(distribution, IntRange) and distribution.step == 1)
    scale = ", log" if distribution.log else "" if plain else f", step {distribution.step:g}"
    return f"{distribution.low:g} … {distribution.high:g}{scale}"


def _condition(name: str, values: tuple[ParamValue, ...]) -> str:
    """Return when a parameter is active: ``method = lora``, ``rank = 4 or 8``."""
    return f"{name} = {' or '.join(map(_written, values))}"


def _written(value: ParamValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
