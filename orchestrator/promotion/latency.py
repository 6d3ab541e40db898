"""The gate on latency: the time for one row, measured on this machine at the promotion."""

import math
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.system.environment import usable_cores
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates import GateResult
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.runners import runner_class
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.model.quiet import quiet_libraries

ROWS, WARM_UP = 100, 10
"""Number of measured rows, and of rows computed before them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """The time for one row.

    Attributes:
        p95_ms: 95th percentile in milliseconds: the smallest time that at least 95 % of the rows do not exceed.
        rows: number of measured rows.
        tokens: length of each row.
        machine: the hardware, in words.
    """

    p95_ms: float
    rows: int
    tokens: int
    machine: str


def measure_latency(adapter: Path, card: AdapterCard, rows: int = ROWS) -> Latency:
    """Measure an adapter on the CPU, with rows of the longest length that it takes.

    Args:
        adapter: the adapter's folder.
        card: its card; ``base_path`` is the base model on this machine.
        rows: number of rows.
    """
    kind = runner_class(card.head)
    from orchestrator.tracking.logged_models.answer_model import AnswerRunner
    from orchestrator.tracking.logged_models.entity_model import EntityRunner

    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        runner = kind(stage_adapter(adapter, card, Path(folder) / "adapter"), card.base_path)
        texts = ["word " * card.max_length]  # the tokenizer cuts it
        times = []
        for _ in range(WARM_UP + rows):
            started = time.perf_counter()
            if isinstance(runner, AnswerRunner):
                runner.answers(["word"], ["word " * (card.max_length - 6)])  # one window
            elif isinstance(runner, EntityRunner):
                runner.entities(["word " * (card.max_length - 8)])
            elif card.labels:
                runner.probabilities(texts)
            else:
                runner.generate(texts)
            times.append(time.perf_counter() - started)
    measured = sorted(times[WARM_UP:])
    p95_ms = 1000 * measured[math.ceil(0.95 * rows) - 1]
    return Latency(p95_ms=p95_ms, rows=rows, tokens=card.max_length, machine=_machine())


def latency_gate(candidate: Candidate, most_ms: float) -> GateResult:
    """Return the result of the gate; it measures, unless a function trained the model or it is not on this disk."""
    rule = f"one row within {most_ms:g} ms (95th percentile, on this machine)"
    if candidate.card.is_function:
        detail = "only the function's own code can answer a row"
        return GateResult(gate="latency", passed=None, detail=detail, rule=rule)
    if candidate.adapter == Path():
        return GateResult(gate="latency", passed=None, detail="the adapter is not on this disk", rule=rule)
    found = measure_latency(candidate.adapter, candidate.card)
    passed = found.p95_ms <= most_ms
    detail = (
        f"{found.p95_ms:.1f} ms for one row of {found.tokens} tokens, at most {most_ms:g}; p95 of {found.rows} rows"
    )
    return GateResult(
        gate="latency",
        passed=passed,
        detail=f"{detail} on {found.machine}",
        refuses=not passed,
        rule=rule,
        value=found.p95_ms,
    )


def _machine() -> str:
    """Return the CPU's name and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {usable_cores()} cores"
