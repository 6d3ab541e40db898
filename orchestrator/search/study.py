"""The Optuna study of a sweep, in the ledger's database. It proposes points and receives results.

The study follows the ledger. Opening the sweep again repairs a study left incomplete by a kill.
"""

import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaState
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from orchestrator.core.errors import LedgerError
from orchestrator.core.grid import all_points
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.policy import Budget, SamplerName
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.ledger.codec import canonical
from orchestrator.ledger.connection import retry_on_disconnect, table_creation_lock, wait_for_server
from orchestrator.ledger.database import Database, connect_args, tune_sqlite
from orchestrator.ledger.database_errors import translate, translate_errors
from orchestrator.search.candidates import CandidateSet
from orchestrator.search.constraints import PREFIX, excesses_of
from orchestrator.search.memory_limits import SIZES, MemoryLimits, name_trials
from orchestrator.search.plan import SearchPlan
from orchestrator.search.samplers import START_POINT, NearestCandidate, Proposal, build_sampler
from orchestrator.search.space import distributions, lowest, propose
from orchestrator.search.surrogate.model import Observation
from orchestrator.search.surrogate.observations import observations
from orchestrator.search.tpe_history import NEWEST, TpeHistory

MOST_REFUSED = 8
"""Consecutive refused proposals, after which the search chooses a point itself or ends.

A proposal is refused if it repeats a trial, or is expected to run out of memory.
"""

TRIED = "every point of the space has been tried"
REPEATED = "the sampler proposes only points that were tried or are expected to run out of memory"
"""The end of an infinite space."""

_START = "start"
"""User attribute of a start point: its canonical text."""
_CHOSEN = "chosen"
"""User attribute of a point chosen by the search instead of the sampler: it is tried in any case."""
_REQUEST = "request"
"""User attribute of a clone: the id of the request for it."""

_STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAIL: OptunaState.FAIL,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPoint:
    """A new point and its number in the study. The study also counts duplicates, the ledger does not."""

    study_number: int
    params: Mapping[str, ParamValue]


class SweepStudy:
    """The study of one sweep. One driver uses it at a time."""

    def __init__(self, database: Database | None, name: str, plan: SearchPlan) -> None:
        """Open or create the study ``name`` in the ledger's database; None: in memory.

        Raises:
            ValueError: a candidate is not a point of the space.
        """
        self._plan = plan
        self._engine = None if database is None else database.engine
        with _quiet(), _translate_errors(self._engine):
            self._storage = _storage(database)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                directions=[StudyDirection[metric.direction.name] for metric in plan.metric.metrics],
                sampler=optuna.samplers.RandomSampler(seed=plan.seed),
                load_if_exists=True,
            )
        self._study_id = self._storage.get_study_id_from_name(name)
        points = all_points(plan.space) if plan.candidates is None else plan.candidates
        self._unseen = None if points is None else _shuffled(points, plan.seed)
        self._snap = self._nearest_candidate() if plan.candidates is not None else None
        self._seen: set[str] = set()
        self._limits = MemoryLimits()
        self._refused = 0  # consecutive ones, without start points
        self._deferred: dict[tuple[int, ...], int] = {}  # proposals since the last notes, by the trials that failed
        # Steps and ended trials known to be in the study, so a report costs one write and no read.
        self._written: dict[int, set[int]] = {}
        self._ended: set[int] = set()
        self._records: dict[int, TrialRecord] = {}
        # With fewer trials than its random ones a sampler would never use its model.
        self._history = TpeHistory(self._study.directions, max(NEWEST, plan.sampler.startup_trials or 0))

    def reconcile(self, records: Sequence[TrialRecord], study_numbers: Mapping[int, int]) -> None:
        """Update the study from the ledger, and queue the start points missing in it.

        A proposal interrupted before its commit to the ledger is queued again under its own number: it then gets the
        same values.

        Raises:
            LedgerError: the study lacks trials of the ledger.
        """
        with _translate_errors(self._engine):
            self._reconcile(records, study_numbers)

    def _reconcile(self, records: Sequence[TrialRecord], study_numbers: Mapping[int, int]) -> None:
        known = set(study_numbers.values())
        trials = self._study.get_trials(deepcopy=False)
        if not known <= {trial.number for trial in trials}:
            raise LedgerError(
                f"the Optuna study {self._study.study_name} lacks trials that the ledger holds: it was deleted or "
                "changed by another program; restore the database, or start a new sweep with --fresh"
            )
        for trial in trials:
            self._written[trial.number] = set(trial.intermediate_values)
            if trial.state.is_finished():
                self._ended.add(trial.number)
                self._history.add(trial)
            elif trial.state is OptunaState.RUNNING and trial.number not in known and _REQUEST not in trial.user_attrs:
                self._storage.set_trial_state_values(self._id(trial.number), OptunaState.WAITING)
        for record in records:
            self._seen.add(canonical(record.params))
            self.follow(record, study_numbers[record.number])
        newest = max(known, default=-1)
        self._refused = sum(t.number > newest and t.state.is_finished() and _START not in t.user_attrs for t in trials)
        queued = {trial.user_attrs.get(_START) for trial in self._study.get_trials(deepcopy=False)}
        for point in self._plan.start_points:
            key = canonical(point)
            if key not in queued:
                queued.add(key)
                start: dict[str, object] = {_START: key}
                if self._snap is None:
                    self._study.enqueue_trial(dict(point), user_attrs=start)
                else:  # its values are fixed when the sampler has found the nearest candidate
                    self._study.enqueue_trial({}, user_attrs={**start, START_POINT: dict(point)})

    @property
    def exhausted(self) -> bool:
        """Whether every point of a finite space has a trial."""
        return self._unseen is not None and self._next_unseen() is None

    def ask(self) -> NewPoint | str:
        """Return an untried point, or the reason in words why there is none.

        Points expected to run out of memory are deferred. In a finite space they follow all others; points certain to
        run out of memory are not tried. In an infinite space the search takes the smallest sizes of the space after
        ``MOST_REFUSED`` refused proposals in a row, and the sampler chooses the other values.
        """
        with _translate_errors(self._engine):
            return self._ask_new()

    def add_clone(self, request: int, params: Mapping[str, ParamValue]) -> int:
        """Add a running trial with these values and return its number in the study; repeatable for one request."""
        with _quiet(), _translate_errors(self._engine):
            trials = self._study.get_trials(deepcopy=False)
            number = next((t.number for t in trials if t.user_attrs.get(_REQUEST) == request), None)
            if number is None:
                searched = {name: one for name, one in distributions(self._plan.space).items() if name in params}
                template = optuna.trial.create_trial(
                    state=OptunaState.RUNNING,
                    params={name: params[name] for name in searched},
                    distributions=searched,
                    user_attrs={_REQUEST: request},
                )
                trial_id = self._storage.create_new_trial(self._study_id, template)
                number = self._storage.get_trial_number_from_id(trial_id)
        self._seen.add(canonical(params))
        return number

    def use_budget(self, budget: Budget) -> None:
        """Use another budget for later proposals: samplers choose their sizes by the number of trials."""
        self._plan = replace(self._plan, budget=budget)

    def take_notes(self) -> tuple[str, ...]:
        """Return one sentence for each reason for which proposals were deferred since the last call."""
        deferred, self._deferred = self._deferred, {}
        return tuple(
            f"proposals deferred: {count}, because they are expected to run out of memory as {name_trials(trials)} did"
            for trials, count in deferred.items()
        )

    def _ask_new(self) -> NewPoint | str:
        while not self.exhausted:
            untried = self._next_untried()
            if self._unseen is not None and untried is None:
                return f"every point left would run out of memory, as {name_trials(self._limits.failed)} did"
            alone = self._unseen is not None and bool(self._exceeded(untried))
            if (alone or self._refused >= MOST_REFUSED) and not self._queued():
                if untried is None and (self._refused > MOST_REFUSED or not self._limits.failed):
                    return REPEATED
                chosen = lowest(self._plan.space, SIZES) if untried is None else untried
                self._study.enqueue_trial(dict(chosen), user_attrs={_CHOSEN: True})
            point = self._ask()
            if point is not None:
                return point
        return TRIED

    @retry_on_disconnect
    def follow(self, record: TrialRecord, study_number: int) -> None:
        """Write the missing values of one trial to the study, from its record.

        Intermediate values are the best values so far, by nominal samples; a pruned trial ends at a rung. TPE orders
        pruned trials by their last step, then by their value at it. A study of several metrics has neither: there, a
        pruned trial is complete with the values at its best checkpoint.
        """
        self._records[record.number] = record
        self._limits.update(record)
        if study_number not in self._ended:
            with _translate_errors(self._engine):
                self._follow(record, study_number)

    def _follow(self, record: TrialRecord, study_number: int) -> None:
        written, several = self._written.setdefault(study_number, set()), len(self._plan.metric.metrics) > 1
        for report in () if several else record.reports:
            score = record.score(self._plan.metric, until=report.nominal_samples)
            if score is not None and report.nominal_samples not in written:
                self._storage.set_trial_intermediate_value(self._id(study_number), report.nominal_samples, score)
                written.add(report.nominal_samples)
        if record.ended:
            state, values = _STATES[record.state], self._final_values(record)
            if several and state is not OptunaState.FAIL:
                state = OptunaState.FAIL if values is None else OptunaState.COMPLETE
            values = values if state is OptunaState.COMPLETE else None
            for name, excess in excesses_of(record, self._plan.metric).items():
                self._storage.set_trial_system_attr(self._id(study_number), f"{PREFIX}{name}", excess)
            self._tell(study_number, state, values, trial=record.number, reason=record.reason)

    def _final_values(self, record: TrialRecord) -> list[float] | None:
        """Return the values of all metrics at the best checkpoint; None if one has none."""
        reported = record.reported_at_best(self._plan.metric)
        values = [reported.get(metric.name, math.nan) for metric in self._plan.metric.metrics]
        return None if any(map(math.isnan, values)) else values

    def _ask(self) -> NewPoint | None:
        """Return one proposal; None if it is refused. The study stores a refused one as failed."""
        with _quiet():
            self._study.sampler = build_sampler(
                Proposal(
                    space=self._plan.space,
                    policy=self._plan.sampler,
                    trials=self._plan.budget.trials,
                    seed=self._plan.seed,
                    unseen=self._next_untried(),
                    ended=self._history.trials,
                    observations=self._observations(),
                    snap=self._snap,
                )
            )
            trial = self._study.ask()
            params = propose(trial, self._plan.space)
        refusal = self._refusal(params, chosen=_CHOSEN in trial.user_attrs)
        if refusal is not None:
            self._tell(trial.number, OptunaState.FAIL, None, trial=None, reason=f"{refusal}; it was not run")
            self._refused += _START not in trial.user_attrs
            return None
        self._refused = 0
        self._seen.add(canonical(params))
        return NewPoint(study_number=trial.number, params=params)

    def _observations(self) -> list[Observation]:
        """Return the trials for the surrogate, by ascending number: a function of the ledger's content alone."""
        if self._plan.sampler.name is not SamplerName.SURROGATE:
            return []
        return observations(self._plan, [self._records[number] for number in sorted(self._records)])

    def _refusal(self, params: Mapping[str, ParamValue], *, chosen: bool) -> str | None:
        """Return why a proposal is not tried now; None if it is."""
        if canonical(params) in self._seen:
            return "repeats an earlier trial"
        trials = () if chosen else self._exceeded(params)
        if not trials:
            return None
        self._deferred[trials] = self._deferred.get(trials, 0) + 1
        return f"is expected to run out of memory as {name_trials(trials)} did"

    def _exceeded(self, params: Mapping[str, ParamValue] | None) -> tuple[int, ...]:
        """Return the trials that tell against a point; see ``MemoryLimits.exceeded_by``."""
        return () if params is None else self._limits.exceeded_by({**self._plan.fixed, **params})

    def _tell(
        self, number: int, state: OptunaState, values: list[float] | None, *, trial: int | None, reason: str | None
    ) -> None:
        self._storage.set_trial_user_attr(self._id(number), "loratory", {"trial": trial, "reason": reason})
        with _quiet():
            # A trial may have ended in the study already, if the connection broke after the commit.
            self._history.add(self._study.tell(number, values, state=state, skip_if_finished=True))
        self._ended.add(number)

    def _queued(self) -> bool:
        """Return whether a start point, a chosen point or an interrupted proposal waits in the study."""
        return bool(self._study.get_trials(deepcopy=False, states=[OptunaState.WAITING]))

    def _id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _nearest_candidate(self) -> NearestCandidate:
        """Return the function from a point to the nearest untried candidate; the seed orders equally near ones."""
        candidates = CandidateSet(self._unseen or (), self._plan.space)
        return lambda point: candidates.nearest(point, self._seen)

    def _next_untried(self) -> Mapping[str, ParamValue] | None:
        """Return the next untried point of a finite space; None if all are tried or certain to run out of memory."""
        unseen = self._next_unseen()
        if unseen is None or not self._exceeded(unseen):
            return unseen
        last = None
        for point in reversed(self._unseen or ()):
            if canonical(point) not in self._seen:
                trials = self._exceeded(point)
                if not trials:
                    return point
                if last is None and not self._limits.are_certain(trials):
                    last = point
        return last

    def _next_unseen(self) -> Mapping[str, ParamValue] | None:
        while self._unseen and canonical(self._unseen[-1]) in self._seen:
            self._unseen.pop()
        return self._unseen[-1] if self._unseen else None


def delete_study(database: Database, name: str) -> None:
    """Remove the study of a sweep, if there is one."""
    with _quiet(), _translate_errors(database.engine):
        storage = _storage(database)
        if name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)


def _storage(database: Database | None) -> BaseStorage:
    if database is None:
        return InMemoryStorage()
    arguments = connect_args(database.url, database.wait_s)
    with table_creation_lock(database.engine, database.wait_s):
        storage = RDBStorage(database.url, engine_kwargs={"connect_args": arguments, "pool_pre_ping": True})
    wait_for_server(storage.engine, database.wait_s)
    if storage.engine.dialect.name == "sqlite":
        storage.engine.dispose()  # new connections get the pragmas
        tune_sqlite(storage.engine)
    return get_storage(storage)  # adds Optuna's cache of ids and finished trials


@contextmanager
def _translate_errors(engine: Engine | None) -> Iterator[None]:
    """Raise database errors as ours, also if Optuna has wrapped them; without an engine there are none."""
    if engine is None:
        yield
        return
    try:
        with translate_errors(engine):
            yield
    except StorageInternalError as error:
        cause = error.__cause__
        ours = translate(cause, engine) if isinstance(cause, DBAPIError) else None
        if ours is None:
            raise
        raise ours from cause


def _shuffled(points: Sequence[Mapping[str, ParamValue]], seed: int) -> list[Mapping[str, ParamValue]]:
    order = list(points)
    random.Random(derive_seed(seed, "grid")).shuffle(order)  # noqa: S311  (not cryptographic)
    return order


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's log and its warnings about experimental options."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
