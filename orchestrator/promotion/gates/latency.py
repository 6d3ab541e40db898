"""The gates on latency: the time for one row, alone and against the base model, measured at the promotion."""

import math
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.system.environment import usable_cores
from orchestrator.objective.protocol import Head
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates.rules import GateResult
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.runners import runner_class
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.model.quiet import quiet_libraries

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapter_model import AdapterRunner

ROUNDS, ROWS, WARM_UP = 5, 20, 10
"""Number of rounds, of measured rows in each, and of rows computed before them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """The time for one row.

    Attributes:
        p95_ms: 95th percentile in milliseconds: the smallest time that at least 95 % of the rows do not exceed.
        rounds_ms: the same for each of the successive parts of the rows.
        ratios: time with the adapter over that of the base model right after it, median of each round. Of a model that
            writes, both are the times to the first token, because the two may write answers of different length.
        rows: number of measured rows.
        tokens: length of each row.
        machine: the hardware, in words.
    """

    p95_ms: float
    rounds_ms: tuple[float, ...]
    ratios: tuple[float, ...]
    rows: int
    tokens: int
    machine: str


def measure_latency(adapter: Path, card: AdapterCard) -> Latency:
    """Measure an adapter on the CPU, with rows of the longest length that it takes.

    Rows with and without the adapter alternate, so that other programs slow down both alike.

    Args:
        adapter: the adapter's folder.
        card: its card; ``base_path`` is the base model on this machine.
    """
    kind = runner_class(card.head)
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        runner = kind(stage_adapter(adapter, card, Path(folder) / "adapter"), card.base_path)
        whole, first = _answer(runner, card, None), _answer(runner, card, 1)
        writes, times = not card.labels and card.head != Head.QUESTION_ANSWERING, list[float]()
        pairs: list[tuple[float, float]] = []
        for _ in range(WARM_UP + ROUNDS * ROWS):
            times.append(_seconds(whole))
            adapted = _seconds(first) if writes else times[-1]
            with runner.model.disable_adapter():
                pairs.append((adapted, _seconds(first)))
    starts = range(WARM_UP, len(times), ROWS)
    return Latency(
        p95_ms=_p95_ms(times[WARM_UP:]),
        rounds_ms=tuple(_p95_ms(times[start : start + ROWS]) for start in starts),
        ratios=tuple(_ratio(pairs[start : start + ROWS]) for start in starts),
        rows=ROUNDS * ROWS,
        tokens=card.max_length,
        machine=_machine(),
    )


def _answer(runner: "AdapterRunner", card: AdapterCard, new_tokens: int | None) -> Callable[[], object]:
    """Return a function that answers one row; ``new_tokens`` limits a written answer."""
    from orchestrator.tracking.logged_models.answer_model import AnswerRunner
    from orchestrator.tracking.logged_models.entity_model import EntityRunner

    if isinstance(runner, AnswerRunner):  # one window
        return lambda: runner.answers(["word"], ["word " * (card.max_length - 6)])
    if isinstance(runner, EntityRunner):
        return lambda: runner.entities(["word " * (card.max_length - 8)])
    texts = ["word " * card.max_length]  # the tokenizer cuts it
    if card.labels:
        return lambda: runner.probabilities(texts)
    return lambda: runner.generate(texts, max_new_tokens=new_tokens)


def _seconds(answer: Callable[[], object]) -> float:
    started = time.perf_counter()
    answer()
    return time.perf_counter() - started


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return median(adapted / base for adapted, base in pairs)


def _p95_ms(times_s: Sequence[float]) -> float:
    return 1000 * sorted(times_s)[math.ceil(0.95 * len(times_s)) - 1]


def latency_gates(candidate: Candidate, gates: Gates) -> list[GateResult]:
    """Return the results of the bounds on latency; none without a bound.

    They measure once, unless a function trained the model or it is not on this disk.
    """
    rules = {}
    if gates.latency_ms is not None:
        rules["latency"] = f"one row within {gates.latency_ms:g} ms (95th percentile, on this machine)"
    if gates.latency_ratio is not None:
        rules["latency ratio"] = f"one row within {gates.latency_ratio:g} times the base model's time"
    detail = None
    if candidate.card.is_function:
        detail = "only the function's own code can answer a row"
    elif candidate.adapter == Path():
        detail = "the adapter is not on this disk"
    if detail is not None or not rules:
        return [GateResult(gate=gate, passed=None, detail=detail or "", rule=rule) for gate, rule in rules.items()]
    found = measure_latency(candidate.adapter, candidate.card)
    results = [] if gates.latency_ms is None else [judge_latency(found, gates.latency_ms)]
    results += [] if gates.latency_ratio is None else [judge_ratio(found, gates.latency_ratio)]
    return [replace(result, rule=rules[result.gate]) for result in results]


def judge_latency(found: Latency, most_ms: float) -> GateResult:
    """Return the result: a verdict only if all rounds agree on it, else the machine was too busy to tell."""
    low, high = min(found.rounds_ms), max(found.rounds_ms)
    detail = (
        f"{found.p95_ms:.1f} ms for one row of {found.tokens} tokens, at most {most_ms:g}; p95 of {found.rows} rows "
        f"({low:.1f} to {high:.1f} in {len(found.rounds_ms)} rounds) on {found.machine}; "
        f"{median(found.ratios):.2f} times the base model's time"
    )
    return _by_rounds("latency", found.p95_ms, found.rounds_ms, most_ms, detail)


def judge_ratio(found: Latency, most: float) -> GateResult:
    """Return the result on the ratio to the base model's time, by the same rule."""
    value, low, high = median(found.ratios), min(found.ratios), max(found.ratios)
    detail = (
        f"{value:.3f} times the base model's time for one row of {found.tokens} tokens, at most {most:g}; "
        f"{found.rows} rows with and without the adapter ({low:.3f} to {high:.3f} in {len(found.ratios)} rounds)"
    )
    return _by_rounds("latency ratio", value, found.ratios, most, detail)


def _by_rounds(gate: str, value: float, rounds: Sequence[float], most: float, detail: str) -> GateResult:
    """Return the result of a gate from the values of all rounds.

    Smallest and largest of r values are an interval of their median with the level 1 - 2^(1 - r), 94 % for five
    (David and Nagaraja 2003, "Order Statistics", section 7.1).
    """
    from orchestrator.statistics.intervals import Interval

    low, high = min(rounds), max(rounds)
    passed = True if high <= most else False if low > most else None
    if passed is None:
        detail += "; undecided: the rounds disagree, repeat the command while the machine is quiet"
    interval = Interval(value=value, low=low, high=high, level=1 - 2.0 ** (1 - len(rounds)))
    return GateResult(gate=gate, passed=passed, detail=detail, refuses=not passed, value=value, interval=interval)


def _machine() -> str:
    """Return the CPU's name and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {usable_cores()} cores"
