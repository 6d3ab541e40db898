"""What may not change while a sweep goes on, as plain JSON, and how two of them differ."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orchestrator.core.settings import RULES

if TYPE_CHECKING:
    from orchestrator.spec.sweep_spec import SweepSpec

_ABSENT = "(absent)"


def fingerprint(spec: "SweepSpec") -> dict[str, Any]:
    """Return what decides a trial's result or the sampler's proposals: everything but budget, places and sizes.

    A setting fixed at its default is left out: writing a default down changes nothing.
    """
    space = {p.name: asdict(p.domain) | ({"when": dict(p.when)} if p.when else {}) for p in spec.space.parameters}
    facts = {
        "objective": spec.objective,
        "method": spec.method,
        "model": asdict(spec.model),
        "data": asdict(spec.data),
        "epochs": spec.epochs,
        "precision": spec.precision,
        "fixed": {name: value for name, value in spec.fixed.items() if value != RULES[name].default},
        "space": space,
        "metric": asdict(spec.metric),
        "stopping": asdict(spec.stopping),
        "seed": spec.seed,
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line per changed value, ``space.rank.high: 32 → 64``, in the order of the keys."""
    before, after = _flat(old), _flat(new)
    keys = sorted(before.keys() | after.keys())
    return [
        f"{key}: {before.get(key, _ABSENT)} → {after.get(key, _ABSENT)}"
        for key in keys
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{key}.")
        elif isinstance(item, str):
            flat[f"{prefix}{key}"] = item
        else:
            flat[f"{prefix}{key}"] = json.dumps(item)
    return flat
