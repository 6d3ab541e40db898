"""The candidate against the version in use on the same test rows."""

from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.entities.counts import COUNTS
from orchestrator.evaluation.entities.entity_metrics import f1_of
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.evaluation.scores.score_intervals import adapter_ties, metric_intervals
from orchestrator.evaluation.scores.seed_noise import seed_sd
from orchestrator.promotion.gates.paired import champion_gate, decide, slice_gate
from orchestrator.promotion.gates.rules import GateResult, Verdict
from orchestrator.statistics.paired import mcnemar

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)


def measured(predictions: Sequence[int], references: Sequence[int], losses: Sequence[float] = ()) -> Measurement:
    losses = tuple(losses) or tuple(0.1 if p == r else 2.0 for p, r in zip(predictions, references, strict=True))
    rows = RowMeasures(
        losses=losses, units=(1.0,) * len(losses), predictions=tuple(predictions), references=tuple(references)
    )
    pairs = [*zip(predictions, references, strict=True)]
    metrics = {"loss": float(np.mean(losses)), **classification_metrics(pairs, 2)}
    return Measurement(metrics=metrics, rows=rows)


def pair(rows: int, wins: int, losses: int) -> tuple[Measurement, Measurement]:
    """Return two measurements: the first is right on ``wins`` rows alone, the second on ``losses`` rows alone."""
    references = [row % 2 for row in range(rows)]
    ours = [1 - r if wins <= row < wins + losses else r for row, r in enumerate(references)]
    theirs = [1 - r if row < wins else r for row, r in enumerate(references)]
    return measured(ours, references), measured(theirs, references)


def gate(rows: int, wins: int, losses: int, metric: Metric = ACCURACY, gates: Gates | None = None) -> GateResult:
    name = metric.name.rpartition("/")[2]
    ours, theirs = pair(rows, wins, losses)
    result = champion_gate(
        metric, ours, theirs, "films/1 (champion)", gates or Gates(), seed_sd(name, ours.rows, 15_000)
    )
    assert result is not None
    return result


def test_shown_gain_promotes_with_interval() -> None:
    result = gate(1000, 80, 20)
    assert (result.verdict, result.refuses) == (Verdict.PROMOTE, False)
    assert result.value == pytest.approx(0.06)
    assert result.interval is not None
    assert 0 < result.interval.low < 0.06 < result.interval.high
    assert "p = " in result.detail
    assert result.rows_needed is None


def test_shown_loss_refuses() -> None:
    result = gate(1000, 20, 80)
    assert (result.verdict, result.refuses) == (Verdict.REFUSE, True)


@pytest.mark.parametrize("metric", [ACCURACY, LOSS, Metric(name="val/macro_f1", direction=Direction.MAXIMIZE)])
def test_undecided_gain_abstains_with_rows(metric: Metric) -> None:
    result = gate(400, 24, 14, metric, Gates(seed_sd=0.0))
    assert (result.verdict, result.refuses) == (Verdict.ABSTAIN, True)
    assert result.rows_needed is not None
    assert result.rows_needed > 400
    assert f"about {result.rows_needed:,} test rows would show" in result.detail


def test_rows_needed_decide() -> None:
    needed = gate(400, 24, 14, gates=Gates(seed_sd=0.0)).rows_needed
    assert needed is not None
    draw, promoted = np.random.default_rng(0), 0
    for wins, losses, same in draw.multinomial(needed, [24 / 400, 14 / 400, 362 / 400], size=400):
        outcomes_2n = np.repeat([[True, False, True], [False, True, True]], [wins, losses, same], axis=1)
        promoted += decide(mcnemar(*outcomes_2n), 0.0, 0.05, 0.0)[0] is True
    assert 0.75 < promoted / 400 < 0.86


def test_seed_noise_hides_small_gains() -> None:
    assert gate(4000, 200, 140, gates=Gates(seed_sd=0.0)).verdict is Verdict.PROMOTE
    hidden = gate(4000, 200, 140, gates=Gates(seed_sd=0.02))
    assert (hidden.verdict, hidden.rows_needed) == (Verdict.ABSTAIN, None)
    assert "no number of test rows shows a gain of 0.0150 with one seed each" in hidden.detail


def test_gain_bound_is_needed_too() -> None:
    assert gate(1000, 80, 20, gates=Gates(champion_gain=0.05)).verdict is Verdict.PROMOTE
    assert gate(1000, 80, 20, gates=Gates(champion_gain=0.07)).verdict is Verdict.ABSTAIN
    assert gate(1000, 80, 20, gates=Gates(champion_gain=0.2)).verdict is Verdict.REFUSE


def test_noise_between_seeds_follows_training_rows() -> None:
    ours, theirs = pair(1000, 60, 30)
    many = champion_gate(ACCURACY, ours, theirs, "films/1", Gates(), seed_sd("accuracy", ours.rows, 15_000))
    few = champion_gate(ACCURACY, ours, theirs, "films/1", Gates(), seed_sd("accuracy", ours.rows, 200))
    assert many is not None
    assert few is not None
    assert many.verdict is Verdict.PROMOTE
    assert few.verdict is Verdict.ABSTAIN
    assert "between seeds (standard deviation 0.018, assumed)" in few.detail
    fresh = [pair(1000, 0, losses)[0].rows for losses in (0, 40, 80)]  # their accuracies differ by 0.04
    measured_noise = seed_sd("accuracy", ours.rows, 15_000, fresh)
    assert 0.01 < measured_noise.value < 0.04
    widely = champion_gate(ACCURACY, ours, theirs, "films/1", Gates(), measured_noise)
    assert widely is not None
    assert widely.verdict is Verdict.ABSTAIN
    assert "assumed, and measured with 3 fresh seeds" in widely.detail


def test_foreign_metric_is_not_tested() -> None:
    ours, theirs = pair(100, 10, 5)
    other = Measurement(metrics={**ours.metrics, "accuracy": 0.2}, rows=ours.rows)
    assert champion_gate(ACCURACY, other, theirs, "films/1", Gates(), seed_sd("accuracy", ours.rows, 15_000)) is None
    assert (
        champion_gate(
            Metric(name="val/rouge", direction=Direction.MAXIMIZE),
            ours,
            theirs,
            "films/1",
            Gates(),
            seed_sd("accuracy", ours.rows, 15_000),
        )
        is None
    )


def by_label(rows: RowMeasures) -> dict[str, list[int]]:
    names = {"label bad": 0, "label good": 1}
    return {name: [row for row, label in enumerate(rows.references) if label == key] for name, key in names.items()}


def slices(rows: int, wins: int, losses: int, gates: Gates) -> GateResult:
    ours, theirs = pair(rows, wins, losses)
    return slice_gate(ours.rows, theirs.rows, by_label(ours.rows), "films/1", gates)


def test_large_slice_refuses_and_small_warns() -> None:
    refused = slices(400, 0, 24, Gates())
    assert refused.verdict is Verdict.REFUSE
    assert refused.value == pytest.approx(-0.06)
    assert "worst: label bad (200 rows)" in refused.detail
    assert refused.interval is not None
    assert slices(400, 0, 18, Gates()).passed
    references = [0] * 300 + [1] * 40
    theirs, ours = measured(references, references), measured([0] * 300 + [1] * 30 + [0] * 10, references)
    small = slice_gate(ours.rows, theirs.rows, by_label(ours.rows), "films/1", Gates())
    assert (small.passed, small.verdict) == (False, Verdict.PROMOTE)
    assert "warning, small slices: label good (40 rows, -0.2500)" in small.detail


def test_only_small_slices_abstain_with_rows() -> None:
    result = slices(100, 0, 20, Gates())
    assert (result.verdict, result.refuses, result.rows_needed) == (Verdict.ABSTAIN, False, 400)


def test_f1_of_entities_is_compared_by_rows() -> None:
    draw = np.random.default_rng(0)
    true_n = draw.integers(0, 4, 300)
    ours_n, theirs_n = draw.binomial(true_n, 0.95), draw.binomial(true_n, 0.7)

    def found(right_n: Sequence[int]) -> Measurement:
        items = dict(zip(COUNTS, (tuple(map(float, values)) for values in (right_n, true_n, true_n)), strict=True))
        rows = RowMeasures(losses=(1.0,) * 300, units=(1.0,) * 300, scores=items)
        return Measurement(metrics={"f1": f1_of(sum(right_n), sum(true_n), sum(true_n))}, rows=rows)

    ours, theirs = found(ours_n.tolist()), found(theirs_n.tolist())
    metric = Metric(name="val/f1", direction=Direction.MAXIMIZE)
    result = champion_gate(metric, ours, theirs, "films/1 (champion)", Gates(), seed_sd("f1", ours.rows, 15_000))
    assert result is not None
    assert result.verdict is Verdict.PROMOTE
    assert result.interval is not None
    assert result.interval.low < ours.metrics["f1"] - theirs.metrics["f1"] < result.interval.high
    interval = metric_intervals(ours.metrics, ours.rows, 15_000)["f1"]
    assert interval.low < ours.metrics["f1"] < interval.high
    ties = adapter_ties("f1", {1: theirs.rows, 2: ours.rows, 3: ours.rows})
    assert ties is not None
    assert {*ties.members} == {2, 3}


def test_error_per_row_is_better_when_lower() -> None:
    draw = np.random.default_rng(0)
    metric, theirs_n = Metric(name="val/error", direction=Direction.MINIMIZE), draw.uniform(0.4, 0.6, 200)

    def found(values_n: np.ndarray) -> Measurement:
        values = tuple(map(float, values_n))
        rows = RowMeasures(losses=(1.0,) * 200, units=(1.0,) * 200, scores={"error": values})
        return Measurement(metrics={"error": float(np.mean(values))}, rows=rows)

    lower, higher = found(theirs_n - draw.uniform(0, 0.2, 200)), found(theirs_n)
    for ours, champion, verdict in ((lower, higher, Verdict.PROMOTE), (higher, lower, Verdict.REFUSE)):
        result = champion_gate(metric, ours, champion, "films/1", Gates(), seed_sd("error", ours.rows, None))
        assert result is not None
        assert result.verdict is verdict
    ties = adapter_ties("error", {1: higher.rows, 2: lower.rows}, metric.direction)
    assert ties is not None
    assert ties.best == 2


def test_noise_of_perplexity_is_that_of_its_losses() -> None:
    fresh = [RowMeasures(losses=(1.0 + shift, 2.0 + shift), units=(1.0, 1.0)) for shift in (0.0, 0.1, 0.2)]
    assert seed_sd("perplexity", fresh[0], None, fresh) == seed_sd("loss", fresh[0], None, fresh)
    assert seed_sd("perplexity", fresh[0], None, fresh).value == pytest.approx(0.1)
    longer = RowMeasures(losses=(1.0, 2.0), units=(1.0, 1.0), scores={"chrf": (1.0, 2.0, 3.0)})
    other = RowMeasures(losses=(1.0, 2.0), units=(1.0, 1.0), scores={"chrf": (1.0, 2.0)})
    assert seed_sd("chrf", longer, None, (longer, other)).origin == "unknown"
