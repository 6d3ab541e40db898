"""The engine plan and the search plan of a sweep file."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.core.methods.catalogue import LENGTH, LORA, METHODS, OPTIONS, SCHEDULE, takers
from orchestrator.core.sweeps.goal import names_of
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import AT_END
from orchestrator.evaluation.forgetting import PREFIX
from orchestrator.search.plan import SearchPlan
from orchestrator.search.stopping.points import report_points
from orchestrator.spec.covering import covering
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sweep_spec import SweepSpec

_SIZES = ("rank", "batch_size", "max_length", "dropout")
"""Settings with an effect on the time and memory of a trial."""
_TRIED = ("method", "target_modules", "init", "dora", "rslora", "dropout", "rank")
"""Settings for which peft may refuse an adapter."""
_KINDS = ("method", "target_modules", "init", "dora")
"""Settings with an effect on packing: they decide whether a trial can be packed. So do the options of LoRA."""


def plan_engine(
    spec: SweepSpec,
    train_rows: int,
    validation_rows: int | None = None,
    *,
    generation: GenerationPlan | None = None,
) -> EnginePlan:
    """Return the plan of the sweep's engines; the budget of a trial is its epochs times ``train_rows`` samples.

    Without ``validation_rows`` the number is the sweep file's.
    """
    data = replace(spec.data, train=train_rows)
    if validation_rows is not None:  # an engine reads the same rows again
        data = replace(data, validation=validation_rows, equal_folds=False)
    points = report_points(spec.samples(train_rows), spec.stopping.reports)
    searched = names_of(spec.metric)
    early_from = spec.stopping.grace_samples or points[0]
    if any(name.startswith(AT_END) for name in searched):  # checkpoints with and without them cannot be compared
        early_from = points[0]
    return EnginePlan(
        objective=spec.objective,
        model=spec.model,
        data=data,
        report_points=points,
        rows_per_epoch=spec.rows_per_epoch(train_rows),
        sweep_dir="",  # the sweep has no folder yet
        metric=spec.metric.name,
        precision=spec.precision,
        attention=spec.attention,
        checkpointing=spec.checkpointing,
        threads=spec.resources.cpus_per_trial,
        device=spec.device,
        engine=spec.resources.engine,
        **({} if spec.function is not None else _adapters(spec)),
        searched=spec.space.searched,
        function=spec.function,
        quantisation=spec.quantisation,
        deepspeed=spec.deepspeed,
        workers=spec.resources.workers_per_trial,
        record=spec.tracking.record,
        forgetting=any(name.startswith(PREFIX) for name in searched),
        early=spec.stopping.early,
        early_from=early_from,
        generation=generation,
    )


def _adapters(spec: SweepSpec) -> dict[str, Any]:
    """Return the fields of the plan that depend on the possible adapters."""
    return {
        "smallest": _extreme(spec, min),
        "largest": _extreme(spec, max),
        "kinds": _kinds(spec),
        "tried": covering(spec.space, spec.fixed, (*_TRIED, *_options(spec), *_lengths(spec))),
    }


def _options(spec: SweepSpec) -> list[str]:
    """Return the fixed and searched options of methods, by their names as settings."""
    named = (*spec.fixed, *(parameter.name for parameter in spec.space.parameters))
    return [name for name in named if name.startswith(OPTIONS)]


def _lengths(spec: SweepSpec) -> list[str]:
    """Return the searched settings of a trial's length, if a method has a schedule that must fit into it."""
    has_schedule = any(f"{OPTIONS}{name}" in _options(spec) for name in SCHEDULE)
    return [name for name in LENGTH if has_schedule and spec.space.has(name)]


def plan_search(spec: SweepSpec, timetable: Timetable) -> SearchPlan:
    """Return the space, the sampler, the stopping rule and the budget of the search."""
    return SearchPlan(
        space=spec.space,
        metric=spec.metric,
        timetable=timetable,
        budget=spec.budget,
        sampler=spec.sampler,
        stopping=spec.stopping,
        fixed=spec.fixed,
        start_points=(*spec.start_points, *spec.prior_points),
        confirm=spec.confirm,
        keep_adapters=spec.tracking.keep_adapters,
        learning_curve=spec.learning_curve,
        seed=spec.seed,
        free=spec.function is not None,
    )


def _extreme(spec: SweepSpec, choose: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """Return the settings of the smallest or the largest possible trial, fixed settings included.

    If only some methods can be packed, packed trials count: they share memory.
    """
    settings = dict(spec.fixed)
    for name in _SIZES:
        if spec.space.has(name):  # one setting at a time: all of them together have too many combinations
            trials = possible(spec.space, spec.fixed, (name, "method"))
            packed = [trial for trial in trials if trial["method"] == LORA] or trials
            settings[name] = choose([trial[name] for trial in packed])
    return settings


def _kinds(spec: SweepSpec) -> tuple[dict[str, Any], ...]:
    """Return each possible combination of the settings in ``_KINDS``.

    Settings not used by a trial's method are left out.
    """
    options = [f"{OPTIONS}{name}" for name in METHODS[LORA].options]
    deciding = [name for name in (*_KINDS, *options) if spec.space.has(name)]
    kinds: dict[frozenset[tuple[str, Any]], dict[str, Any]] = {}
    for trial in possible(spec.space, spec.fixed, {"method", *deciding}) if deciding else ():
        kind = {name: trial[name] for name in deciding if trial["method"] in takers(name)}
        kinds.setdefault(frozenset(kind.items()), kind)
    return tuple(kinds.values())
