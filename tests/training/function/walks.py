"""Functions for the tests of the function engine: a random walk, and functions that break rules. Standard library."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any


def walk(config: Any, report: Any) -> None:
    """A random walk whose loss depends on every draw since the start."""
    generator, place, start = random.Random(config.seed), 0.0, 0
    if config.checkpoint is not None:
        place = json.loads((config.checkpoint / "place.json").read_text())
        drawn = json.loads((config.checkpoint / "resume" / "generator.json").read_text())
        generator.setstate((drawn[0], tuple(drawn[1]), drawn[2]))
        start = config.start_samples
    sys.stdout.write(f"starts at {start}\n")
    for samples in range(start + config["batch"], 100, config["batch"]):
        place += config["rate"] * generator.gauss(0, 1)
        checkpoint = None
        if config.get("save", True) and report.due(samples):
            checkpoint = config.folder / "checkpoint"
            (checkpoint / "resume").mkdir(parents=True, exist_ok=True)
            (checkpoint / "place.json").write_text(json.dumps(place))
            (checkpoint / "resume" / "generator.json").write_text(json.dumps(generator.getstate()))
        report({"val/loss": place**2, "train/loss": abs(place)}, samples=samples, checkpoint=checkpoint)


def test(config: Any, checkpoint: Any) -> dict[str, Any]:
    place = json.loads((checkpoint / "place.json").read_text())
    (config.folder / "scores.txt").write_text("a test may write in its folder")
    return {"loss": place**2, "rows": {"losses": [place**2, 0.0], "predictions": [0, 1], "references": [1, 1]}}


def nothing(config: Any, checkpoint: Any) -> dict[str, Any]:
    return {}


def raises(config: Any, report: Any) -> None:
    raise RuntimeError("no such row")


def out_of_memory(config: Any, report: Any) -> None:
    raise MemoryError("too large")


def killed(config: Any, report: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def diverges(config: Any, report: Any) -> None:
    report({"val/loss": float("nan")}, samples=50)


def forgets(config: Any, report: Any) -> None:
    report({"val/accuracy": 1.0}, samples=50)


def silent(config: Any, report: Any) -> None:
    pass


def early(config: Any, report: Any) -> None:
    report({"val/loss": 1.0}, samples=30)


def returns(config: Any, report: Any) -> None:
    report({"val/loss": 1.0, "val/interpreter": float("orchestrator" in sys.modules)}, samples=100)


def stubborn(config: Any, report: Any) -> None:
    """Starts a process of its own, and ends only when it is killed."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (config.folder.parent.parent / "pids").write_text(f"{os.getpid()} {child.pid}")
    try:
        report({"val/loss": 1.0}, samples=20)
    finally:
        time.sleep(600)


def leaves_child(config: Any, report: Any) -> None:
    """Is killed while a forked process of its own still holds the pipe."""
    if os.fork() == 0:
        (config.folder.parent.parent / "pids").write_text(str(os.getpid()))
        time.sleep(600)
    while not (config.folder.parent.parent / "pids").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
