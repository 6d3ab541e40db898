"""``--dry-run``: the plan of a sweep, after a rehearsal of its objective and a trial of its engine."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory

from orchestrator.core.data import DataSummary
from orchestrator.core.methods import deepspeed
from orchestrator.core.metric import Metric
from orchestrator.core.space import Choices, Constant, Distribution, IntRange, ParamValue, format_value
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.trials.settings import RULES
from orchestrator.core.trials.timetable import samples_of
from orchestrator.objective.protocol import Splits, generation_metrics
from orchestrator.objective.rows.selection import first_rows
from orchestrator.preparation.early_metrics import early_text
from orchestrator.preparation.generation import answers_text
from orchestrator.preparation.prepared import PreparedSweep
from orchestrator.preparation.rows import row_counts
from orchestrator.search.confirmation import confirmation_text
from orchestrator.search.learning_curve import learning_curve_text
from orchestrator.search.plan import SearchPlan
from orchestrator.search.stopping.rules import compared_at
from orchestrator.spec.sections.possible import possible_epochs
from orchestrator.training.engine import Capacity, PackingEngine
from orchestrator.training.process.computing import Computing, computing


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """The plan of a sweep, in words and numbers for a user.

    Attributes:
        name: the sweep's name.
        metric: the searched metric.
        objective: the task, by its name or file.
        model: the base model, with the number format of quantised weights.
        data: the source of the rows.
        budget: the limits of the sweep.
        confirm: the trainings with fresh seeds after the search, in words.
        learning_curve: the trainings on shares of the rows after the search, in words; None: there are none.
        space: one row per parameter: name, distribution in words, condition in words.
        sampler: the sampler's name.
        start_points: number of start points, of the sweep file and of the prior.
        prior: the start points of the prior and their origin, in words.
        stopping: the stopping rule's name.
        report_points: nominal training samples at which trials report.
        ends: samples at which trials end without early stopping, ascending; several if their epochs differ.
        rungs: the report points at which trials are compared.
        compared: name of the metric compared there.
        length: the length of a trial, with the reason.
        earliest_rung: the reason for the first rung; empty if no trials are compared.
        rows: number of rows by split.
        data_summary: counts of the rows used and left out.
        parallel_trials: trials at once.
        engine: the name of the engine.
        why: the reason for the engine and the number of trials, if they were measured or tried.
        deepspeed: DeepSpeed's configuration in a few words; None without DeepSpeed.
        workers: processes of each trial.
        computing: number format, attention and gradient checkpointing, with reasons; None for a function.
        answers: the answers to be written, with their share of the time, in words; None: the task writes none.
        tokens: which rows are encoded already on this machine, in words; None: a function.
        alone: the trials of the solo engine in a packed sweep, and why, one sentence each.
        cost: estimates: ``trial_tokens`` at most, and ``sweep_tokens`` if the budget is a number of trials.
        notes: notes for the user on the model, its adapters and the data, one sentence each.
    """

    name: str
    metric: Metric
    objective: str
    model: str
    data: str
    budget: Budget
    space: tuple[tuple[str, str, str], ...]
    sampler: str
    stopping: str
    report_points: tuple[int, ...]
    ends: tuple[int, ...]
    rungs: tuple[int, ...]
    compared: str
    length: str
    earliest_rung: str
    rows: Mapping[str, int]
    parallel_trials: int
    engine: str
    data_summary: DataSummary = field(default_factory=DataSummary)
    start_points: int = 0
    prior: str = "none"
    confirm: str = "none"
    learning_curve: str | None = None
    why: str = ""
    deepspeed: str | None = None
    workers: int = 1
    computing: Computing | None = None
    answers: str | None = None
    early: str | None = None
    tokens: str | None = None
    alone: tuple[str, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def preview(prepared: PreparedSweep) -> SweepPlan:
    """Return the plan of a sweep, after calling its objective's hooks and trying the packed engine.

    Raises:
        AssetError: the model is not available.
        ObjectiveError: a hook of the objective raises, or returns a wrong value.
    """
    engine_plan, search_plan, splits = prepared.engine_plan, prepared.search_plan, prepared.splits
    warning = _rehearsed(prepared)
    capacity = Capacity(slots=prepared.resources.parallel_trials, why="", packs=False)
    if engine_plan.engine is EngineName.PACKED:
        capacity = _capacity(prepared)
    engine, points = _engine_name(engine_plan, capacity), engine_plan.report_points
    base, quantisation, configuration = engine_plan.model, engine_plan.quantisation, engine_plan.deepspeed
    return SweepPlan(
        name=prepared.name,
        metric=prepared.metric,
        objective=engine_plan.objective,
        model=f"{base} in {quantisation}" if quantisation else str(base),
        data=str(engine_plan.data.source),
        budget=search_plan.budget,
        confirm=confirmation_text(search_plan),
        learning_curve=learning_curve_text(search_plan),
        space=tuple(
            (
                parameter.name,
                _distribution_text(parameter.distribution),
                " and ".join(_condition_text(name, values) for name, values in parameter.when.items()),
            )
            for parameter in search_plan.space.parameters
        ),
        sampler=search_plan.sampler.name.value,
        stopping=search_plan.stopping.rule.value,
        report_points=points,
        ends=(points[-1],) if splits is None else _ends(search_plan, len(splits.train)),
        rungs=compared_at(search_plan.stopping, points),
        compared=(search_plan.stopping.metric or search_plan.metric).name,
        length=prepared.length.text,
        earliest_rung=prepared.length.earliest_rung,
        rows={} if splits is None else row_counts(splits),
        data_summary=DataSummary() if splits is None else splits.summary,
        parallel_trials=capacity.slots,
        engine=engine.value,
        start_points=len(search_plan.start_points),
        prior=prepared.prior,
        why=capacity.why,
        deepspeed=None if configuration is None else deepspeed.summary(configuration),
        workers=engine_plan.workers,
        computing=None if prepared.objective is None else _computing(engine_plan, engine, capacity),
        answers=None if prepared.objective is None else _answers(prepared),
        early=None
        if splits is None
        else early_text(engine_plan, row_counts(splits), _tokens_per_row(search_plan, splits)),
        tokens=prepared.tokens,
        alone=capacity.alone,
        cost={} if splits is None else _cost(search_plan, points[-1] * _tokens_per_row(search_plan, splits)),
        notes=(*prepared.notes, *capacity.notes, *([] if warning is None else [warning])),
    )


def _rehearsed(prepared: PreparedSweep) -> str | None:
    """Call the objective's hooks on some rows; return a warning or None. A function is not called."""
    from orchestrator.training.checks.rehearsal import rehearse

    if prepared.objective is None or prepared.splits is None:
        return None
    return rehearse(prepared.objective, prepared.splits, prepared.engine_plan)


def _engine_name(plan: EnginePlan, capacity: Capacity) -> EngineName:
    """Return the engine that trains most trials: solo if none can be packed."""
    if plan.engine is EngineName.FUNCTION:
        return EngineName.FUNCTION
    return EngineName.PACKED if capacity.packs else EngineName.SOLO


def _computing(plan: EnginePlan, engine: EngineName, capacity: Capacity) -> Computing:
    """Return the choices of the engine that trains; of both engines if the solo engine trains some kinds of trials."""
    return computing(replace(plan, engine=engine), mixed=bool(capacity.alone))


def _capacity(prepared: PreparedSweep) -> Capacity:
    """Build the packed engine; return how many trials fit, measured if the sweep file names no number."""
    from orchestrator.training.build import build_engine

    resources = prepared.resources
    with TemporaryDirectory() as folder:
        plan = replace(prepared.engine_plan, sweep_dir=folder)
        with closing(build_engine(plan, prepared.splits)) as engine:
            assert isinstance(engine, PackingEngine)
            return engine.capacity(resources.parallel_trials, measure=resources.measured)


def _answers(prepared: PreparedSweep) -> str | None:
    """Return the answers of a sweep in words; None if they are not measured."""
    objective, splits, plan = prepared.objective, prepared.splits, prepared.engine_plan
    if objective is None or splits is None or plan.generation is None or not generation_metrics(objective):
        return None
    return answers_text(plan.generation, plan, row_counts(splits), _tokens_per_row(prepared.search_plan, splits))


def _ends(plan: SearchPlan, train_rows: int) -> tuple[int, ...]:
    """Return the samples at which trials end without early stopping, ascending; the two ends of a range of epochs."""
    return tuple(sorted({samples_of(epochs, train_rows) for epochs in possible_epochs(plan.space, plan.fixed)}))


def _cost(plan: SearchPlan, trial_tokens: float) -> dict[str, float]:
    cost = {"trial_tokens": trial_tokens}
    if plan.budget.trials:
        cost["sweep_tokens"] = trial_tokens * plan.budget.trials
    return {name: value for name, value in cost.items() if value}


def _tokens_per_row(plan: SearchPlan, splits: Splits) -> float:
    """Estimate the tokens of a training row, without padding: English has about four characters per token."""
    max_length = float(str(plan.fixed.get("max_length", RULES["max_length"].default)))
    sample = first_rows(splits.train, 500)
    lengths = [sum(len(value) for value in row.values() if isinstance(value, str)) / 4 for row in sample]
    return sum(min(length, max_length) for length in lengths) / max(1, len(lengths))


def _distribution_text(distribution: Distribution) -> str:
    if isinstance(distribution, Constant):
        return f"fixed at {format_value(distribution.value)}"
    if isinstance(distribution, Choices):
        return "one of " + ", ".join(map(format_value, distribution.choices))
    plain = distribution.step is None or (isinstance(distribution, IntRange) and distribution.step == 1)
    scale = ", log" if distribution.log else "" if plain else f", step {distribution.step:g}"
    return f"{distribution.low:g} … {distribution.high:g}{scale}"


def _condition_text(name: str, values: tuple[ParamValue, ...]) -> str:
    """Return when a parameter is active: ``method = lora``, ``rank = 4 or 8``."""
    return f"{name} = {' or '.join(map(format_value, values))}"
