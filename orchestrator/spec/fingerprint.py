"""The fingerprint of a sweep (the parts fixed on resume), and the differences between two fingerprints."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from orchestrator.core.data import Origin, Source
from orchestrator.core.space import Choices, Constant, Distribution, FloatRange, IntRange, Parameter, Space
from orchestrator.core.sweeps.goal import names_of
from orchestrator.core.sweeps.plan import Attention
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.trials.settings import RULES
from orchestrator.spec.sweep_spec import SweepSpec

_ABSENT = "(absent)"
_SOURCE = frozenset(item.name for item in fields(Source))
_OPTIONAL = frozenset({"labels", "classes", "chat_template", "packing", "prompt"})
"""Keys of the data, absent if they have no value."""
_SECTIONS = {
    "epochs": "training.epochs",
    "precision": "training.precision",
    "attention": "training.attention",
    "method": "adapter.method",
    "deepspeed": "training.deepspeed",
    "space": "search.space",
    "metric.name": "search.metric",
    "metric.direction": "search.direction",
    "metric.also": "search.metrics",
    "metric.constraints": "search.constraints",
    "stopping": "early_stopping",
    "prior": "search.prior",
}
"""Key in the sweep file by key in the fingerprint, where they differ. ``fixed`` settings have their rule's section."""


def fingerprint(spec: SweepSpec) -> dict[str, Any]:
    """Return the parts of a sweep that determine a trial's result, as plain JSON.

    The start points of the prior are included too, because they stay the same on resume. The sampler, the file's own
    start points, budget, resources, tracking and the general text are not included. Default values are omitted
    (settings fixed at their default, empty ``data.labels``, no classes found, no quantisation, no DeepSpeed), so
    writing a default changes nothing.
    """
    space = {p.name: asdict(p.distribution) | ({"when": dict(p.when)} if p.when else {}) for p in spec.space.parameters}
    if spec.function is not None:
        return _of_function(spec, spec.function, space)
    facts: dict[str, Any] = {
        "objective": spec.objective,
        "model": asdict(spec.model),
        "data": {key: value for key, value in asdict(spec.data).items() if value or key not in _OPTIONAL},
        "epochs": spec.fixed.get("epochs", RULES["epochs"].default),
        "precision": spec.precision,
        "fixed": {
            name: value for name, value in spec.fixed.items() if value != RULES[name].default and name != "epochs"
        },
        "space": space,
        "metric": asdict(spec.metric),
        "stopping": asdict(spec.stopping),
        "seed": spec.seed,
    }
    _shorten_rung_metric(facts)
    if "method" not in space:
        # Stored fingerprints from before the method could be searched have it at the top level.
        facts["method"] = facts["fixed"].pop("method", RULES["method"].default)
    if not any(name.startswith("forgetting/") for name in (*names_of(spec.metric), *spec.stopping.early)):
        del facts["data"]["general"]  # trials do not depend on it
    # The validation split follows from the folds; more repeats add trainings and change none.
    for name in ("folds", "repeats", "equal_folds"):
        number = facts["data"].pop(name)
        if name == "folds" and number is not None:
            facts["data"] |= {"folds": number, "validation": None}
    # Stored fingerprints from before there was a second rule have no key for rule 1.
    split_rule = facts["data"].pop("split_rule")
    if split_rule != 1:
        facts["split_rule"] = split_rule
    if spec.prior_points:
        facts["prior"] = [dict(point) for point in spec.prior_points]
    if spec.generation.searched:
        facts["generation"] = {"rows": spec.generation.rows, "max_new_tokens": spec.generation.max_new_tokens}
    if spec.quantisation is not None:
        facts["quantisation"] = spec.quantisation
    if spec.deepspeed is not None:
        facts["deepspeed"] = spec.deepspeed
    if spec.attention is not Attention.AUTO:
        facts["attention"] = spec.attention
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def _of_function(spec: SweepSpec, function: FunctionPlan, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fingerprint of a function. Its interpreter and its test do not change a trial."""
    facts: dict[str, Any] = {
        "objective": spec.objective,
        "function": {"samples": function.samples, "metrics": function.metrics, "values": spec.fixed},
        "space": space,
        "metric": asdict(spec.metric),
        "stopping": asdict(spec.stopping),
        "seed": spec.seed,
    }
    _shorten_rung_metric(facts)
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def _shorten_rung_metric(facts: dict[str, Any]) -> None:
    """Replace the metric compared at rungs by its name, or leave it out if it is the searched one.

    Stored fingerprints from before this key have none: their rungs compare the searched metric.
    """
    if not facts["stopping"]["limits"]:  # nor have they this key
        del facts["stopping"]["limits"]
    compared = facts["stopping"].pop("metric")
    if compared is not None and compared != facts["metric"]:
        facts["stopping"]["metric"] = compared["name"]


def stored_space(fingerprint: Mapping[str, Any]) -> Space:
    """Return the search space of a stored fingerprint."""
    return Space(
        parameters=tuple(
            Parameter(
                name=name,
                distribution=_distribution(name, stored, free="function" in fingerprint),
                when={parent: tuple(values) for parent, values in stored.get("when", {}).items()},
            )
            for name, stored in fingerprint.get("space", {}).items()
        )
    )


def _distribution(name: str, stored: Mapping[str, Any], *, free: bool) -> Distribution:
    if "value" in stored:
        return Constant(value=stored["value"])
    if "choices" in stored:
        return Choices(choices=tuple(stored["choices"]))
    free = free or (name in RULES and RULES[name].kind is object)  # the numbers decide, as for a function
    whole = isinstance(stored["low"], int) if free else name in RULES and RULES[name].kind is int
    kind = IntRange if whole else FloatRange
    return kind(**{key: value for key, value in stored.items() if key != "when"})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line per changed value, ``search.space.rank.high: 32 → 64``, sorted by key; 0 and 0.0 are equal.

    Changed rows (``rows``: a digest by split) are listed only if no changed key explains them. Changed code of an
    objective (``objective_file``) is listed only for the same file.

    Args:
        old: the stored fingerprint.
        new: the fingerprint of the current file.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    missing = object()
    changed = {key for key in before.keys() | after.keys() if before.get(key, missing) != after.get(key, missing)}
    rows = [key.removeprefix("rows.") for key in {**before, **after} if key in changed and key.startswith("rows.")]
    code = "objective_file" in changed and "objective" not in changed
    named = {_file_key(key): key for key in changed if not key.startswith("rows.") and key != "objective_file"}
    lines = [f"{name}: {_format(before, key)} → {_format(after, key)}" for name, key in sorted(named.items())]
    if code:
        lines.append("objective: the code in its file has changed")
    if rows and not code and not _explain_rows(named):
        lines.append(f"data: the rows have changed in {', '.join(rows)}; was the data file edited?")
    return lines


def _explain_rows(keys: Collection[str]) -> bool:
    """Return whether a change of one of these keys in the sweep file selects other rows."""
    same_rows = {"data.train_eval", *(f"data.{name}" for name in RULES)}
    return any(key == "objective" or (key.startswith("data.") and key not in same_rows) for key in keys)


def _file_key(key: str) -> str:
    """Return the sweep file's key for ``key`` of a fingerprint."""
    if key.startswith("fixed."):
        name = key.removeprefix("fixed.")
        return f"{RULES[name].group}.{name}" if name in RULES else name
    for stored, written in _SECTIONS.items():
        if key == stored or key.startswith(f"{stored}."):
            return written + key.removeprefix(stored)
    return key


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with its key. A source is one value in the file's notation, followed by its options."""
    for key, item in tree.items():
        if isinstance(item, Mapping) and item.keys() == _SOURCE:
            source = Source(**{**item, "origin": Origin(item["origin"])})
            yield f"{prefix}{key}", str(source)
            options = {"config": source.config, "split": source.split, "revision": source.revision}
            yield from ((f"{prefix}{key}.{name}", value) for name, value in options.items() if value is not None)
        elif isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _format(leaves: Mapping[str, Any], key: str) -> str:
    value = leaves.get(key, _ABSENT)
    return value if isinstance(value, str) else json.dumps(value)
