"""The values left open by a sweep file: those of the stored sweep to be resumed, else this version's defaults."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeAlias

from orchestrator.assets.models import pinned, version_of, with_version
from orchestrator.core.data import Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.control import extended
from orchestrator.core.sweeps.policy import StoppingPolicy
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.stopping.points import report_points
from orchestrator.search.sweeps import newest_with_trials
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial_length import epochs_of_rows, first_rung, largest_batch

Stored: TypeAlias = Mapping[str, Any]
"""The fingerprint of a stored sweep."""

MODEL_VERSION = "model_version"
"""Key of a fingerprint: the commit or version of a base model from a hub or PyTorch Hub."""
REPORTS = StoppingPolicy().reports
EARLIER_REPORTS = 6
"""Reports of a trial whose sweep file left them open, in sweeps stored by version 0.1."""
RUNG_METRIC = Metric(name="val/loss", direction=Direction.MINIMIZE)
"""Compared at rungs. A loss changes with every row; an accuracy on few rows ties, or differs by chance."""


def stored_fingerprint(ledger: Ledger | None, name: str, *, of_function: bool) -> Stored | None:
    """Return the fingerprint of the stored sweep to be resumed; None without one.

    A stored sweep without trials is not binding: this version's defaults apply. Neither is that of a function for an
    objective, or the reverse: it lacks the values, and the sweep is refused when the fingerprints are compared.
    """
    stored = None if ledger is None else newest_with_trials(ledger, name)
    if stored is None or ("function" in stored.fingerprint) is not of_function:
        return None
    return stored.fingerprint


def with_extensions(spec: SweepSpec, ledger: Ledger | None) -> SweepSpec:
    """Return the spec with the budget as extended by users for the stored sweep of its name."""
    stored = None if ledger is None else newest_with_trials(ledger, spec.name)
    if ledger is None or stored is None:
        return spec
    return replace(spec, budget=extended(spec.budget, ledger.requests.all(stored.id)))


def with_split_rule(spec: SweepSpec, stored: Stored | None) -> SweepSpec:
    """Return the spec with the split rule of the stored sweep, so that its rows stay the same."""
    if stored is None:
        return spec
    return replace(spec, data=replace(spec.data, split_rule=stored.get("split_rule", 1)))


def with_stored_classes(spec: SweepSpec, stored: Stored | None) -> SweepSpec:
    """Return the spec with the classes found when the stored sweep was started, so that their ids stay the same."""
    classes = () if stored is None else stored.get("data", {}).get("classes", ())
    return replace(spec, data=replace(spec.data, classes=tuple(classes))) if classes else spec


def pinned_model(model: Source, stored: Stored | None, say: Callable[[str], None] = lambda _line: None) -> Source:
    """Return the base model at a fixed version, and say it: that of the stored sweep, else the newest one.

    A sweep of an earlier version of Loratory has no stored version and is not pinned.

    Raises:
        AssetError, ModelError, UserError: the model is not available, or its files are damaged.
    """
    if stored is None or stored["model"] != json.loads(json.dumps(asdict(model))):
        fixed = pinned(model)
        version = version_of(fixed)
    else:
        version = stored.get(MODEL_VERSION)
        fixed = model if version is None else with_version(model, version)
    if version is not None:
        say(f"model: {model}, version {version}")
    return fixed


def with_rung_metric(spec: SweepSpec, stored: Stored | None, directions: Mapping[str, Direction]) -> SweepSpec:
    """Return the spec with the metric compared at rungs.

    A sweep stored before ``early_stopping.metric`` existed compares the searched metric.

    Args:
        spec: the checked sweep file.
        stored: the fingerprint of the sweep to be resumed.
        directions: direction by metric of the objective, without a split's prefix.
    """
    if spec.stopping.metric is not None:
        return spec
    metric: Metric | None = RUNG_METRIC if "loss" in directions else spec.metric
    if stored is not None:
        name = stored["stopping"].get("metric")
        # The objective may have changed since; the fingerprint compares names, and the sweep is refused with a reason.
        direction = directions.get((name or "").rpartition("/")[2], Direction.MINIMIZE)
        metric = None if name is None else Metric(name=name, direction=direction)
    return replace(spec, stopping=replace(spec.stopping, metric=metric))


def with_trial_length(spec: SweepSpec, stored: Stored | None, rows: int) -> SweepSpec:
    """Return the spec with epochs, reports and grace period of its trials, for this number of training rows.

    The grace period is None if it ends at the first report point. Written report points are rungs as they are, early
    or not; ``trial_length`` has the warning. A resumed sweep keeps the values that it was started with.
    """
    if spec.epochs_are_open:
        epochs = epochs_of_rows(rows, largest_batch(spec.space, spec.fixed)) if stored is None else stored["epochs"]
        spec = replace(spec, fixed={**spec.fixed, "epochs": epochs})
    stopping, samples = spec.stopping, spec.samples(rows)
    if stored is not None and stopping.reports == REPORTS and stored["stopping"]["reports"] == EARLIER_REPORTS:
        stopping = replace(stopping, reports=EARLIER_REPORTS)
    grace, first = stopping.grace_samples, report_points(samples, stopping.reports)[0]
    if stored is not None:
        stored_grace = stored["stopping"]["grace_samples"]
        if grace is None or max(grace, first) == max(stored_grace or 0, first):
            grace = stored_grace
    elif grace is None and isinstance(stopping.reports, int):
        earliest = first_rung(spec.earliest_rung(rows), samples)
        grace = earliest if earliest > first else None
    return replace(spec, stopping=replace(stopping, grace_samples=grace))
