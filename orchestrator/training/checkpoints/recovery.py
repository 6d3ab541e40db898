"""What a driver that takes a sweep up finds of its checkpoints, and what its trials do without them, in words."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.core.manifest import Owner
from orchestrator.core.metric import Metric
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Action, TrialRecord
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, STATE, TrialFolder


def recover(plan: EnginePlan, records: Iterable[TrialRecord], metric: Metric) -> Iterator[str]:
    """Remove what is damaged of a sweep's checkpoints, and say in a sentence each what its trials do without it.

    Checkpoints of another sweep stay until a trial writes its own in their place. Nothing is said of what an engine
    has not reported yet.
    """
    for record in records:
        if record.reports:
            owner = Owner(sweep=plan.sweep_key, task=record.task)
            folder = TrialFolder(Path(plan.sweep_dir), record.number, owner=owner)
            yield from _discard(folder, record)
            if not record.ended:
                yield from _again(folder, record, metric, measured=bool(plan.data.shift))


def _discard(folder: TrialFolder, record: TrialRecord) -> Iterator[str]:
    """Remove a trial's damaged checkpoints, or what of them is damaged."""
    foreign, number = folder.foreign(), record.number
    if foreign:
        yield f"trial {number}: checkpoints in {folder.path} are of another sweep or configuration; they are not used"
    for point in folder.points():
        problem = None if point in foreign else folder.damage(point)
        if problem is None:
            continue
        folder.discard(point)
        yield folder.told(point, problem)
        if record.ended:
            yield f"trial {number} has no adapter any more; promote --trial {number} --retrain trains it again"


def _again(folder: TrialFolder, record: TrialRecord, metric: Metric, *, measured: bool) -> Iterator[str]:
    """Say from where a trial trains on, if that is not its newest report.

    Its best checkpoint is to be measured and kept in the end, so without that it is trained to it again.
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
        yield f"trial {record.number} starts again: it has no checkpoint to go on from"
    elif whole < newest:
        yield f"trial {record.number} goes on from its checkpoint at {whole:,} samples, not from the one at {newest:,}"
