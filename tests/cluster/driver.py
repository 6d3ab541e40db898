"""Runs a fake sweep in a separate process, which a test can kill: ``driver.py FOLDER KIND TRIALS [STEP_S]``.

Kinds are inline, tune and tune-packed. A step takes 0.03 s unless ``STEP_S`` is given. It prints why the
sweep was suspended.
"""

import signal
import sys
import threading
from pathlib import Path

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.cluster.tune_executor import TuneExecutor
from orchestrator.core.errors import SuspendedError
from orchestrator.core.sweeps.plan import EngineName
from tests.cluster.fake_sweep import FakeSweep
from tests.fakes.fake_engine import FakeEngineFactory

if __name__ == "__main__":
    folder, kind, trials, *step_s = sys.argv[1:]
    build = FakeEngineFactory(step_s=float(step_s[0]) if step_s else 0.03)
    executor = InlineExecutor(build) if kind == "inline" else TuneExecutor(build)
    engine = EngineName.PACKED if kind == "tune-packed" else EngineName.SOLO
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    sweep = FakeSweep(folder=Path(folder), trials=int(trials), engine=engine)
    try:
        sweep.run(executor, parallel=1 if kind == "inline" else 2, stop=stop)
    except SuspendedError as error:
        sys.exit(f"suspended: {error}")
