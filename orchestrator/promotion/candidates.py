"""Selects a trial of a sweep and locates its adapter on disk or in MLflow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.confirmed import confirmed
from orchestrator.core.trials.ranking import ranked_by_result
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_measurement
from orchestrator.promotion.gates.stored_rows import StoredRows, rows_of_trial, slices_of
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.adapters import AdapterCard, SweepAdapters
from orchestrator.tracking.logged_models.models import download_model, find_model

Retrain = Callable[[TrialRecord], Path]
"""Trains a trial again up to its best checkpoint and returns the adapter's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A trial and its adapter.

    Attributes:
        adapter: the folder of the adapter.
        model_id: the MLflow model with the adapter, if the adapter is no longer on disk.
        leader: the best trial with a kept adapter; None: unknown.
        fresh_means: mean result of the fresh trainings of this trial and of the leader; None unless both have some.
        test_rows: measurement on the test rows; None: not stored.
        fresh_rows: test rows of the trainings of the same configuration with fresh seeds.
        slices: row numbers of each slice of the test rows, by name.
    """

    trial: TrialRecord
    card: AdapterCard
    adapter: Path
    model_id: str | None = None
    leader: TrialRecord | None = None
    fresh_means: tuple[float, float] | None = None
    test_rows: StoredRows | None = None
    fresh_rows: tuple[RowMeasures, ...] = ()
    slices: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int | None:
        """Size of the adapter's weights, or of a function's checkpoint; None: it is not on this disk yet."""
        pattern = "**/*" if self.card.is_function else "adapter_model*"
        files = [] if self.adapter == Path() else [file for file in self.adapter.glob(pattern) if file.is_file()]
        return sum(file.stat().st_size for file in files) if files else None


class Candidates:
    """The trials of one sweep and their remaining adapters."""

    def __init__(
        self, sweep: SweepRecord, trials: Sequence[TrialRecord], adapters: SweepAdapters, location: Location
    ) -> None:
        self._sweep = sweep
        self._adapters = adapters
        self._location = location
        self._ranked = ranked_by_result(trials, adapters.metric)
        self._fresh = confirmed(trials)
        self._trials = {trial.number: trial for trial in trials}

    def choose(
        self, number: int | None = None, retrain: Retrain | None = None, admit: Callable[[Candidate], object] = id
    ) -> Candidate:
        """Return a trial and its adapter.

        Args:
            number: the trial's number; None: the best trial with a kept adapter.
            retrain: trains the trial again if its adapter was not kept.
            admit: called before ``retrain`` with a candidate without an adapter (``Path()``); raises to refuse it.

        Raises:
            UserError: the trial does not exist or has no score; or its adapter was not kept and ``retrain`` is None.
        """
        if number is None:
            best = self._best_kept()
            if best is None:
                raise UserError(f"no adapter of {self._sweep.reference} was kept; name a trial to train it again")
            return replace(best, leader=best.trial)
        trial = self._trial(number)
        candidate = self._find(trial)
        if candidate is not None:
            return self._with_leader(candidate)
        if retrain is None:
            raise UserError(
                f"the adapter of trial {number} of {self._sweep.reference} was not kept: "
                "only those of the best trials are. "
                "Add --retrain to train it again, with the same configuration and seed"
            )
        card = self._adapters.card(self._sweep, trial)
        untrained = self._with_leader(Candidate(trial=trial, card=card, adapter=Path()))
        admit(untrained)
        return replace(untrained, adapter=retrain(trial))

    def _best_kept(self) -> Candidate | None:
        return next((item for item in map(self._find, self._ranked) if item is not None), None)

    def _with_leader(self, candidate: Candidate) -> Candidate:
        leader, metric = self._leader(), self._adapters.metric
        ours, theirs = (self._fresh.get(trial.number) for trial in (candidate.trial, leader))
        means = [None if each is None else each.mean(metric) for each in (ours, theirs)]
        known = [mean for mean in means if mean is not None]
        return replace(candidate, leader=leader, fresh_means=(known[0], known[1]) if len(known) == 2 else None)

    def _leader(self) -> TrialRecord:
        """Return the best trial with a kept adapter, or the best trial if no adapter was kept.

        Trials without a kept adapter may rank slightly higher: only kept adapters are evaluated again in float32.
        """
        kept = self._best_kept()
        return self._ranked[0] if kept is None else kept.trial

    def _trial(self, number: int) -> TrialRecord:
        trial = self._trials.get(number)
        if trial is None:
            raise UserError(f"{self._sweep.reference} has no trial {number}; it has {len(self._trials)}, from 0")
        if trial.confirms is not None:
            raise UserError(
                f"trial {number} of {self._sweep.reference} trains the configuration of trial {trial.confirms} with a "
                f"fresh seed, to confirm it; name trial {trial.confirms}"
            )
        if trial not in self._ranked:
            why = "has no score" if trial.ended else "is still running"
            raise UserError(f"trial {number} of {self._sweep.reference} {why}")
        return trial

    def _find(self, trial: TrialRecord) -> Candidate | None:
        card = self._adapters.card(self._sweep, trial)
        adapter = self._adapters.folder(trial)
        if adapter is not None:
            return self._with_rows(Candidate(trial=trial, card=card, adapter=adapter))
        if self._sweep.experiment_id is not None:
            client = connect(self._location)
            model_id = find_model(client, self._sweep.experiment_id, card)
            if model_id is not None:
                adapter = download_model(client, model_id, self._location.tracking_uri)
                return self._with_rows(Candidate(trial=trial, card=card, adapter=adapter, model_id=model_id))
        damage = self._adapters.damage(trial)
        if damage is not None:
            raise UserError(
                f"the adapter of trial {trial.number} of {self._sweep.reference} is damaged: {damage}; "
                f"remove {self._adapters.sweep_dir / 'trials' / f'{trial.number:04d}'}, and --trial {trial.number} "
                "--retrain trains it again"
            )
        return None

    def _with_rows(self, candidate: Candidate) -> Candidate:
        """Return the candidate with its stored test rows and their slices."""
        folder = self._adapters.sweep_dir
        rows = rows_of_trial(self._sweep, candidate.trial, self._adapters.metric, folder)
        if rows is None:
            return candidate
        slices = slices_of(folder, rows.measurement.rows, candidate.card.labels)
        fresh = self._fresh.get(candidate.trial.number)
        trainings = () if fresh is None else fresh.whole
        measured = (kept_measurement(folder, training, self._adapters.metric) for training in trainings)
        fresh_rows = tuple(each.rows for each in measured if each is not None)
        return replace(candidate, test_rows=rows, fresh_rows=fresh_rows, slices=slices)
