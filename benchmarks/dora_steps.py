"""Time of a pack's training step with DoRA against plain LoRA, in interleaved pairs.

    python -m benchmarks.dora_steps [--slots 4] [--rank 8] [--dropout 0.1] [--pairs 10]

Two packs over MiniLM on movie sentences take steps in turns, in this process. Prints the median of the ratios of each
pair, and their range.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
import typer

from benchmarks.bases import BaseName, workload
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.system.environment import set_environment_defaults, usable_cores
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, TrialFolder
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.slots.adapter import new_adapter
from orchestrator.training.process.hardware import choose_device, dtype_of, number_format


class Trials:
    """A pack of trials with or without DoRA."""

    def __init__(self, device: str, settings: TrialSettings, slots: int, updates: int) -> None:
        """Load the base model and start the trials."""
        load = workload(BaseName.MINILM, 0)
        folder = tempfile.mkdtemp(prefix="dora-steps-")
        plan = EnginePlan(
            objective=load.objective.name,
            model=load.model,
            data=load.data,
            report_points=(updates * settings.batch_size,),
            sweep_dir=folder,
            metric="val/loss",
            device=device,
        )
        data = TaskData(load.objective, load.data, load_tokenizer(load.model, classifies=True))
        dtype = dtype_of(number_format(Precision.AUTO, device))
        pack = Pack(load.model, load.objective, device, dtype)
        self._stepper = Stepper(pack, load.objective, data.tokenizer, threads=usable_cores(), tokens=1)
        self._trials = []
        for slot in range(slots):
            task = TrialTask(number=slot, settings=settings, seed=slot)
            self._trials.append(
                SlotTrial(
                    pack,
                    new_adapter(plan, load.objective, task),
                    task,
                    UpdatePlan.create(data, task, plan.timetable),
                    TrialFolder(Path(folder), slot, SLOT_STATE),
                )
            )

    def step_s(self) -> float:
        """Return the seconds of one update of every trial."""
        began = time.perf_counter()
        self._stepper.step(self._trials)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began


def main(slots: int = 4, rank: int = 8, dropout: float = 0.0, batch_size: int = 16, pairs: int = 10) -> None:
    """Measure and print."""
    set_environment_defaults()
    device = choose_device("auto")
    torch.set_num_threads(usable_cores())
    updates = 4 * (pairs + 3)
    plain, dora = (
        Trials(device, TrialSettings(rank=rank, dropout=dropout, batch_size=batch_size, dora=dora), slots, updates)
        for dora in (False, True)
    )
    ratios = []
    for pair in range(pairs + 2):
        times = {trials: trials.step_s() for trials in ((plain, dora) if pair % 2 else (dora, plain))}
        ratios.append(times[dora] / times[plain])
    ratios = ratios[2:]  # the first steps allocate
    print(
        f"DoRA takes {statistics.median(ratios):.2f} times as long as LoRA ({min(ratios):.2f} to {max(ratios):.2f}): "
        f"{slots} slots, rank {rank}, dropout {dropout}, {device}"
    )


if __name__ == "__main__":
    typer.run(main)
