"""Trainings with fresh seeds after the search: which, how many, and their seeds.

The best of many noisy results is too high, and one seed shows nothing about the noise between seeds. Fresh trainings of
the same configuration have neither fault (Cawley and Talbot 2010, Journal of Machine Learning Research 11;
Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks"). The search never sees them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.core.seeds import derive_seed
from orchestrator.core.sweeps.policy import Confirm, Confirmation
from orchestrator.core.trials.ranking import ranked_by_score
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
        self._choice: tuple[int, int, Sequence[TrialRecord]] | None = None
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
            self._choice = (len(searched), *self._choose(searched))
        _, seeds, leaders = self._choice
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

    def _choose(self, searched: Collection[TrialRecord]) -> tuple[int, Sequence[TrialRecord]]:
        """Return the number of seeds and the configurations' trials, the best first.

        A trial outside the constraints is chosen only if none satisfies them: fresh seeds do not change its adapter.
        """
        size = self._size(searched)
        if size is None:
            return 0, ()
        # A failed trial diverged or crashed after its best report; with another seed it would again.
        usable = (record for record in searched if record.state is not TrialState.FAIL)
        ranked = ranked_by_score(usable, self._plan.metric)
        within = [record for record in ranked if record.violation(self._plan.metric) == 0]
        return size.seeds, (within or ranked)[: size.top]

    def _size(self, searched: Collection[TrialRecord]) -> Confirmation | None:
        """Return the size of the confirmation; None: no fresh trainings."""
        if isinstance(self._plan.confirm, Confirmation):
            return self._plan.confirm
        spent, each = sum(record.samples for record in searched), self._plan.timetable.points[-1]
        fitting = (size for size in SIZES if size.top <= self._plan.keep_adapters)
        size = next((size for size in fitting if size.trials * each <= SHARE * spent), None)
        share = f"{100 * SHARE:.0f} % of the search's {spent:,} samples"
        if size is None:
            self._notes.append(
                f"no training with fresh seeds: {share} are fewer than {SIZES[-1].trials} trainings of {each:,}; "
                "confirm: {top: 1, seeds: 2} always trains them"
            )
        else:
            self._notes.append(
                f"confirmation: the best {size.top} configurations are trained with {size.seeds} fresh seeds each, "
                f"within {share}"
            )
        return size


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
