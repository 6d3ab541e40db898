"""A Ray session for one sweep: a small, quiet, private local Ray, or the user's own Ray."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import ray
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from orchestrator.cluster.executor import ignore_message
from orchestrator.cluster.placement import Placement
from orchestrator.cluster.ray_environment import local_variables, tune_variables, worker_variables
from orchestrator.cluster.ray_privacy import keep_secrets_out_of_commands, loopback_only, make_token_private
from orchestrator.cluster.watchdog import start_watchdog
from orchestrator.core.errors import SuspendedError, UserError, first_line
from orchestrator.core.system.environment import environment
from orchestrator.core.system.secrets import RedactingFormatter

_OBJECT_STORE_BYTES = 80 * 2**20  # Ray's minimum is 75 MiB; only small objects go through it
_STARTS = 2
"""Attempts to start a local Ray; each one may last Ray's own limit of 30 s."""
_NOT_STARTED = ("timed out", "failed to start", "failed to get node info", "overloaded")
_END_S = 10.0
_LONGEST_TEMPORARY_DIR = 20  # Ray adds 87 characters for its sockets; a socket's path has at most 107


@contextmanager
def ray_session(
    sweep_dir: Path, placement: Placement, log: Path, say: Callable[[str], None] = ignore_message
) -> Iterator[Path]:
    """Connect to Ray and yield the folder for Tune's files, which is removed at the end.

    An existing connection is reused. If ``RAY_ADDRESS`` is set, the session joins the cluster, and Tune's files are in
    the sweep's folder, which all nodes share. Otherwise it starts a local Ray. The local Ray ends with the session, or
    with this process if it is killed.

    Args:
        sweep_dir: the sweep's folder.
        placement: the resources of the sweep.
        log: file for the output of Ray and Tune.
        say: shows a message to the user.

    Raises:
        UserError: a trial needs more resources than this machine has.
        SuspendedError: a local Ray did not start in time, twice.
    """
    with ExitStack() as stack:
        stack.enter_context(environment(tune_variables(placement.trials)))
        stack.enter_context(_logging_to(log))
        keep_secrets_out_of_commands()
        folder = stack.enter_context(_folder(sweep_dir))
        if not ray.is_initialized() and os.environ.get("RAY_ADDRESS"):
            ray.init(runtime_env={"env_vars": worker_variables(placement.threads)}, log_to_driver=False)
            stack.callback(ray.shutdown)
        else:
            if not ray.is_initialized():
                stack.enter_context(_local_ray(folder, placement, say))
            _check_resources(placement)
        yield folder / "tune"


def _start_local(folder: Path, placement: Placement) -> None:
    """Start a local Ray with its files in ``folder``; its processes inherit this process's environment.

    Other users cannot reach it: it listens on the loopback interface and requires the user's token. ``folder`` is
    private, because Ray makes its own folder readable to all.
    """
    make_token_private()
    with environment({**worker_variables(placement.threads), **local_variables()}), loopback_only():
        ray.init(
            address="local",
            num_cpus=placement.cpus,
            num_gpus=None if placement.most("GPU") else 0,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=str(folder / "r"),
        )


def _check_resources(placement: Placement) -> None:
    """Refuse a trial that would wait forever. A joined cluster is not checked, because it may grow."""
    present = ray.cluster_resources()
    for name, kind in (("cpus_per_trial", "CPU"), ("gpus_per_trial", "GPU")):
        amount, most = placement.most(kind), present.get(kind, 0.0)
        if amount > most:
            raise UserError(f"resources.{name}: at most {most:g}, the amount of this machine, got {amount:g}")


@contextmanager
def _local_ray(folder: Path, placement: Placement, say: Callable[[str], None]) -> Iterator[None]:
    """Run a local Ray, with a watchdog that cleans up if this process is killed."""
    children = psutil.Process().children
    others = set(children(recursive=True))
    with ExitStack() as stack:
        stack.callback(ray.shutdown)
        for attempt in Retrying(
            stop=stop_after_attempt(_STARTS),
            retry=retry_if_exception(_did_not_start),
            before_sleep=lambda _: say("Ray did not start in time; starting it again"),
            retry_error_callback=_give_up,
        ):
            with attempt:
                try:
                    _start_local(folder, placement)
                except BaseException:  # raised again; ray.shutdown ends only a Ray that has started
                    _kill(set(children(recursive=True)) - others)
                    raise
        watchdog = start_watchdog(folder, [child.pid for child in set(children(recursive=True)) - others])
        stack.callback(watchdog.communicate)
        stack.callback(watchdog.kill)
        yield


def _did_not_start(error: BaseException) -> bool:
    """Return whether the error means that a process of Ray did not start in time, by Ray's messages."""
    return isinstance(error, Exception) and any(phrase in str(error).lower() for phrase in _NOT_STARTED)


def _give_up(state: RetryCallState) -> None:
    """Raise the error for a Ray that did not start."""
    error = state.outcome.exception() if state.outcome is not None else None
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    raise SuspendedError(
        f"Ray's processes did not start in time, {_STARTS} times ({first_line(error)}). Probably this machine is "
        f"overloaded: its load is {load:.1f} on {cores} cores, and {_free_gb():.1f} GB of memory are free. End other "
        "programs and wait, or run without Ray: --inline"
    ) from error


def _free_gb() -> float:
    return float(psutil.virtual_memory().available) / 1e9


def _kill(processes: Collection[psutil.Process]) -> None:
    """End processes, and wait until they have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_END_S)


@contextmanager
def _logging_to(log: Path) -> Iterator[None]:
    """Send the log messages of Ray, Tune and this package to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    loggers = [logging.getLogger("ray"), logging.getLogger(__package__)]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(RedactingFormatter())
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)  # it warns of files without a logger
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


@contextmanager
def _folder(sweep_dir: Path) -> Iterator[Path]:
    """Yield a new folder for Ray's and Tune's files, and remove it at the end.

    Leftovers of killed drivers of this sweep are removed too. On a user's cluster the folder is inside the sweep's
    folder, because all nodes need it. Otherwise its path is short, because Ray puts sockets below it.
    """
    root = Path(tempfile.gettempdir())
    if len(str(root)) > _LONGEST_TEMPORARY_DIR:
        root = Path("/tmp")  # noqa: S108  (mkdtemp creates a private folder)
    if os.environ.get("RAY_ADDRESS"):
        root = sweep_dir
    prefix = f"lo-{hashlib.sha256(str(sweep_dir).encode()).hexdigest()[:8]}-"
    for leftover in root.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
