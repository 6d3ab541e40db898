"""Rules between keys of different sections."""

from collections.abc import Mapping, Sequence

from orchestrator.core.grid import MOST_POINTS, all_points, endless
from orchestrator.core.labels import class_of, mapping_key
from orchestrator.core.methods import METHODS, takers
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.objective_facts import ObjectiveFacts
from orchestrator.core.policy import SamplerName, SamplerPolicy, StoppingPolicy
from orchestrator.core.quantisation import Quantisation, missing_package
from orchestrator.core.settings import RULES, Group
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.timetable import samples_of
from orchestrator.spec.possible import possible
from orchestrator.spec.problems import KeyPath, Problems, shown
from orchestrator.spec.sections import Search, SweepFile
from orchestrator.spec.suggest import one_of

_SIZES = {
    SamplerName.TPE: ("startup_trials",),
    SamplerName.GP: ("startup_trials",),
    SamplerName.CMAES: ("startup_trials", "population"),
    SamplerName.NSGAII: ("population",),
}
_SPLITS = ("train", "val", "validation", "test")


def read_fixed(file: SweepFile, names: Sequence[str], problems: Problems) -> Mapping[str, ParamValue]:
    """Return the settings that the file fixes; those that it also searches are noted."""
    fixed: dict[str, ParamValue] = {}
    for group, section in ((Group.ADAPTER, file.adapter), (Group.TRAINING, file.training), (Group.DATA, file.data)):
        for name, rule in RULES.items():
            if rule.group is group and name in section.model_fields_set:
                fixed[name] = getattr(section, name)
                if name in names:
                    elsewhere = f"{group}.{name}={shown(fixed[name])}"
                    message = f"a setting is fixed or searched, not both, got {elsewhere} as well"
                    problems.add(("search", "space", name), message, at_key=True)
    return fixed


def read_metric(search: Search, facts: ObjectiveFacts, problems: Problems) -> Metric:
    """Return the searched metric with the direction that the objective gives it."""
    known = {f"val/{name}": direction for name, direction in facts.metrics.items()}
    name = facts.default_metric if search.metric is None else search.metric
    if name not in known and not facts.complete:
        # A file that was not run may state more metrics, with directions that nobody knows yet.
        return Metric(name=name, direction=search.direction or Direction.MINIMIZE)
    if name not in known:
        problems.add(("search", "metric"), one_of(name, list(known)))
        name = facts.default_metric
    elif search.direction not in (None, known[name]) and facts.complete:
        rule = f"the objective's direction of {name} is needed, {known[name]}"
        problems.add(("search", "direction"), f"{rule}, got {search.direction}")
    return Metric(name=name, direction=known[name])


def read_labels(
    written: Mapping[str, ParamValue], facts: ObjectiveFacts | None, problems: Problems
) -> Mapping[str, str | None]:
    """Return ``data.labels`` with the class names as the objective writes them, if known; None leaves rows out."""
    found: dict[str, str | None] = {}
    if facts is None or not written:
        return found
    if facts.labels == ():
        problems.add(("data", "labels"), "the objective has no classes, so no label can be mapped", at_key=True)
        return found
    for value, name in written.items():
        text = name if isinstance(name, str) else shown(name)
        same = [key for key in found if mapping_key(key) == mapping_key(value)]
        if same:
            problems.add(
                ("data", "labels", value), f"stands for the same value as {same[0]!r}; write one of them", at_key=True
            )
        found[value.strip()] = None if name is None else text
        if name is None or facts.labels is None:
            continue
        index = class_of(text, facts.labels)
        if index is None:
            problems.add(("data", "labels", value), one_of(text, facts.labels))
        else:
            found[value.strip()] = facts.labels[index]
    return found


def check_sampler(sampler: SamplerPolicy, space: Space, problems: Problems) -> None:
    """Note sizes that the sampler has no use for, and spaces that a grid cannot enumerate."""
    for size in ("startup_trials", "population"):
        if getattr(sampler, size) is not None and size not in _SIZES.get(sampler.name, ()):
            users = ", ".join(name for name, sizes in _SIZES.items() if size in sizes)
            problems.add(("search", "sampler", size), f"is for {users} alone, got it with {sampler.name}", at_key=True)
    if sampler.name is SamplerName.GRID:
        uncountable = endless(space)
        for name in uncountable:
            message = "the grid sampler needs choices or a step, got a continuous range"
            problems.add(("search", "space", name), message, at_key=True)
        if not uncountable and all_points(space) is None:
            problems.add(("search", "space"), f"a grid may have {MOST_POINTS:,} points, got more", at_key=True)


def check_method(fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Note settings that no method takes with which they could come: nothing that is written is ignored in silence.

    Where the method is searched, what some of its values take may stand there, and trials of the others pass it over.
    """
    drawn = _methods(fixed, space)
    conditions = {parameter.name: parameter.when.get("method", drawn) for parameter in space.parameters}
    for name in dict.fromkeys((*fixed, *conditions)):
        beside = [method for method in drawn if method in conditions.get(name, drawn)]
        if beside and not {*beside} & {*takers(name)}:
            message = f"is for {', '.join(takers(name))} alone, got it with method={' and '.join(beside)}"
            problems.add(_place(name, space), message, at_key=True)


def _methods(fixed: Mapping[str, ParamValue], space: Space) -> list[str]:
    """Return the methods that trials can have."""
    drawn = {trial["method"] for trial in possible(space, fixed, ("method",))}
    return [name for name in METHODS if name in drawn]


def _inits(fixed: Mapping[str, ParamValue], space: Space, *beside: str) -> list[dict[str, ParamValue]]:
    """Return the trials that can come, by the init and by other settings; methods that take no init are left out."""
    trials = possible(space, fixed, ("method", "init", *beside))
    return [trial for trial in trials if trial["method"] in takers("init")]


def check_init(fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Note what does not go with an init: odd ranks with an orthogonal one, which halves them, and DoRA with PiSSA.

    Over the base as it was, no adapter holds the last two.
    """
    ranks = [trial["rank"] for trial in _inits(fixed, space, "rank") if trial["init"] == "orthogonal"]
    odd = [rank for rank in ranks if isinstance(rank, int) and rank % 2]
    if odd:
        message = f"even ranks alone are possible with init=orthogonal, got {odd[0]}"
        problems.follow(_place("rank", space), message)
    if any(trial["init"] == "pissa" and trial["dora"] for trial in _inits(fixed, space, "dora")):
        message = "default, gaussian and orthogonal alone are possible with dora, got pissa"
        problems.follow(_place("init", space), message)


def check_quantisation(
    quantisation: Quantisation | None, fixed: Mapping[str, ParamValue], space: Space, problems: Problems
) -> None:
    """Note a missing package, and, where they can be drawn, inits and methods for which peft needs the base's weights.

    PiSSA takes A and B out of them; an orthogonal start gets their number format, and these are codes. LoHa and LoKr
    have their shape.
    """
    if quantisation is None:
        return
    missing = missing_package(quantisation)
    if missing:
        problems.add(("quantisation",), missing)
    drawn = {trial["init"] for trial in _inits(fixed, space)}
    inits = [init for init in ("pissa", "orthogonal") if init in drawn]
    if inits:
        message = f"default and gaussian alone are possible with quantisation={quantisation}, got {inits[0]}"
        problems.follow(_place("init", space), message)
    methods = [name for name in _methods(fixed, space) if not METHODS[name].over_4_bits]
    if methods:
        possible = ", ".join(name for name, method in METHODS.items() if method.over_4_bits)
        message = f"{possible} alone are possible with quantisation={quantisation}, got {methods[0]}"
        problems.follow(_place("method", space), message)


def _place(name: str, space: Space) -> KeyPath:
    """Return where the file says what a setting can be."""
    return ("search", "space", name) if space.has(name) else (str(RULES[name].group), name)


def check_sizes(file: SweepFile, stopping: StoppingPolicy, epochs: float, problems: Problems) -> None:
    """Note numbers of rows, reports and trials that do not fit together; ``epochs`` are those of the longest trial."""
    _check_data(file, problems)
    _check_stopping(file, stopping, epochs, problems)
    _check_budget(file, stopping, problems)


def _check_data(file: SweepFile, problems: Problems) -> None:
    """Note shift sets named like a split, and a training subset larger than the training rows."""
    data = file.data
    for name in data.shift:
        if name in _SPLITS:
            message = f"a name other than {', '.join(_SPLITS)} is needed, got {name!r}"
            problems.add(("data", "shift", name), message, at_key=True)
    rows, measured = data.train, data.train_eval
    if rows is not None and measured is not None and measured > rows and not _is_tried(problems, _ROWS):
        message = f"at most data.train={rows} rows can be measured, got {measured}"
        problems.add(("data", "train_eval"), message)


def _check_stopping(file: SweepFile, stopping: StoppingPolicy, epochs: float, problems: Problems) -> None:
    """Note reports without rows between them, and reports or a grace period beyond the end of every trial.

    Nothing is noted of a file that is tried with other rows or epochs: what lies beyond the end is left out then.
    """
    if file.data.train is None or _is_tried(problems, _ROWS, *_EPOCHS):
        return
    samples = samples_of(epochs, file.data.train)
    whole = f"a trial's {samples} samples (data.train x epochs)"
    if isinstance(stopping.reports, int) and stopping.reports > samples:
        problems.follow(("early_stopping", "reports"), f"at most {whole} are needed, got {stopping.reports}")
    if isinstance(stopping.reports, tuple) and stopping.reports[-1] > samples:
        problems.follow(("early_stopping", "reports"), f"at most {whole} are possible, got {stopping.reports[-1]}")
    if stopping.grace_samples is not None and stopping.grace_samples >= samples:
        message = f"fewer than {whole} are needed, or nothing is ever stopped, got {stopping.grace_samples}"
        problems.follow(("early_stopping", "grace_samples"), message)


_ROWS: KeyPath = ("data", "train")
_EPOCHS: tuple[KeyPath, ...] = (("training", "epochs"), ("search", "space", "epochs"))


def _is_tried(problems: Problems, *paths: KeyPath) -> bool:
    """Return whether one of these comes from ``--set``: trying a sweep with few rows must not take three overrides."""
    return any(path in problems.places and problems.place(path).is_override for path in paths)


def _check_budget(file: SweepFile, stopping: StoppingPolicy, problems: Problems) -> None:
    """Note a budget without a bound, and more trials at once or in a cohort than there are trials.

    A number of trials from ``--set`` is left alone: trying a sweep with one trial must not take three overrides.
    """
    budget, trials = file.budget, file.budget.trials
    if trials is None and budget.wall_time is None and budget.tokens is None:
        problems.follow(("budget",), "at least one of trials, wall_time, tokens is needed", at_key=True)
    if trials is None or problems.place(("budget", "trials")).is_override:
        return
    counts: dict[KeyPath, int | None] = {
        ("resources", "parallel_trials"): file.resources.parallel_trials,
        ("early_stopping", "cohort"): stopping.cohort,
    }
    for path, count in counts.items():
        if count is not None and count > trials:
            problems.follow(path, f"at most budget.trials={trials} is needed, got {count}")
