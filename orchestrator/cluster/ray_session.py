"""A Ray that is quiet, small, private to one sweep and gone afterwards; or the user's own, if there is one."""

import functools
import hashlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from orchestrator.core.errors import UserError
from orchestrator.core.policy import Resources

_OBJECT_STORE_BYTES = 80 * 2**20  # Ray's least is 75 MiB; nothing large goes through it
_LONGEST_TEMPORARY_DIR = 36  # Ray's sockets lie 68 characters deeper, and a socket's path ends at 107


@contextmanager
def ray_session(sweep_dir: Path, resources: Resources, log: Path) -> Iterator[Path]:
    """Connect to Ray and yield the folder for Tune's own files, which is removed at the end.

    A Ray that is already connected is used as it is. If ``RAY_ADDRESS`` is set, that cluster is joined; Tune's files
    then lie in the sweep's folder, which all nodes share. Otherwise a Ray of this machine alone is started, and ends
    with the session, or with this process if that is killed.

    Raises:
        UserError: a trial asks for more than this machine has.
    """
    with _environment(tune_environment(resources)), _logging_to(log), _folder(sweep_dir) as folder:
        connected = ray.is_initialized()
        if not connected and os.environ.get("RAY_ADDRESS"):
            environment = {"env_vars": worker_environment(resources)}
            ray.init(runtime_env=environment, log_to_driver=False)
        elif not connected:
            start_local(folder, resources)
        try:
            yield folder / "tune"
        finally:
            if not connected:
                ray.shutdown()


def start_local(folder: Path, resources: Resources) -> None:
    """Start a Ray of this machine alone, with its files in ``folder`` and its ports closed to other machines.

    Its processes inherit what the workers read from the environment; a runtime environment, Ray's own way, costs a
    second for each process.

    Raises:
        UserError: a trial asks for more accelerators than this machine has.
    """
    # RAY_AUTH_MODE is not set: Ray, once imported, takes no notice; it switches tokens on by itself.
    private = {
        "RAY_AUTH_TOKEN": _token(),
        # Off: Tune gives up the sweep on the error that a kill by Ray's memory monitor leaves. The kernel kills the
        # trial that takes too much, and that error Tune knows.
        "RAY_memory_monitor_refresh_ms": os.environ.get("RAY_memory_monitor_refresh_ms", "0"),  # noqa: SIM112  (Ray's name)
    }
    with _environment({**worker_environment(resources), **private}):
        ray.init(
            address="local",
            num_cpus=resources.parallel_trials * resources.cpus_per_trial,
            num_gpus=None if resources.gpus_per_trial else 0,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
    gpus = ray.cluster_resources().get("GPU", 0.0)
    if resources.gpus_per_trial > gpus:
        ray.shutdown()
        rule = f"at most {gpus:g}, which this machine has, got {resources.gpus_per_trial:g}"
        raise UserError(f"resources.gpus_per_trial: {rule}")


def worker_environment(resources: Resources) -> dict[str, str]:
    """Return the environment variables of the trials' processes."""
    return {
        "HF_HUB_DISABLE_TELEMETRY": os.environ.get("HF_HUB_DISABLE_TELEMETRY", "1"),
        "OMP_NUM_THREADS": str(resources.cpus_per_trial),
        "TOKENIZERS_PARALLELISM": "false",
    }


def tune_environment(resources: Resources) -> dict[str, str]:
    """Return the environment variables that Ray and Tune read in the driver."""
    return {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0"),
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # Tune's own record of the experiment is never read, so it is not kept up to date.
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        # Without this, processes are started one after another.
        "TUNE_MAX_PENDING_TRIALS_PG": str(resources.parallel_trials),
    }


@functools.cache
def _token() -> str:
    """Return a secret of this process, without which nobody can use its Ray; Ray remembers the first one it sees."""
    return secrets.token_hex(32)


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _logging_to(log: Path) -> Iterator[None]:
    """Send what Ray and Tune have to say to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("ray")
    before = logger.handlers, logger.propagate
    handler = logging.FileHandler(log, encoding="utf-8")
    logger.handlers, logger.propagate = [handler], False
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)  # it misses the files of the loggers that are off
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before
        handler.close()


@contextmanager
def _folder(sweep_dir: Path) -> Iterator[Path]:
    """Yield a new folder for Ray's and Tune's files, and remove it at the end.

    Those that killed drivers of this sweep left are removed too. On a user's cluster it lies in the sweep's folder,
    because all nodes need it; otherwise its path is short, because Ray puts sockets below it.
    """
    root = Path(tempfile.gettempdir())
    if len(str(root)) > _LONGEST_TEMPORARY_DIR:
        root = Path("/tmp")  # noqa: S108  (mkdtemp makes a folder that only this user can enter)
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
