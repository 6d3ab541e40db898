"""Trainings with fresh seeds after the search: which, how many, and their seeds.

The best of many noisy results was chosen for being high, and one seed shows nothing of the noise between seeds. Fresh
trainings of the same configuration have neither fault (Cawley and Talbot 2010, Journal of Machine Learning Research 11;
Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks"). The search never sees them.
"""

from collections import Counter
from collections.abc import Sequence

from orchestrator.core.policy import Confirm, Confirmation
from orchestrator.core.ranking import of_the_search, ranked_by_score
from orchestrator.core.seeds import derive_seed
from orchestrator.core.trial import TrialRecord
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


class Confirming:
    """Chooses the fresh trainings of one sweep. The choice is a function of the ended trials of the search."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._chosen: tuple[int, tuple[int, Sequence[TrialRecord]]] | None = None
        self._notes: list[str] = []

    def next(self, records: Sequence[TrialRecord]) -> tuple[TrialRecord, int] | None:
        """Return the next configuration to train and a fresh seed; None if none is missing, or trials still run.

        Every configuration gets its first fresh training before any gets its second.

        Args:
            records: all trials of the sweep; the caller has made sure that no trial of the search is to come.
        """
        if self._plan.confirm is Confirm.NONE:
            return None
        searched = of_the_search(records)
        if not all(record.ended for record in searched):
            return None
        if self._chosen is None or self._chosen[0] != len(searched):  # ended trials do not change
            self._chosen = len(searched), self._choose(searched)
        seeds, leaders = self._chosen[1]
        done = Counter(record.confirms for record in records if record.confirms is not None)
        leader = min(leaders, key=lambda trial: done[trial.number], default=None)
        if leader is None or done[leader.number] >= seeds:
            return None
        return leader, derive_seed(self._plan.seed, "fresh", leader.number, done[leader.number])

    def take_notes(self) -> tuple[str, ...]:
        """Return the reasons for the number of fresh trainings since the last call, one sentence each."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def _choose(self, searched: Sequence[TrialRecord]) -> tuple[int, Sequence[TrialRecord]]:
        """Return the number of seeds and the configurations' trials, the best first."""
        size = self._size(searched)
        if size is None:
            return 0, ()
        return size.seeds, ranked_by_score(searched, self._plan.metric)[: size.top]

    def _size(self, searched: Sequence[TrialRecord]) -> Confirmation | None:
        """Return the size of the confirmation; None: no fresh trainings."""
        if isinstance(self._plan.confirm, Confirmation):
            return self._plan.confirm
        spent, each = sum(record.samples for record in searched), self._plan.timetable.points[-1]
        size = next((size for size in SIZES if size.trials * each <= SHARE * spent), None)
        share = f"{100 * SHARE:.0f} % of the search's {spent:,} samples"
        if size is None:
            self._notes.append(
                f"no training with fresh seeds: {share} are fewer than {SIZES[-1].trials} trainings of {each:,}; "
                "confirm: {top: 1, seeds: 2} trains them in any case"
            )
        else:
            self._notes.append(
                f"confirmation: the best {size.top} configurations are trained with {size.seeds} fresh seeds each, "
                f"within {share}"
            )
        return size


def confirmation_text(plan: SearchPlan) -> str:
    """Return the planned trainings with fresh seeds in words, with their cost in training samples."""
    confirm, each = plan.confirm, plan.timetable.points[-1]
    if confirm is Confirm.NONE:
        return "none: no configuration is trained again with fresh seeds"
    if isinstance(confirm, Confirmation):
        return (
            f"the best {confirm.top} configurations are trained with {confirm.seeds} fresh seeds each, after the "
            f"search: {confirm.trials} x {each:,} = {confirm.trials * each:,} samples"
        )
    share = f"{100 * SHARE:.0f} % of the search's samples"
    return f"the best configurations are trained with fresh seeds, within {share}"
