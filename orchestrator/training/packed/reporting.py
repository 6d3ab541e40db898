"""Reports of a pack's trials: those with the same rows are measured together."""

import time
from collections.abc import Iterable

from orchestrator.evaluation.gap import gaps
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.process.memory import peak_mb


def report(seats: Iterable[SlotTrial], stepper: Stepper, device: str) -> None:
    """Measure those that have reached a report point, and commit what they report."""
    due = {
        seat: points
        for seat in seats
        if seat.batches == 0
        and (points := [p for p, at in seat.update_plan.due.items() if at == seat.update and not seat.folder.report(p)])
    }
    alike: dict[tuple[int, float], list[SlotTrial]] = {}
    for seat in due:
        settings = seat.task.settings
        alike.setdefault((settings.max_length, settings.train_fraction), []).append(seat)
    for group in alike.values():
        for seat, metrics in zip(group, _measured(group, stepper, device), strict=True):
            seat.commit(due[seat], metrics)


def _measured(seats: list[SlotTrial], stepper: Stepper, device: str) -> list[dict[str, float]]:
    began = time.perf_counter()
    validation = stepper.measure(seats, seats[0].update_plan.splits["val"])
    train = stepper.measure(seats, seats[0].update_plan.splits["train"])
    share_s = (time.perf_counter() - began) / len(seats)
    return [
        {
            **{f"val/{name}": value for name, value in val.items()},
            **{f"train/{name}": value for name, value in fit.items()},
            **gaps(val, fit),
            **seat.progress(),
            "memory/peak_mb": peak_mb(device),
            "time/eval_s": share_s,
        }
        for seat, val, fit in zip(seats, validation, train, strict=True)
    ]
