"""The section ``preference`` of the sweep file, and the rules over its settings and the metrics that compare trials."""

from collections.abc import Mapping

from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.sweeps.policy import StoppingName, StoppingPolicy
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.core.tasks.preference import PreferenceLossName
from orchestrator.core.trials.settings import RULES, Group
from orchestrator.spec.document.problems import KeyPath, Problems
from orchestrator.spec.sections.fields import Section
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sections.settings_fields import with_settings

_USERS: Mapping[str, tuple[PreferenceLossName, ...]] = {
    "gamma": (PreferenceLossName.SIMPO,),
    "label_smoothing": (PreferenceLossName.DPO, PreferenceLossName.DPO_NORM, PreferenceLossName.SIMPO),
}
"""Losses with a setting, for settings that some losses ignore."""


@with_settings(Group.PREFERENCE)
class Preference(Section):
    """The fixed settings of a loss over pairs of answers."""


def check_preference(
    facts: ObjectiveFacts | None,
    fixed: Mapping[str, ParamValue],
    space: Space,
    compared: tuple[Metric | None, StoppingPolicy],
    problems: Problems,
) -> None:
    """Check that the objective and the loss use each written setting, and that the metrics compare all trials.

    Args:
        facts: facts of the objective; None: unknown, or the objective is a function.
        fixed: fixed settings by name.
        space: the searched settings.
        compared: the metric of the search, and the stopping rule with its metric.
        problems: gets the broken rules.
    """
    if facts is None:
        return
    written = [name for name in RULES if name in fixed or space.has(name)]
    own = [name for name in written if RULES[name].group is Group.PREFERENCE]
    if not facts.loss_settings:
        for name in own:
            message = "applies only to an objective over pairs of answers, such as preference"
            problems.add(_place(name, space), message, at_key=True)
        return
    losses = sorted({str(trial["loss"]) for trial in possible(space, fixed, ("loss",))})
    for name in (name for name in written if name in _USERS):
        if not {*losses} & {*_USERS[name]} and fixed.get(name) != 0:
            message = f"applies only to {', '.join(_USERS[name])}; the loss is {' or '.join(losses)}"
            problems.add(_place(name, space), message, at_key=True)
    searched = [name for name in own if space.has(name)]
    if searched:
        _check_compared(searched[0], compared, problems)


def _check_compared(name: str, compared: tuple[Metric | None, StoppingPolicy], problems: Problems) -> None:
    """Refuse to compare trials by losses of different formulas or parameters."""
    metric, stopping = compared
    reason = f"trials with another {name} have another loss, so val/loss does not compare them; set this to"
    several = metric is not None and len(metric.metrics) > 1
    if metric is not None and metric.name == "val/loss":
        place: KeyPath = ("search", "metrics", 0) if several else ("search", "metric")
        problems.add_if_unrelated(place, f"{reason} val/preference_accuracy", at_key=not several)
    further = "trials with another {} have another loss, so {} does not compare them; remove it"
    for number, each in enumerate(metric.metrics[1:] if metric is not None else (), start=1):
        if _is_loss(each.name):
            problems.add(("search", "metrics", number), further.format(name, each.name))
    for limit in metric.constraints if isinstance(metric, Goal) else ():
        if _is_loss(limit.name):
            problems.add(("search", "constraints", limit.name), further.format(name, limit.name), at_key=True)
    if stopping.rule is not StoppingName.NONE and (stopping.metric is None or stopping.metric.name == "val/loss"):
        problems.add_if_unrelated(("early_stopping", "metric"), f"{reason} val/preference_accuracy", at_key=True)


def _is_loss(metric: str) -> bool:
    """Return whether a metric is a loss over pairs; that on general text is another one."""
    return metric.endswith("/loss") and not metric.startswith("forgetting/")


def _place(name: str, space: Space) -> KeyPath:
    return ("search", "space", name) if space.has(name) else (str(RULES[name].group), name)
