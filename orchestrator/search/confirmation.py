"""Trainings with fresh seeds after the search: which, how many, and their seeds.

The best of many noisy results is too high, and one seed shows nothing about the noise between seeds. Fresh trainings of
the same configuration have neither fault (Cawley and Talbot 2010, Journal of Machine Learning Research 11;
Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks"). The search never sees them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.core.seeds import derive_seed
from orchestrator.core.sweeps.policy import Confirm, Confirmation
from orchestrator.core.trials.ranking import of_the_search, ranked_by_score
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.search.plan import SearchPlan

SHARE = 0.15
"""Largest share of the search's training samples spent on fresh trainings by ``auto``."""
SIZES = (
    Confirmation(top=3, seeds=5),
    Confirmation(top=3, seeds=3),
    Confirmation(top=2, seeds=3),
    Confirmation(top=2, seeds=2),
    Confirmation(top=1, seeds=2),
)
"""The choices of ``auto``, the largest first. Two seeds are the fewest that show the noise between seeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreshTraining:
    """A training of a configuration with a fresh seed.

    Attributes:
        leader: the search's trial with the configuration.
        seed: the fresh seed.
        fold, share: see ``TrialRecord``.
    """

    leader: TrialRecord
    seed: int
    fold: int | None = None
    share: float | None = None


class ConfirmationQueue:
    """Chooses the fresh trainings of one sweep. The choice is a function of the ended trials of the search.

    A call takes the same time after two thousand trials as after ten, apart from the choice itself.
    """

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._running: set[int] = set()  # trials of the search
        self._fresh: dict[int, set[int]] = {}  # numbers of the fresh trainings, by the trial they confirm
        self._choice: tuple[int, _Choice] | None = None
        self._notes: list[str] = []

    def update(self, record: TrialRecord) -> None:
        """Take note of a new or changed trial."""
        if record.share is not None:
            return
        if record.confirms is not None:
            self._fresh.setdefault(record.confirms, set()).add(record.number)
        elif record.ended:
            self._running.discard(record.number)
        else:
            self._running.add(record.number)

    def next(self, searched: Collection[TrialRecord]) -> FreshTraining | None:
        """Return the next fresh training; None if none is missing, or trials still run.

        Every configuration gets its first fresh training before any gets its second. With folds, the first training of
        a configuration has the fold 1, the second one the fold 2, and so on.

        Args:
            searched: all trials of the search; the caller has made sure that none is to come.
        """
        if self._plan.confirm is Confirm.NONE or self._running:
            return None
        if self._choice is None or self._choice[0] != len(searched):  # ended trials do not change
            self._choice = (len(searched), _choose(self._plan, searched))
            if self._plan.confirm is Confirm.AUTO:
                self._notes.append(self._choice[1].reason)
        seeds, leaders = self._choice[1].seeds, self._choice[1].leaders
        done = {leader.number: len(self._fresh.get(leader.number, ())) for leader in leaders}
        leader = min(leaders, key=lambda trial: done[trial.number], default=None)
        if leader is None or done[leader.number] >= seeds:
            return None
        number = done[leader.number]
        folds = isinstance(self._plan.confirm, Confirmation) and self._plan.confirm.folds
        return FreshTraining(
            leader=leader,
            seed=derive_seed(self._plan.seed, "fresh", leader.number, number),
            fold=number + 1 if folds else None,
        )

    def take_notes(self) -> tuple[str, ...]:
        """Return the reasons for the number of fresh trainings since the last call, one sentence each."""
        notes, self._notes = tuple(self._notes), []
        return notes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    """The fresh trainings of an ended search.

    Attributes:
        leaders: the configurations' trials, the best first.
        seeds: number of trainings of each.
        reason: the choice in words, with its cost.
    """

    leaders: Sequence[TrialRecord] = ()
    seeds: int = 0
    reason: str


def _choose(plan: SearchPlan, searched: Collection[TrialRecord]) -> _Choice:
    """Return the fresh trainings.

    A trial outside the constraints is chosen only if none satisfies them: fresh seeds do not change its adapter.
    """
    size, reason = _size(plan, searched)
    if size is None:
        return _Choice(reason=reason)
    # A failed trial diverged or crashed after its best report; with another seed it would again.
    usable = (record for record in searched if record.state is not TrialState.FAIL)
    ranked = ranked_by_score(usable, plan.metric)
    within = [record for record in ranked if record.violation(plan.metric) == 0]
    return _Choice(leaders=(within or ranked)[: size.top], seeds=size.seeds, reason=reason)


def _size(plan: SearchPlan, searched: Collection[TrialRecord]) -> tuple[Confirmation | None, str]:
    """Return the size of the confirmation (None: no fresh trainings), and the reason in words."""
    if isinstance(plan.confirm, Confirmation):
        return plan.confirm, f"confirmation: as confirm asks, {plan.confirm.top} x {plan.confirm.seeds} trainings"
    if plan.confirm is Confirm.NONE:
        return None, "no training with fresh seeds: confirm is none"
    spent, each = sum(record.samples for record in searched), plan.timetable.points[-1]
    fitting = (size for size in SIZES if size.top <= plan.keep_adapters)
    size = next((size for size in fitting if size.trials * each <= SHARE * spent), None)
    share = f"{100 * SHARE:.0f} % of the search's {spent:,} samples"
    if size is None:
        return None, (
            f"no training with fresh seeds: {share} are fewer than {SIZES[-1].trials} trainings of {each:,}; "
            "confirm: {top: 1, seeds: 2} always trains them"
        )
    return size, (
        f"confirmation: the best {size.top} configurations are trained with {size.seeds} fresh seeds each, within "
        f"{share}"
    )


def confirmation_result(plan: SearchPlan, records: Collection[TrialRecord]) -> str:
    """Return the fresh trainings of an ended sweep and the reason for their number, in words, without a full stop.

    Args:
        plan: the search.
        records: all trials of the sweep.
    """
    choice = _choose(plan, of_the_search(records))
    planned = len(choice.leaders) * choice.seeds
    done = sum(record.confirms is not None and record.share is None for record in records)
    if planned <= done:
        return choice.reason
    return f"{choice.reason}; {done} of {planned} trainings were started before the limit of time or tokens"


def confirmation_text(plan: SearchPlan) -> str:
    """Return the planned trainings with fresh seeds in words, with their cost in training samples."""
    confirm, each, budget = plan.confirm, plan.timetable.points[-1], plan.budget
    if confirm is Confirm.NONE:
        return "none: no configuration is trained again with fresh seeds"
    if budget.trials is None and budget.until is None:
        return "none: the search spends the whole limit of time or tokens"
    limited = budget.wall_time_s is not None or budget.tokens is not None
    allowed = ", if the limits of time and tokens allow" if limited else ""
    if isinstance(confirm, Confirmation) and confirm.folds:
        return (
            f"the best {confirm.top} configurations are trained again on {confirm.seeds} other folds of the rows, with "
            f"fresh seeds, after the search: {confirm.trials} x {each:,} = {confirm.trials * each:,} samples{allowed}"
        )
    if isinstance(confirm, Confirmation):
        return (
            f"the best {confirm.top} configurations are trained with {confirm.seeds} fresh seeds each, after the "
            f"search: {confirm.trials} x {each:,} = {confirm.trials * each:,} samples{allowed}"
        )
    share = f"{100 * SHARE:.0f} % of the search's samples"
    return f"the best configurations are trained with fresh seeds, within {share}{allowed}"
