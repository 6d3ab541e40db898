"""What may not change while a sweep goes on, as plain JSON, and how two of them differ."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orchestrator.core.settings import RULES

if TYPE_CHECKING:
    from orchestrator.spec.sweep_spec import SweepSpec

_ABSENT = "(absent)"


def fingerprint(spec: "SweepSpec") -> dict[str, Any]:
    """Return what decides what a trial's result means: everything but sampler, start points, budget and places.

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
    """Return one line per changed value, ``space.rank.high: 32 → 64``, by key; 0 and 0.0 are equal."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {_shown(before, key)} → {_shown(after, key)}"
        for key in sorted(before.keys() | after.keys())
        if key not in before or key not in after or before[key] != after[key]
    ]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in tree.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _shown(leaves: Mapping[str, Any], key: str) -> str:
    value = leaves.get(key, _ABSENT)
    return value if isinstance(value, str) else json.dumps(value)
