"""Refuses another number of workers for suspended trials with DeepSpeed, before rows and models are loaded."""

from orchestrator.core.errors import SweepChangedError
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.sweeps import newest_with_trials
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.training.checkpoints.trial_folder import TrialFolder


def require_workers(spec: SweepSpec, ledger: Ledger | None) -> None:
    """Check that the suspended trials of the stored sweep can continue with this number of workers.

    A checkpoint of DeepSpeed holds the optimizer states of each worker. Without DeepSpeed it holds whole tensors, and
    the number of workers may change.

    Args:
        spec: the checked sweep file.
        ledger: holds the sweep to be resumed; None: there is none.

    Raises:
        SweepChangedError: a suspended trial has a checkpoint of another number of workers.
    """
    stored = None if ledger is None or spec.deepspeed is None else newest_with_trials(ledger, spec.name)
    if ledger is None or stored is None:
        return
    before, workers = stored.facts.engine_plan, spec.resources.workers_per_trial
    if before is None or before.deepspeed is None or before.workers == workers:
        return
    folder = sweep_dir(stored)
    trials = [
        record.number
        for record in ledger.trials.all(stored.id)
        if not record.ended and TrialFolder(folder, record.number).points()
    ]
    if trials:
        numbers = ", ".join(map(str, trials))
        raise SweepChangedError(
            f"resources.workers_per_trial: the suspended trials {numbers} of {stored.reference} have checkpoints of "
            f"DeepSpeed with {before.workers} workers, which another number cannot load, got {workers}. Set "
            f"resources.workers_per_trial: {before.workers} until these trials have ended, or start a new sweep with "
            "--fresh"
        )
