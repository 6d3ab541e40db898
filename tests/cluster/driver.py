"""Drives a fake sweep in a process of its own, so that a test can kill it: ``driver.py FOLDER KIND TRIALS``."""

import signal
import sys
import threading
from pathlib import Path

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from tests.cluster.fake_sweep import FakeSweep
from tests.fakes.fake_engine import FakeEngineFactory

if __name__ == "__main__":
    folder, kind, trials = sys.argv[1:]
    build = FakeEngineFactory(step_s=0.03)
    executor = TuneExecutor(build) if kind == "tune" else InlineExecutor(build)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    FakeSweep(folder=Path(folder), trials=int(trials)).run(executor, parallel=2 if kind == "tune" else 1, stop=stop)
