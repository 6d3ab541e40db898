"""Remove damaged checkpoints when a driver resumes a sweep, and report the consequences for its trials."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.trial import Action, TrialRecord
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, STATE, TrialFolder


def recover(plan: EnginePlan, records: Iterable[TrialRecord], metric: Metric) -> Iterator[str]:
    """Remove damaged checkpoints of a sweep; yield a message for each, and for each trial that loses progress.

    Checkpoints of another sweep stay until a trial replaces them. Trials without a report are ignored.
    """
    measured = bool(plan.data.shift) or plan.record or plan.forgetting
    for record in records:
        if record.reports:
            owner = Owner(sweep=plan.sweep_key, task=record.task)
            folder = TrialFolder(Path(plan.sweep_dir), record.number, owner=owner)
            yield from _discard(folder, record)
            if not record.ended:
                yield from _again(folder, record, metric, measured=measured)


def _discard(folder: TrialFolder, record: TrialRecord) -> Iterator[str]:
    """Remove the damaged files of a trial's checkpoints; yield a message for each checkpoint."""
    foreign, number = folder.foreign(), record.number
    if foreign:
        yield f"trial {number}: checkpoints in {folder.path} belong to another sweep or configuration; not used"
    for point in folder.points():
        problem = None if point in foreign else folder.damage(point)
        if problem is None:
            continue
        folder.discard(point)
        yield folder.damage_message(point, problem)
        if record.ended:
            yield f"trial {number} has no adapter now; promote --trial {number} --retrain trains it again"


def _again(folder: TrialFolder, record: TrialRecord, metric: Metric, *, measured: bool) -> Iterator[str]:
    """Yield a message if a trial resumes before its newest report.

    The best checkpoint is measured and kept at the end, so a trial without it trains to it again.
    """
    best, newest = record.best(metric), record.reports[-1].nominal_samples
    decision = record.decisions.get(newest)
    stopped = decision is not None and decision.action is Action.STOP
    if stopped and not measured:
        return
    lacks_best = best is not None and best.checkpoint is not None and not folder.has_adapter(best.nominal_samples)
    if best is not None and lacks_best:
        folder.rewind(best.nominal_samples)
    if stopped and not lacks_best:
        return
    whole = folder.newest_whole(STATE, SLOT_STATE)
    if whole is None:
        yield f"trial {record.number} starts again: it has no usable checkpoint"
    elif whole < newest:
        yield f"trial {record.number} resumes from its checkpoint at {whole:,} samples, not from {newest:,}"
