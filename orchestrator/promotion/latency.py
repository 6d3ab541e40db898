"""The gate on latency: the time for one row, measured on this machine at the promotion."""

import math
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.core.system.environment import usable_cores
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates import GateResult
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.runners import runner_class
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.model.quiet import quiet_libraries

ROUNDS, ROWS, WARM_UP = 5, 20, 10
"""Number of rounds, of measured rows in each, and of rows computed before them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """The time for one row.

    Attributes:
        p95_ms: 95th percentile in milliseconds: the smallest time that at least 95 % of the rows do not exceed.
        rounds_ms: the same for each of the successive parts of the rows.
        rows: number of measured rows.
        tokens: length of each row.
        machine: the hardware, in words.
    """

    p95_ms: float
    rounds_ms: tuple[float, ...]
    rows: int
    tokens: int
    machine: str


def measure_latency(adapter: Path, card: AdapterCard) -> Latency:
    """Measure an adapter on the CPU, with rows of the longest length that it takes.

    Args:
        adapter: the adapter's folder.
        card: its card; ``base_path`` is the base model on this machine.
    """
    kind = runner_class(card.head)
    from orchestrator.tracking.logged_models.answer_model import AnswerRunner
    from orchestrator.tracking.logged_models.entity_model import EntityRunner

    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        runner = kind(stage_adapter(adapter, card, Path(folder) / "adapter"), card.base_path)
        texts = ["word " * card.max_length]  # the tokenizer cuts it
        times = []
        for _ in range(WARM_UP + ROUNDS * ROWS):
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
    measured = times[WARM_UP:]
    rounds = tuple(_p95_ms(measured[start : start + ROWS]) for start in range(0, len(measured), ROWS))
    return Latency(
        p95_ms=_p95_ms(measured),
        rounds_ms=rounds,
        rows=len(measured),
        tokens=card.max_length,
        machine=_machine(),
    )


def _p95_ms(times_s: Sequence[float]) -> float:
    return 1000 * sorted(times_s)[math.ceil(0.95 * len(times_s)) - 1]


def latency_gate(candidate: Candidate, most_ms: float) -> GateResult:
    """Return the result of the gate; it measures, unless a function trained the model or it is not on this disk."""
    rule = f"one row within {most_ms:g} ms (95th percentile, on this machine)"
    if candidate.card.is_function:
        detail = "only the function's own code can answer a row"
        return GateResult(gate="latency", passed=None, detail=detail, rule=rule)
    if candidate.adapter == Path():
        return GateResult(gate="latency", passed=None, detail="the adapter is not on this disk", rule=rule)
    return replace(judge_latency(measure_latency(candidate.adapter, candidate.card), most_ms), rule=rule)


def judge_latency(found: Latency, most_ms: float) -> GateResult:
    """Return the result: a verdict only if all rounds agree on it, else the machine was too busy to tell."""
    low, high = min(found.rounds_ms), max(found.rounds_ms)
    passed = True if high <= most_ms else False if low > most_ms else None
    detail = (
        f"{found.p95_ms:.1f} ms for one row of {found.tokens} tokens, at most {most_ms:g}; p95 of {found.rows} rows "
        f"({low:.1f} to {high:.1f} in {len(found.rounds_ms)} rounds) on {found.machine}"
    )
    if passed is None:
        detail += "; undecided: the rounds disagree, repeat the command while the machine is quiet"
    return GateResult(gate="latency", passed=passed, detail=detail, refuses=not passed, value=found.p95_ms)


def _machine() -> str:
    """Return the CPU's name and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {usable_cores()} cores"
