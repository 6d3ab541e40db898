"""The environment variables that Ray, Tune and the trials' processes read, with the reason for each."""

import os

from orchestrator.core.environment import DEFAULTS


def worker_variables(threads: int) -> dict[str, str]:
    """Return what the trials' processes read, each of which computes with ``threads`` threads.

    A Ray that we start passes its own environment on. Ray's way to set it, a runtime environment, costs a second for
    each process; it is left for clusters that we join.
    """
    inherited = ("HF_HUB_DISABLE_TELEMETRY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    return {
        **{name: os.environ.get(name, DEFAULTS[name]) for name in inherited},
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }


def tune_variables(parallel_trials: int) -> dict[str, str]:
    """Return what Ray and Tune read in the driver for a number of trials at once."""
    return {
        # Tune's newer progress output ignores verbose=0.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Trials' processes stay in the driver's folder, so that relative paths mean the same there.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Lines such as "(raylet) A worker died ..." stay off the screen; Ray reads this when it is imported.
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
        "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0"),
        # The CSV, JSON and TensorBoard files of each trial; the ledger has it all.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # A Ctrl-C is the caller's, who sets the stop event.
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # Tune's own record of the experiment is never read, so it is not kept up to date.
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        # Without this, processes are started one after another.
        "TUNE_MAX_PENDING_TRIALS_PG": str(parallel_trials),
    }


def local_variables() -> dict[str, str]:
    """Return what a Ray that we start reads beside that.

    Nothing about tokens: such a Ray lets in only who has the user's own, and makes one if there is none.
    """
    return {
        # Ray's word for: this machine alone. Its processes then talk, and listen, on 127.0.0.1 and nowhere else.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Off: Tune gives up the sweep on the error that a kill by Ray's memory monitor leaves. Without it the kernel
        # kills the process that takes too much, and that error Tune knows.
        "RAY_memory_monitor_refresh_ms": "0",
        # Off: Tune wants processes with a runtime environment of its own, so these would be started for nothing.
        "RAY_prestart_worker_first_driver": "0",
    }
