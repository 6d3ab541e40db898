"""The environment variables of Ray, Tune and the trials' processes, with the reason for each."""

import os

from orchestrator.core.system.environment import DEFAULTS

_LONGEST_WAIT_S = 30 * 24 * 3600


def worker_variables(threads: int) -> dict[str, str]:
    """Return the variables of the trials' processes, each with ``threads`` compute threads.

    The processes of a local Ray inherit its environment. On a joined cluster a Ray runtime environment sets the
    variables, at the cost of one second per process.
    """
    inherited = ("HF_HUB_DISABLE_TELEMETRY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    return {
        **{name: os.environ.get(name, DEFAULTS[name]) for name in inherited},
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        # Trials with several workers: no counters for a dashboard, and no prints through Ray's loggers.
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
        # Each worker sees its own GPU alone: the Trainer of a process takes the first one.
        "TRAIN_ENABLE_SHARE_CUDA_VISIBLE_DEVICES": "0",
        # A trial waits until the workers of other trials have freed their resources, as Tune's own trials do.
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(_LONGEST_WAIT_S),
    }


def tune_variables(parallel_trials: int) -> dict[str, str]:
    """Return the variables of Ray and Tune in the driver, for a number of trials at once."""
    return {
        # Tune's newer progress output ignores verbose=0.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Trials' processes stay in the driver's folder, so that relative paths stay valid.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Lines such as "(raylet) A worker died ..." stay off the screen; Ray reads this when it is imported.
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
        "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0"),
        # No CSV, JSON and TensorBoard files per trial: the ledger has their content.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # The caller handles Ctrl-C and sets the stop event.
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # Nothing reads Tune's own record of the experiment, so it is not updated.
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        # Without this, processes are started one after another.
        "TUNE_MAX_PENDING_TRIALS_PG": str(parallel_trials),
    }


def local_variables() -> dict[str, str]:
    """Return the additional variables of a local Ray.

    No variable is needed for authentication: Ray requires the user's own token, and creates one if none exists.
    """
    return {
        # Ray's switch for a single machine: its processes use 127.0.0.1 only.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Off: after a kill by Ray's memory monitor, Tune ends the sweep with an unknown error. Without the monitor the
        # kernel kills the process, and Tune handles that.
        "RAY_memory_monitor_refresh_ms": "0",
        # Off: Tune starts processes with its own runtime environment, and would not use these.
        "RAY_prestart_worker_first_driver": "0",
    }
