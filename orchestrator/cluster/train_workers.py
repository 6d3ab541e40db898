"""The workers of one trial: a Ray Train run inside the Tune trial, paused at every report.

Ray Train starts the processes, joins them in torch's process group and ends all of them if one fails. A small actor,
the mailbox, passes reports to the trial and its answers to the workers, because Ray Train's own reports do not pause.
"""

import asyncio
import logging
import shutil
import threading
from pathlib import Path
from typing import Any

import ray
from ray import train
from ray.actor import ActorProxy
from ray.train.torch import TorchTrainer
from ray.train.v2.api.config import FailureConfig

from orchestrator.cluster.tune_trial import redirect_output
from orchestrator.core.errors import LoratoryError, in_short
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Report, TrialTask

_POLL_S = 1.0
_STARTS = 10
"""Attempts to start the processes of a trial, after their resources are free."""
_DIED = "a worker of the trial died or failed (see ray.log); too little memory is the usual cause"

logger = logging.getLogger(__name__)


class Closed(BaseException):
    """Raised in a worker to end it, after the trial was closed."""


class Mailbox:
    """Passes reports from the first worker to the trial, and turns from the trial to all workers."""

    def __init__(self) -> None:
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self._changed = asyncio.Condition()
        self._turns = 0
        self._closed = False
        self._error: Exception | None = None

    @ray.method
    async def put(self, report: Report) -> None:
        """Accept a report."""
        await self._reports.put(report)

    @ray.method
    async def take(self) -> Report:
        """Return the next report, as soon as there is one."""
        return await self._reports.get()

    @ray.method
    async def proceed(self) -> None:
        """Let the workers train to their next report."""
        async with self._changed:
            self._turns += 1
            self._changed.notify_all()

    @ray.method
    async def close(self) -> None:
        """Let the workers end at their next report."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    @ray.method
    async def wait(self, reports: int) -> bool:
        """Wait after a worker's report number ``reports``; return whether it trains on."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._turns >= reports)
        return not self._closed

    @ray.method
    async def fail(self, error: Exception) -> None:
        """Keep the error of a worker, such as a diverged loss; Ray Train would convert it to text."""
        self._error = self._error or error

    @ray.method
    async def error(self) -> Exception | None:
        """Return the error of the first worker with one."""
        return self._error


class WorkerReportChannel:
    """The pauses of one worker; see ``ReportChannel``."""

    def __init__(self, mailbox: "ActorProxy[Mailbox]", *, is_first: bool) -> None:
        self._mailbox = mailbox
        self._is_first = is_first
        self._reports = 0

    def push(self, value: Report) -> None:
        """Pass the first worker's report to the trial, and wait until it wants the next one."""
        self._reports += 1
        if self._is_first:
            ray.get(self._mailbox.put.remote(value))
        if not ray.get(self._mailbox.wait.remote(self._reports)):
            raise Closed

    def check(self) -> None:
        """Do nothing: a trial is closed at a report, or its processes are killed."""


class TrainWorkers:
    """The training of a trial in several processes; see ``Training``."""

    def __init__(self, task: TrialTask, *, plan: EnginePlan, worker: dict[str, float], log: str) -> None:
        """Prepare; Ray Train starts the processes at the first ``next``.

        Args:
            task: the trial.
            plan: the sweep's plan.
            worker: Ray's resources of each worker.
            log: file for the output of the workers.
        """
        self._folder = Path(plan.sweep_dir) / "trials" / f"{task.number:04d}" / "workers"
        self._mailbox = ray.remote(Mailbox).options(num_cpus=0).remote()
        self._thread = threading.Thread(target=self._run, name=f"workers of trial {task.number}", daemon=True)
        self._error: BaseException | None = None
        self._trainer = TorchTrainer(
            _work,
            train_loop_config={"plan": plan, "task": task, "mailbox": self._mailbox, "log": log},
            scaling_config=train.ScalingConfig(
                num_workers=plan.workers, use_gpu=worker.get("GPU", 0.0) > 0, resources_per_worker=worker
            ),
            run_config=train.RunConfig(
                name="train",
                storage_path=str(self._folder),
                # The dispatcher decides about another attempt of the training.
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=_STARTS),
            ),
        )

    def next(self) -> Report:
        """Train to the next report."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            ray.get(self._mailbox.proceed.remote())
        waiting = self._mailbox.take.remote()
        while not ray.wait([waiting], timeout=_POLL_S)[0]:
            if not self._thread.is_alive():
                raise ray.get(self._mailbox.error.remote()) or RuntimeError(_DIED) from self._error
        report: Report = ray.get(waiting)
        return report

    def close(self) -> None:
        """End the workers at their report, and remove Ray Train's files."""
        if self._thread.is_alive():
            ray.get(self._mailbox.close.remote())
            self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)
        ray.kill(self._mailbox)  # type: ignore[arg-type]  # a typed handle

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:  # noqa: BLE001  (raised by ``next``)
            self._error = error


def _work(config: dict[str, Any]) -> None:
    """Train in one worker until the last report, or until the trial is closed.

    Args:
        config: Ray Train's name for the arguments: the plan, the trial, the mailbox and the log file.
    """
    from orchestrator.training.process.memory import out_of_memory
    from orchestrator.training.solo.group import train_share

    plan, task, mailbox = config["plan"], config["task"], config["mailbox"]
    redirect_output(Path(config["log"]))
    channel = WorkerReportChannel(mailbox, is_first=train.get_context().get_world_rank() == 0)
    try:
        train_share(plan, task, channel)
    except Closed:
        return
    except LoratoryError as error:
        ray.get(mailbox.fail.remote(error))
        raise
    except Exception as error:  # every error ends the workers; only the one without memory has another consequence
        logger.exception("a worker failed")
        if out_of_memory(error):
            ray.get(mailbox.fail.remote(MemoryError(in_short(error))))
        raise
