"""``search.prior``: the start points added to a sweep when it is opened, and their origin in words."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.core.methods.catalogue import FULL, LORA
from orchestrator.core.sweeps.policy import PriorName
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.defaults import Stored
from orchestrator.report import words
from orchestrator.search.prior.points import EarlierBest, Point, Target, earlier_bests, shipped_point
from orchestrator.spec.sweep_spec import SweepSpec


def with_prior(spec: SweepSpec, stored: Stored | None, ledger: Ledger | None, weights: int) -> tuple[SweepSpec, str]:
    """Return the spec with the start points of its prior, and their origin in one sentence.

    A resumed sweep keeps the points that it was opened with, whatever the file and the ledger hold now. A sweep stored
    before ``search.prior`` existed has none.

    Args:
        spec: the checked sweep file.
        stored: the fingerprint of the sweep to be resumed.
        ledger: holds the earlier sweeps; None: there are none.
        weights: number of weights of the base model.
    """
    if stored is not None:
        points = stored.get("prior", ())
        return replace(spec, prior_points=tuple(points)), f"{_listed(points)} (fixed when the sweep was opened)"
    if spec.prior is PriorName.NONE:
        return spec, "none"
    target = Target(space=spec.space, fixed=spec.fixed, objective=spec.objective, model=spec.model, weights=weights)
    if spec.prior is PriorName.SHIPPED:
        return _shipped(spec, target, weights)
    bests = () if ledger is None else earlier_bests(ledger, target)
    if not bests:
        spec, text = _shipped(spec, target, weights)
        return spec, f"this ledger has no finished sweep with {spec.model} and these parameters; {text}"
    return _with(spec, [best.point for best in bests], f"ledger: {'; '.join(map(_origin, bests))}")


def _shipped(spec: SweepSpec, target: Target, weights: int) -> tuple[SweepSpec, str]:
    if spec.start_points:
        return spec, "none added: the sweep file has its own start points"
    found = {method: shipped_point(target, method=method) for method in (LORA, FULL)}
    points = {method: point for method, point in found.items() if point is not None}
    if not points:
        return spec, "none added: only learning_rate, rank, batch_size and alpha of lora have measured values"
    origin = f"from measurements of lora on models of similar size; this one has {_size(weights)} weights"
    origin += "; full at a tenth of lora's rate" if FULL in points else ""
    return _with(spec, [*points.values()], f"shipped: {_listed([*points.values()])} ({origin})")


def _with(spec: SweepSpec, points: Sequence[Point], text: str) -> tuple[SweepSpec, str]:
    """Return the spec with the points that its file does not have."""
    new = tuple(point for point in points if point not in spec.start_points)
    return replace(spec, prior_points=new), text


def _origin(best: EarlierBest) -> str:
    shared = "model and objective" if best.same_objective else "model"
    return f"{_text(best.point)} (the best of {best.sweep}, trial {best.trial}, with the same {shared})"


def _listed(points: Sequence[Point]) -> str:
    return "; ".join(map(_text, points)) or "none"


def _text(point: Point) -> str:
    return ", ".join(f"{name} {words.param(value)}" for name, value in point.items())


def _size(weights: int) -> str:
    """Return a number of weights in millions or billions, ``22.7M``."""
    return f"{weights / 1e9:.3g}B" if weights >= 1e9 else f"{weights / 1e6:.3g}M"
