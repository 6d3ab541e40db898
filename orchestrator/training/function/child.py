"""The process of one trial: calls the user's function, passes its reports on, and waits for decisions.

It imports the standard library alone, so that an interpreter without Loratory can run it. Messages are lines of JSON
on two pipes. When the other side ends, the process ends.
"""

import importlib.util
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any, TextIO

BEAT_S = 1.0
"""Minimum time between two messages on progress, in seconds."""
RESUME = "resume"
"""Folder in a checkpoint with files needed only to resume: deleted when the trial has ended."""


class Stopped(BaseException):
    """Raised by ``report``: the trial has ended or is suspended. Let it pass; ``except Exception`` does."""


class Config(Mapping[str, Any]):
    """The configuration of one trial: ``config["learning_rate"]`` is the value of a parameter.

    A parameter that is inactive in this trial is missing: use ``config.get("name")``.

    Attributes:
        trial: number of the trial, from 0.
        seed: the trial's seed, from 0 to 2**31 - 1. The same trial has the same seed after a resume.
        samples: training samples of a whole trial.
        report_points: the samples at which a report is due.
        folder: an empty folder for the files of this trial; what must be kept goes to a checkpoint.
        checkpoint: folder of the checkpoint to resume from; None: start from the beginning.
        start_samples: training samples at that checkpoint, 0 without one.
        threads: CPU threads of this trial.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._values: Mapping[str, Any] = request["values"]
        self.trial: int = request["trial"]
        self.seed: int = request["seed"]
        self.samples: int = request["samples"]
        self.report_points: tuple[int, ...] = tuple(request["report_points"])
        self.folder = Path(request["folder"])
        self.checkpoint = None if request["checkpoint"] is None else Path(request["checkpoint"])
        self.start_samples: int = request["start_samples"]
        self.threads: int = request["threads"]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  (a value of the sweep file: number, text, boolean or None)
        if name not in self._values:
            raise KeyError(f"{name!r} is neither searched nor fixed in this trial; it has {', '.join(self._values)}")
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Channel:
    """The two pipes to the engine."""

    def __init__(self, answers: TextIO, messages: TextIO) -> None:
        self._answers = answers
        self._messages = messages
        self._queue: SimpleQueue[str] = SimpleQueue()
        self.stopping = False
        threading.Thread(target=self._listen, name="decisions", daemon=True).start()

    def send(self, kind: str, **content: object) -> None:
        """Pass a message to the engine."""
        self._messages.write(json.dumps({"kind": kind, **content}) + "\n")
        self._messages.flush()

    def wait(self) -> None:
        """Wait for the decision to continue.

        Raises:
            Stopped: the trial has ended, or is suspended.
        """
        if self._queue.get() != "continue":
            raise Stopped

    def _listen(self) -> None:
        for line in self._answers:
            self.stopping |= line.strip() != "continue"
            self._queue.put(line.strip())
        if not self.stopping:  # the engine's process is gone: nobody receives a report
            os.killpg(0, signal.SIGKILL)  # with the processes that the function started


class Report:
    """The second argument of the function: passes a report on and returns when the trial may continue."""

    def __init__(self, channel: Channel, request: Mapping[str, Any]) -> None:
        self._channel = channel
        self._points = [point for point in request["report_points"] if point > request["start_samples"]]
        self._stored = set(request["stored"])
        self._last = 0
        self._next_beat = 0.0

    def due(self, samples: int) -> bool:
        """Return whether a report is due after ``samples`` training samples; evaluate only then."""
        return bool(self._points) and samples >= self._points[0]

    def __call__(
        self,
        metrics: Mapping[str, float],
        *,
        samples: int,
        checkpoint: "str | os.PathLike[str] | None" = None,
    ) -> None:
        """Report, and return if the trial continues. A report that is not due only shows progress.

        Args:
            metrics: values by name: ``val/loss`` and the other metrics of the sweep file; further names, such as
                ``train/loss``, are recorded too.
            samples: training samples so far, in ascending order.
            checkpoint: folder with all files needed to use the model and to resume. It is copied before this returns.
                Files needed only to resume belong in its folder ``resume``.

        Raises:
            Stopped: the trial has ended or is suspended.
            TypeError, ValueError: an argument breaks a rule.
        """
        if isinstance(samples, bool) or int(samples) != samples or samples < max(1, self._last):
            raise ValueError(f"samples must be whole, positive and ascending, got {samples!r} after {self._last}")
        values = {str(name): float(value) for name, value in metrics.items()}
        if checkpoint is not None and not Path(checkpoint).is_dir():
            raise ValueError(f"checkpoint must be an existing folder, got {os.fspath(checkpoint)!r}")
        self._last = int(samples)
        if not self.due(self._last):
            self._beat()
            return
        crossed = [point for point in self._points if point <= self._last]
        self._points = self._points[len(crossed) :]
        if self._stored.issuperset(crossed):
            return
        path = None if checkpoint is None else str(Path(checkpoint).absolute())
        self._channel.send("report", samples=self._last, metrics=values, checkpoint=path, peak_mb=_peak_mb())
        self._channel.wait()

    def _beat(self) -> None:
        if self._channel.stopping:
            raise Stopped
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT_S
            self._channel.send("beat", samples=self._last)


def _peak_mb() -> float:
    """Return the peak resident memory of this process in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB elsewhere


def _load(path: Path) -> ModuleType:
    sys.path[0] = str(path.parent)  # in place of this file's folder
    name = path.stem if path.stem not in sys.modules else f"loratory_function_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a loader exists for names ending in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and dataclasses look modules up by name
    spec.loader.exec_module(module)
    return module


def _line(error: BaseException, path: str) -> int | None:
    """Return the line of the user's file at which an error was raised, or None."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines else None


def run(request: Mapping[str, Any], channel: Channel) -> None:
    """Call the function of a request, and send how it ended."""
    path, config = Path(request["path"]), Config(request)
    try:
        function = getattr(_load(path), request["name"])
        if request["split"] is None:
            function(config, Report(channel, request))
            channel.send("returned")
        else:
            result = function(config, config.checkpoint)
            if not isinstance(result, Mapping):
                raise TypeError(f"{request['name']} must return a mapping of metrics, got {type(result).__name__}")
            channel.send("result", **_plain(result))
    except Stopped:
        channel.send("stopped")
    except BaseException as error:  # noqa: BLE001  (sent to the engine)
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        channel.send("raised", error=text, line=_line(error, str(path)), memory=isinstance(error, MemoryError))


def _plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics and the rows of a test as plain numbers."""
    rows = result.get("rows")
    if rows is None:
        return {"metrics": {str(name): float(value) for name, value in result.items()}, "rows": None}
    metrics = {str(name): float(value) for name, value in result.items() if name != "rows"}
    kinds = {"losses": float, "units": float, "predictions": int, "references": int}
    unknown = set(rows) - set(kinds)
    if unknown:
        raise ValueError(f"rows have {', '.join(kinds)}, got {', '.join(sorted(unknown))}")
    return {"metrics": metrics, "rows": {name: [kinds[name](value) for value in rows[name]] for name in rows}}


def main(arguments: list[str]) -> None:
    """Run the request of a file.

    Args:
        arguments: descriptor of the answers, descriptor of the messages, path of the request.
    """
    answers = os.fdopen(int(arguments[0]), "r", encoding="utf-8")
    messages = os.fdopen(int(arguments[1]), "w", encoding="utf-8")
    request = json.loads(Path(arguments[2]).read_text(encoding="utf-8"))
    run(request, Channel(answers, messages))
    sys.stdout.flush()
    sys.stderr.flush()
    messages.close()
    os._exit(0)  # threads of the user's libraries must not keep the process


if __name__ == "__main__":
    main(sys.argv[1:])
