"""Rules over several keys of a sweep file. Each function adds the broken rules to ``problems``."""

from collections.abc import Mapping, Sequence

from orchestrator.core.grid import MOST_POINTS, all_points, endless
from orchestrator.core.methods.catalogue import METHODS, OPTIONS, takers
from orchestrator.core.methods.inits import INITS, WITH_DORA, WITH_QUANTISATION
from orchestrator.core.methods.quantisation import Quantisation, missing_package
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.policy import (
    Confirm,
    Confirmation,
    SamplerName,
    SamplerPolicy,
    StoppingName,
    StoppingPolicy,
)
from orchestrator.core.tasks.class_weights import NONE
from orchestrator.core.tasks.function import split_reference
from orchestrator.core.tasks.labels import class_of, mapping_key
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.core.trials.settings import RULES, SETTING_RULES, Group, SettingRule
from orchestrator.spec.document.problems import KeyPath, Problems, yaml_text
from orchestrator.spec.document.suggest import one_of
from orchestrator.spec.rules.options import check_options, option_rule, owned_option, read_options, unknown_option
from orchestrator.spec.sections.messages import unknown_key
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sections.settings_fields import ParameterEntry, free_rule
from orchestrator.spec.sections.sweep_file import ConfirmSection, EarlyStopping, Search, SweepFile
from orchestrator.spec.trial_length import longest_samples

_SIZES = {
    SamplerName.SURROGATE: ("startup_trials",),
    SamplerName.TPE: ("startup_trials",),
    SamplerName.GP: ("startup_trials",),
    SamplerName.CMAES: ("startup_trials", "population"),
    SamplerName.NSGAII: ("population",),
}
_NO_END = "needs budget.trials or budget.until: a search limited by time or tokens alone spends all of them"
_NAMED = 5
_SPLITS = ("train", "val", "validation", "test")


def read_fixed(file: SweepFile, names: Sequence[str], problems: Problems) -> Mapping[str, ParamValue]:
    """Return the fixed settings by name. A setting both fixed and searched is a problem."""
    fixed: dict[str, ParamValue] = {}
    for group in Group:
        section = getattr(file, group)
        for name, rule in SETTING_RULES.items():
            if rule.group is group and name in section.model_fields_set:
                fixed[name] = getattr(section, name)
                if name in names:
                    elsewhere = f"{group}.{name}={yaml_text(fixed[name])}"
                    message = f"the setting is searched here and fixed by {elsewhere}; remove one of them"
                    problems.add(("search", "space", name), message, at_key=True)
    return {**fixed, **read_options(file, names, problems)}


def parameter_rules(file: SweepFile, names: Sequence[str], problems: Problems) -> Mapping[str, SettingRule]:
    """Return the rule of each setting, or of each parameter of a function. An unknown setting is a problem."""
    space = file.search.space
    if split_reference(file.objective) is not None:
        entries = {name: space.entry(name) for name in names}
        return {name: free_rule(name, ParameterEntry() if entry is None else entry) for name, entry in entries.items()}
    for name in names:
        if name not in RULES:
            path = ("search", "space", name)
            is_option = name.startswith(OPTIONS)
            message = unknown_option(name.removeprefix(OPTIONS)) if is_option else unknown_key(path)
            problems.add_if_unrelated(path, message, at_key=True)
    options = (name for name in names if name in RULES and name.startswith(OPTIONS))
    return RULES | {name: option_rule(name, space.entry(name)) for name in options}


def read_values(file: SweepFile, names: Sequence[str], problems: Problems) -> Mapping[str, ParamValue]:
    """Return the fixed values of a function. A value both fixed and searched is a problem."""
    values = {} if file.function is None else file.function.values
    for name in values:
        if name in names:
            message = f"the value is searched here and fixed by function.values.{name}; remove one of them"
            problems.add(("search", "space", name), message, at_key=True)
    return values


def read_metric(search: Search, facts: ObjectiveFacts, problems: Problems) -> Metric:
    """Return the searched metric with the objective's direction for it."""
    known = {f"val/{name}": direction for name, direction in facts.metrics.items()}
    written: str | None = search.metric
    key: KeyPath = ("search", "metric")
    if search.metrics:
        written, key = search.metrics[0], ("search", "metrics", 0)
    name = facts.default_metric if written is None else written
    if name not in known and not facts.complete:
        # The objective's file was not executed: it may define more metrics, with directions still unknown.
        return Metric(name=name, direction=search.direction or Direction.MINIMIZE)
    if name not in known:
        first = next((each for each in search.metrics if each in known), facts.default_metric)
        gap = f"{name} ranks no trials, and the first metric ranks them; write {first} before it"
        problems.add(key, gap if search.metrics and name.startswith("gap/") else one_of(name, list(known)))
        name = facts.default_metric
    elif search.direction not in (None, known[name]) and facts.complete:
        rule = f"the objective defines the direction {known[name]} for {name}"
        problems.add(("search", "direction"), f"{rule}, got {search.direction}")
    return Metric(name=name, direction=known[name])


def read_rung_metric(
    written: EarlyStopping | StoppingName,
    facts: ObjectiveFacts | None,
    problems: Problems,
    early: Mapping[str, Direction],
) -> Metric | None:
    """Return the metric of ``early_stopping.metric``, with the objective's direction; None if it is absent.

    Args:
        written: the section.
        facts: the objective's metrics.
        problems: receives an unknown name.
        early: the metrics of shift sets and of forgetting.
    """
    if facts is None or not isinstance(written, EarlyStopping) or written.metric is None:
        return None
    known = {f"val/{name}": direction for name, direction in facts.metrics.items()} | dict(early)
    if written.metric not in known and facts.complete:
        problems.add(("early_stopping", "metric"), one_of(written.metric, list(known)))
    return Metric(name=written.metric, direction=known.get(written.metric, Direction.MINIMIZE))


def read_labels(
    written: Mapping[str, ParamValue], facts: ObjectiveFacts | None, problems: Problems
) -> Mapping[str, str | None]:
    """Return the class name for each value in the data; None excludes rows with the value.

    Class names are spelled as in the objective if the objective states them.
    """
    labels: dict[str, str | None] = {}
    if facts is None or not written:
        return labels
    if facts.labels == ():
        problems.add(("data", "labels"), "the objective has no classes, so no label can be mapped", at_key=True)
        return labels
    for value, name in written.items():
        text = name if isinstance(name, str) else yaml_text(name)
        same = [key for key in labels if mapping_key(key) == mapping_key(value)]
        if same:
            problems.add(
                ("data", "labels", value), f"is the same value as {same[0]!r}; remove one of them", at_key=True
            )
        labels[value.strip()] = None if name is None else text
        if name is None or facts.labels is None:
            continue
        index = class_of(text, facts.labels)
        if index is None:
            problems.add(("data", "labels", value), one_of(text, facts.labels))
        else:
            labels[value.strip()] = facts.labels[index]
    return labels


def check_columns(columns: Mapping[str, str], facts: ObjectiveFacts | None, problems: Problems) -> None:
    """Refuse second texts for an objective without classes or numbers: only a classification head reads pairs."""
    if facts is not None and facts.labels == () and "text_pair" in columns:
        message = "the objective reads one text per row. Remove it, or join both texts in one column"
        problems.add(("data", "columns", "text_pair"), message, at_key=True)


def check_sampler(sampler: SamplerPolicy, space: Space, problems: Problems) -> None:
    """Check the sampler's sizes and, for a grid, whether the space can be enumerated."""
    for size in ("startup_trials", "population"):
        if getattr(sampler, size) is not None and size not in _SIZES.get(sampler.name, ()):
            users = ", ".join(name for name, sizes in _SIZES.items() if size in sizes)
            message = f"applies only to {users}; the sampler is {sampler.name}"
            problems.add(("search", "sampler", size), message, at_key=True)
    if sampler.name is SamplerName.GRID:
        uncountable = endless(space)
        for name in uncountable:
            message = "the grid sampler needs choices or a step, got a continuous range"
            problems.add(("search", "space", name), message, at_key=True)
        if not uncountable and all_points(space) is None:
            problems.add(("search", "space"), f"a grid has at most {MOST_POINTS:,} points, got more", at_key=True)


def read_confirm(file: SweepFile, problems: Problems) -> Confirmation | Confirm:
    """Return the trainings with fresh seeds; check that the search leaves room for them and keeps the adapters."""
    written, folds = file.confirm, file.data.folds
    _check_learning_curve(file, problems)
    if folds is not None:
        _check_folds(file, problems)
    if isinstance(written, Confirm):
        if folds is None or written is Confirm.NONE:
            return written
        written = ConfirmSection(top=min(ConfirmSection().top, file.tracking.keep_adapters))
    if file.budget.trials is None and file.budget.until is None:
        problems.add_if_unrelated(("confirm",), _NO_END, at_key=True)
    if written.top > file.tracking.keep_adapters:
        message = f"at most tracking.keep_adapters ({file.tracking.keep_adapters}) is possible, got {written.top}"
        problems.add_if_unrelated(("confirm", "top"), message)
    if folds is None:
        return Confirmation(top=written.top, seeds=written.seeds)
    number, repeats = (folds, 1) if isinstance(folds, int) else (folds.folds, folds.repeats)
    return Confirmation(top=written.top, seeds=number * repeats - 1, folds=True)


def _check_learning_curve(file: SweepFile, problems: Problems) -> None:
    """Check that the search leaves time and tokens for the trainings of the learning curve."""
    if file.learning_curve is not None and file.budget.trials is None and file.budget.until is None:
        problems.add_if_unrelated(("learning_curve",), _NO_END, at_key=True)


def _check_folds(file: SweepFile, problems: Problems) -> None:
    """Check the keys that ``data.folds`` decides."""
    if file.confirm is Confirm.NONE:
        message = "data.folds needs a confirmation, which trains on the folds; remove this line, or data.folds"
        problems.add_if_unrelated(("confirm",), message, at_key=True)
    elif isinstance(file.confirm, ConfirmSection) and "seeds" in file.confirm.model_fields_set:
        message = "data.folds decides this number: one training for each other fold; remove it"
        problems.add_if_unrelated(("confirm", "seeds"), message, at_key=True)
    if "validation" in file.data.model_fields_set:
        message = "data.folds decides this number: one fold of the rows that are not for the test split; remove it"
        problems.add_if_unrelated(("data", "validation"), message, at_key=True)


def check_settings(file: SweepFile, fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Check the settings that depend on each other: method, options, init and quantisation."""
    _check_method(fixed, space, problems)
    check_options(fixed, space, _methods(fixed, space), problems)
    _check_init(fixed, space, problems)
    _check_quantisation(file.quantisation, fixed, space, problems)
    if file.training.deepspeed is not None:
        untried = [name for name in _methods(fixed, space) if not METHODS[name].with_deepspeed]
        if untried:
            supported = ", ".join(name for name, method in METHODS.items() if method.with_deepspeed)
            message = f"training.deepspeed supports the methods {supported}, got {untried[0]}"
            problems.add_if_unrelated(_place("method", space), message)


def check_class_weights(
    file: SweepFile, facts: ObjectiveFacts | None, fixed: Mapping[str, ParamValue], space: Space, problems: Problems
) -> None:
    """Refuse class weights for an objective with anything but one class per row. ``facts`` is None if unknown."""
    if facts is None or facts.one_class:
        return
    weights = [trial["class_weights"] for trial in possible(space, fixed, ("class_weights",))]
    named = next((each for each in weights if each != NONE), None)
    if named is not None:
        rule = f"objective {yaml_text(file.objective)} does not give each row one class"
        problems.add(_place("class_weights", space), f"{rule}, got {yaml_text(named)}; remove this key", at_key=True)


def _check_method(fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Check that at least one possible method uses each written setting.

    If the method is searched, a setting may apply to some of the methods. Trials with another method ignore it.
    """
    drawn = _methods(fixed, space)
    conditions = {parameter.name: parameter.when.get("method", drawn) for parameter in space.parameters}
    for name in dict.fromkeys((*fixed, *conditions)):
        methods = [method for method in drawn if method in conditions.get(name, drawn)]
        if methods and not {*methods} & {*takers(name)}:
            message = owned_option(name, methods)
            message = message or f"applies only to {_listed(takers(name))}; the method is {' or '.join(methods)}"
            problems.add(_place(name, space), message, at_key=True)


def _listed(methods: Sequence[str]) -> str:
    """Return the names of methods, the first five of many."""
    named, more = methods[:_NAMED], methods[_NAMED:]
    return ", ".join(named) + (f" and {len(more)} other methods" if len(more) > 1 else "".join(f", {m}" for m in more))


def _methods(fixed: Mapping[str, ParamValue], space: Space) -> list[str]:
    """Return the possible methods of a trial."""
    drawn = {trial["method"] for trial in possible(space, fixed, ("method",))}
    return [name for name in METHODS if name in drawn]


def _inits(fixed: Mapping[str, ParamValue], space: Space, *others: str) -> list[dict[str, ParamValue]]:
    """Return the possible combinations of method, init and the settings ``others``, for methods with an init."""
    trials = possible(space, fixed, ("method", "init", *others))
    return [trial for trial in trials if trial["method"] in takers("init")]


def _check_init(fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Check the rank for an orthogonal init and the init for DoRA.

    An orthogonal init splits the rank in two halves. DoRA starts from the lengths of the original weights.
    """
    ranks = [trial["rank"] for trial in _inits(fixed, space, "rank") if trial["init"] == "orthogonal"]
    odd = [rank for rank in ranks if isinstance(rank, int) and rank % 2]
    if odd:
        message = f"init=orthogonal needs even ranks, got {odd[0]}"
        problems.add_if_unrelated(_place("rank", space), message)
    dora = [trial["init"] for trial in _inits(fixed, space, "dora") if trial["dora"] and trial["init"] not in WITH_DORA]
    if dora:
        message = f"dora supports the inits {', '.join(WITH_DORA[:-1])} and {WITH_DORA[-1]}, got {dora[0]}"
        problems.add_if_unrelated(_place("init", space), message)


def _check_quantisation(
    quantisation: Quantisation | None, fixed: Mapping[str, ParamValue], space: Space, problems: Problems
) -> None:
    """Check that the package for quantisation is installed and that peft supports the possible inits and methods.

    The stored weights are 4-bit codes. Most inits read the weights, an orthogonal init takes their number format,
    and LoHa and LoKr take their shape.
    """
    if quantisation is None:
        return
    missing = missing_package(quantisation)
    if missing:
        problems.add(("quantisation",), missing)
    drawn = {trial["init"] for trial in _inits(fixed, space)}
    inits = [init for init in INITS if init in drawn and init not in WITH_QUANTISATION]
    if inits:
        message = f"quantisation={quantisation} supports the inits {_listed(WITH_QUANTISATION)}, got {inits[0]}"
        problems.add_if_unrelated(_place("init", space), message)
    methods = [name for name in _methods(fixed, space) if not METHODS[name].over_4_bits]
    if methods:
        supported = ", ".join(name for name, method in METHODS.items() if method.over_4_bits)
        message = f"quantisation={quantisation} supports the methods {supported}, got {methods[0]}"
        problems.add_if_unrelated(_place("method", space), message)


def _place(name: str, space: Space) -> KeyPath:
    """Return the key path of a setting: in the space if it is searched, else in its own section."""
    return ("search", "space", name) if space.has(name) else RULES[name].path


def check_sizes(
    file: SweepFile, stopping: StoppingPolicy, space: Space, fixed: Mapping[str, ParamValue], problems: Problems
) -> None:
    """Check numbers of rows, reports and trials against each other."""
    _check_data(file, problems)
    if file.function is not None and file.function.samples is not None:
        if not _is_overridden(problems, ("function", "samples")):
            limit = f"{file.function.samples}, the samples of a trial (function.samples)"
            _check_stopping(stopping, file.function.samples, limit, problems)
    elif file.data.train is not None and not _is_overridden(problems, _ROWS, *_EPOCHS):
        samples = longest_samples(space, fixed, file.data.train)
        limit = f"{samples}, the samples of a trial (data.train x epochs)"
        _check_stopping(stopping, samples, limit, problems)
    _check_budget(file, stopping, problems)


def _check_data(file: SweepFile, problems: Problems) -> None:
    """Check the names of shift sets and the size of the measured training subset."""
    data = file.data
    for name in data.shift:
        if name in _SPLITS:
            message = f"a name other than {', '.join(_SPLITS)} is needed, got {name!r}"
            problems.add(("data", "shift", name), message, at_key=True)
    rows, measured = data.train, data.train_eval
    if rows is not None and measured is not None and measured > rows and not _is_overridden(problems, _ROWS):
        message = f"at most data.train={rows} rows can be measured, got {measured}"
        problems.add(("data", "train_eval"), message)


def _check_stopping(stopping: StoppingPolicy, samples: int, limit: str, problems: Problems) -> None:
    """Check that reports and the grace period lie within the longest trial, one sample or more apart.

    The check is skipped if ``--set`` changes the rows or epochs: reports after the end of a trial are dropped then.
    """
    if isinstance(stopping.reports, int) and stopping.reports > samples:
        message = f"the number of reports must be at most {limit}, got {stopping.reports}"
        problems.add_if_unrelated(("early_stopping", "reports"), message)
    if isinstance(stopping.reports, tuple) and stopping.reports[-1] > samples:
        message = f"report points must be at most {limit}, got {stopping.reports[-1]}"
        problems.add_if_unrelated(("early_stopping", "reports"), message)
    if stopping.grace_samples is not None and stopping.grace_samples >= samples:
        message = f"must be less than {limit}, or no trial is ever stopped, got {stopping.grace_samples}"
        problems.add_if_unrelated(("early_stopping", "grace_samples"), message)


_ROWS: KeyPath = ("data", "train")
_EPOCHS: tuple[KeyPath, ...] = (("training", "epochs"), ("search", "space", "epochs"))


def _is_overridden(problems: Problems, *paths: KeyPath) -> bool:
    """Return whether ``--set`` gives one of these values. One override must suffice to try a sweep with few rows."""
    return any(path in problems.places and problems.place(path).is_override for path in paths)


def _check_budget(file: SweepFile, stopping: StoppingPolicy, problems: Problems) -> None:
    """Check that the budget has a bound, and that parallel trials and the cohort do not exceed the trials.

    A number of trials from ``--set`` is not checked. One override must suffice to try a sweep with one trial.
    """
    budget, trials = file.budget, file.budget.trials
    if trials is None and budget.wall_time is None and budget.tokens is None:
        problems.add_if_unrelated(("budget",), "at least one of trials, wall_time, tokens is needed", at_key=True)
    if trials is None or problems.place(("budget", "trials")).is_override:
        return
    counts: dict[KeyPath, int | None] = {
        ("resources", "parallel_trials"): file.resources.parallel_trials,
        ("early_stopping", "cohort"): stopping.cohort,
    }
    for path, count in counts.items():
        if count is not None and count > trials:
            problems.add_if_unrelated(path, f"must be at most budget.trials={trials}, got {count}")
