"""Start points from the measured rates and from earlier sweeps, fitted into a search space."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from orchestrator.core.data import Source
from orchestrator.core.methods.catalogue import FULL, FULL_RATE, LORA
from orchestrator.core.space import Constant, ParamValue, Space, nearest_value
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.ranking import ranked_by_result
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.prior.rates import ALPHA, KnownRate, expected_batch_size, expected_rate, shipped_rates
from orchestrator.spec.sections.possible import possible

MOST_SWEEPS = 3
"""Start points from earlier sweeps, at most."""

_USUAL_RANK = 16
"""The rank of the LoRA trials compared with full fine-tuning; the best rate hardly depends on it."""
Point: TypeAlias = Mapping[str, ParamValue]
"""Values of some parameters of the space."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The search which gets the start points.

    Attributes:
        space: the search space.
        fixed: the fixed settings outside the space.
        objective: the objective's name, or the path of its file.
        model: the base model.
        weights: number of its weights; None: unknown.
    """

    space: Space
    fixed: Mapping[str, ParamValue]
    objective: str
    model: Source
    weights: int | None

    @property
    def methods(self) -> tuple[ParamValue, ...]:
        """The possible methods of a trial."""
        return tuple(trial["method"] for trial in possible(self.space, self.fixed, ("method",)))

    @property
    def highest_rank(self) -> int:
        """The highest possible rank of a trial."""
        return max(int(str(trial["rank"])) for trial in possible(self.space, self.fixed, ("rank",)))


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierBest:
    """The best configuration of an earlier sweep.

    Attributes:
        point: its values in the new space.
        sweep: the sweep's reference.
        trial: the trial's number.
        same_objective: whether the sweep has the objective of the new search.
    """

    point: Point
    sweep: str
    trial: int
    same_objective: bool


def shipped_point(target: Target, known: Sequence[KnownRate] | None = None, method: str = LORA) -> Point | None:
    """Return the start point from measured rates: the highest rank of the space, and the rate for it.

    The measurements are of LoRA. Full fine-tuning starts at a tenth of LoRA's rate.
    None: the search has no trials with this method, or none of the parameters known from the measurements.

    Args:
        target: the search.
        known: the measured rates; None: those of this version.
        method: ``lora`` or ``full``.
    """
    if method not in target.methods:
        return None
    rates = shipped_rates() if known is None else known
    if method == FULL:
        rate = FULL_RATE * expected_rate(rates, target.weights, rank=_USUAL_RANK)
        point = nearest_point(target.space, {"method": FULL, "learning_rate": rate, **_batch(rates, target)})
        return point if point.keys() - {"method"} else None
    rank = min(target.highest_rank, max(rate.rank for rate in rates))
    rank = int(str(nearest_point(target.space, {"rank": rank}).get("rank", rank)))
    values: dict[str, ParamValue] = {
        "rank": rank,
        "learning_rate": expected_rate(rates, target.weights, rank),
        **_batch(rates, target),
        "alpha": ALPHA,
    }
    point = nearest_point(target.space, {"method": LORA, **values})
    return point if point.keys() & values.keys() else None


def _batch(rates: Sequence[KnownRate], target: Target) -> dict[str, ParamValue]:
    return {"batch_size": expected_batch_size(rates, target.weights)}


def earlier_bests(ledger: Ledger, target: Target) -> tuple[EarlierBest, ...]:
    """Return the best configurations of finished sweeps with the same base model, at most ``MOST_SWEEPS`` points.

    The best configuration of a sweep is that of its first completed trial with a possible method, in the order of its
    leaderboard. Sweeps with the same objective come first, then the newest. A point that repeats an earlier one is left
    out.
    """
    model = json.loads(json.dumps(asdict(target.model)))
    sweeps = [
        sweep
        for sweep in reversed(ledger.sweeps.all())
        if sweep.status is SweepStatus.FINISHED and sweep.fingerprint.get("model") == model
    ]
    sweeps.sort(key=lambda sweep: sweep.fingerprint.get("objective") != target.objective)
    found: list[EarlierBest] = []
    for best in _bests(ledger, sweeps, target):
        if best.point not in [other.point for other in found]:
            found.append(best)
        if len(found) == MOST_SWEEPS:
            break
    return tuple(found)


def _bests(ledger: Ledger, sweeps: Sequence[SweepRecord], target: Target) -> Iterator[EarlierBest]:
    for sweep in sweeps:
        trial = _best(sweep, ledger.trials.all(sweep.id), target.methods)
        if trial is None:
            continue
        point = nearest_point(target.space, trial.settings.to_json())
        if point:
            same = sweep.fingerprint.get("objective") == target.objective
            yield EarlierBest(point=point, sweep=sweep.reference, trial=trial.number, same_objective=same)


def _best(sweep: SweepRecord, trials: Sequence[TrialRecord], methods: Sequence[ParamValue]) -> TrialRecord | None:
    if sweep.facts.metric is None:
        return None
    ranked = ranked_by_result(trials, sweep.facts.metric)  # fresh seeds decide among the trials trained again
    usable = (trial for trial in ranked if trial.state is TrialState.COMPLETE and trial.settings.method in methods)
    return next(usable, None)


def nearest_point(space: Space, values: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """Return the possible values nearest to the given ones, for the searched parameters among them.

    A parameter is left out if a value of the point makes it inactive, or if no possible value is near: of choices which
    are not numbers, only an equal one is.
    """
    point: dict[str, ParamValue] = {}
    chosen: dict[str, ParamValue] = {}
    inactive: set[str] = set()
    for parameter in space.parameters:
        if any(
            name in inactive or (name in chosen and chosen[name] not in accepted)
            for name, accepted in parameter.when.items()
        ):
            inactive.add(parameter.name)
        elif isinstance(parameter.distribution, Constant):
            chosen[parameter.name] = parameter.distribution.value
        elif parameter.name in values:
            value = nearest_value(parameter.distribution, values[parameter.name])
            if value is not None:
                point[parameter.name] = chosen[parameter.name] = value
    return point
