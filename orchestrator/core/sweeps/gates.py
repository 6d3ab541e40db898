"""The bounds of the gates that a candidate must pass before it is promoted."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricBound:
    """The range of a stored metric; None: no limit on this side."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """Bounds of the gates; None switches a gate off. Gains and drops are in the searched metric's unit.

    Attributes:
        champion_gain: smallest gain over the version in use on the test rows. A paired test must show that the gain is
            not zero.
        p_value: level of this test, in (0, 1).
        seed_sd: standard deviation of the test metric between seeds, part of the test; None: the default of
            ``orchestrator.evaluation.scores.seed_noise`` for accuracy and macro-F1, 0 for other metrics; fresh seeds of
            the candidate measure it.
        slice_drop: largest drop of accuracy below the version in use, on each slice of the test rows.
        slice_rows: rows of a slice from which a larger drop refuses the candidate; on smaller slices it warns.
        baseline_gain: smallest gain over the baseline; the gain must also be > 0.
        gap: largest overfit gap at the best checkpoint, in nats.
        memoriser_gap: overfit gap in nats from which a candidate with a training loss near 0 is a memoriser.
        shift_drop: largest drop from the test value to the value on a shift set.
        forgetting: largest value of a stored metric ``forgetting/...``.
        leaked_rows: most test rows among the training rows.
        near_copies: largest share of the test rows with almost the words of a training row, in [0, 1].
        size_bytes: largest size of the adapter's weights.
        latency_ms: longest time for one row in milliseconds, measured on this machine.
        latency_ratio: longest time for one row, as a multiple of the base model's time on this machine.
        metrics: range of further stored metrics by name, for example ``test/loss``.
        written: the bounds set by a user. A candidate that breaks one of them is refused; the defaults of
            ``gap``, ``baseline_gain`` and ``near_copies`` only warn.
        strict: whether every failed gate refuses the candidate.
    """

    champion_gain: float | None = 0.0
    p_value: float = 0.05
    seed_sd: float | None = None
    slice_drop: float | None = 0.05
    slice_rows: int = 200
    baseline_gain: float | None = 0.0
    gap: float | None = 0.5
    memoriser_gap: float | None = 0.5
    shift_drop: float | None = None
    forgetting: float | None = None
    leaked_rows: int | None = 0
    near_copies: float | None = 0.02
    size_bytes: int | None = None
    latency_ms: float | None = None
    latency_ratio: float | None = None
    metrics: Mapping[str, MetricBound] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    strict: bool = False

    def binds(self, bound: str) -> bool:
        """Return whether a user set this bound."""
        return bound in self.written
