"""A process for one variant of ``packed_step``: trains one round of its trials for each request.

Each variant has processes of its own, so its memory is counted alone, and several processes can train at the same
time. As a module this file is such a process: it reads a line with a round's number and writes a line of JSON.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TextIO

import torch

from benchmarks.bases import BaseName, workload
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import TrialRun
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.packed.slots.adapter import new_adapter, parse_key
from orchestrator.training.solo.engine import SoloEngine


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The trials of a process, in plain values.

    Attributes:
        base: the base's name in ``bases``.
        slots: trials of one pack; 0: a trial in the solo engine.
        rank: rank of every adapter.
        threads: CPU threads.
        rounds: number of rounds.
        updates: updates of each trial in a round.
    """

    base: str
    slots: int
    rank: int
    device: str
    batch_size: int
    sequence: int
    dropout: float
    quantisation: str | None
    threads: int
    rounds: int
    updates: int


class Worker:
    """A training process for one job."""

    def __init__(self, job: Job) -> None:
        """Start the process; it loads model and data in the first round."""
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(job))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, number: int) -> None:
        """Start a round."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, float]:
        """Wait for the round; return ``tokens_per_s``, ``peak_mb`` and ``most``, the largest number of trials at once.

        Raises:
            RuntimeError: the process has failed; stderr has the reason.
        """
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a process ended with {self._process.wait()}")
        found: dict[str, float] = json.loads(answer)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def rounds_of(job: Job) -> Iterator[dict[str, float]]:
    """Train a job; yield the answer of ``Worker.end`` after each round."""
    torch.set_num_threads(job.threads)
    plan, objective, tasks = planned(job)
    yield from (_packed if job.slots else _solo)(plan, objective, tasks)


def adapter_weights(job: Job) -> int:
    """Return the number of weights of one trial's adapter, without the head."""
    plan, objective, tasks = planned(job)
    adapter = new_adapter(plan, objective, tasks[0])
    return sum(value.numel() for key, value in adapter.tensors.items() if parse_key(key)[1] in {"A", "B"})


def planned(job: Job) -> tuple[EnginePlan, Objective, list[TrialTask]]:
    """Return the engine plan, the objective and the trials of a job."""
    load = workload(BaseName(job.base), job.sequence)
    plan = EnginePlan(
        objective=load.objective.name,
        model=load.model,
        data=load.data,
        report_points=tuple(job.updates * job.batch_size * (number + 1) for number in range(job.rounds)),
        sweep_dir=tempfile.mkdtemp(prefix="packed-step-"),
        metric="val/loss",
        threads=job.threads,
        device=job.device,
        quantisation=None if job.quantisation is None else Quantisation(job.quantisation),
    )
    settings = TrialSettings(
        rank=job.rank, batch_size=job.batch_size, dropout=job.dropout, max_length=load.max_length, learning_rate=1e-3
    )
    tasks = [TrialTask(number=slot, settings=settings, seed=slot) for slot in range(max(1, job.slots))]
    return plan, load.objective, tasks


def _solo(plan: EnginePlan, objective: Objective, tasks: list[TrialTask]) -> Iterator[dict[str, float]]:
    run = SoloEngine(EngineContext(plan, objective)).start(tasks[0])
    for point in plan.report_points:
        metrics = run.advance(point).metrics
        yield {"tokens_per_s": metrics["speed/tokens_per_s"], "peak_mb": metrics["memory/peak_mb"], "most": 1}
    run.close()


def _packed(plan: EnginePlan, objective: Objective, tasks: list[TrialTask]) -> Iterator[dict[str, float]]:
    """Train all trials to each point; the time excludes evaluation."""
    engine = MixedEngine(EngineContext(plan, objective))
    runs = [engine.start(task) for task in tasks]
    before = 0.0
    for point in plan.report_points:
        wanted: dict[TrialRun, int] = dict.fromkeys(runs, point)
        spent_s, peak_mb, tokens, most = 0.0, 0.0, 0.0, 0
        while wanted:
            reports = engine.step(wanted)
            most = max(most, sum(engine.holds(task.number) for task in tasks))
            for run, report in reports.items():
                if isinstance(report, Exception):
                    raise report
                spent_s += report.metrics["time/train_s"]
                tokens += report.metrics["progress/tokens"]
                peak_mb = max(peak_mb, report.metrics["memory/peak_mb"])
                del wanted[run]
        yield {"tokens_per_s": (tokens - before) / spent_s, "peak_mb": peak_mb, "most": most}
        before = tokens
    engine.close()


def main(job: Job, asked: TextIO, answers: TextIO) -> None:
    """Write one answer for each request."""
    found = rounds_of(job)
    for _ in asked:
        answers.write(json.dumps(next(found)) + "\n")
        answers.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    main(Job(**json.loads(sys.argv[1])), sys.stdin, own)
