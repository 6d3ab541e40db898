"""Paired tests against published values, SciPy and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.statistics.paired import (
    holm,
    mcnemar,
    mcnemar_power,
    p_with_seed_noise,
    paired_bootstrap,
    paired_means,
    rows_for_difference,
    rows_to_decide,
)
from orchestrator.statistics.row_metrics import accuracy, macro_f1

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def outcomes(wins: int, losses: int, both: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([True, False, True, False], [wins, losses, both, neither])
    second = np.repeat([False, True, True, False], [wins, losses, both, neither])
    return first, second


def test_mcnemar_equals_published_values() -> None:
    # Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13: airway hyper-responsiveness, 1 and 7
    test = mcnemar(*outcomes(7, 1, 1, 12))
    assert test.p_differs == pytest.approx(0.0703, abs=5e-5)
    assert (test.rows, test.discordant) == (21, 8)
    assert test.difference.value == pytest.approx(6 / 21)
    # the adjusted Wald interval by hand: 8/23 - 2/23 -+ 1.96 * sqrt((10/23 - (6/23)^2) / 23)
    assert [test.difference.low, test.difference.high] == pytest.approx([0.0134, 0.5084], abs=1e-4)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 100))
def test_mcnemar_is_antisymmetric(wins: int, losses: int, both: int) -> None:
    first, second = outcomes(wins, losses, both)
    test, mirrored = mcnemar(first, second), mcnemar(second, first)
    assert test.difference.value == -mirrored.difference.value
    assert test.difference.low == pytest.approx(-mirrored.difference.high)
    assert test.p_differs == pytest.approx(mirrored.p_differs)
    assert test.difference.low <= test.difference.value <= test.difference.high


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_equals_scipy(wins: int, losses: int) -> None:
    test, tries = mcnemar(*outcomes(wins, losses, 5)), max(1, wins + losses)
    assert test.p_better == pytest.approx(stats.binomtest(wins, tries, alternative="greater").pvalue)
    assert test.p_differs == pytest.approx(stats.binomtest(wins, tries).pvalue if wins + losses else 1.0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_agreeing_rows_leave_p_values(wins: int, losses: int) -> None:
    few, many = mcnemar(*outcomes(wins, losses, 10)), mcnemar(*outcomes(wins, losses, 500, 20))
    assert (few.p_better, few.p_differs) == (many.p_better, many.p_differs)


def test_equal_predictions_never_differ() -> None:
    test = mcnemar(*outcomes(0, 0, 5))
    assert (test.p_better, test.p_differs, test.difference.value) == (1.0, 1.0, 0.0)


def test_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\] rows"):
        mcnemar(np.ones(2, dtype=bool), np.ones(3, dtype=bool))


def test_paired_bootstrap_agrees_with_mcnemar() -> None:
    first, second = outcomes(70, 45, 800, 85)
    references = np.ones(1000, dtype=np.int64)
    test = paired_bootstrap(
        first.astype(np.int64), second.astype(np.int64), references, accuracy, np.random.default_rng(0), draws=20_000
    )
    exact = mcnemar(first, second)
    assert test.difference.value == pytest.approx(exact.difference.value)
    assert test.difference.low == pytest.approx(exact.difference.low, abs=0.002)
    assert test.p_better == pytest.approx(exact.p_better, abs=0.005)


def test_paired_bootstrap_finds_better_macro_f1() -> None:
    draw = np.random.default_rng(0)
    references = draw.choice(3, size=500, p=[0.8, 0.1, 0.1])
    champion = np.where(draw.random(500) < 0.8, references, 0)
    challenger = np.where(draw.random(500) < 0.95, references, 0)
    test = paired_bootstrap(challenger, champion, references, macro_f1, draw, draws=1000)
    assert test.p_better < 0.01
    assert test.difference.low > 0
    same = paired_bootstrap(champion, champion, references, macro_f1, draw, draws=1000)
    assert (same.p_better, same.p_differs) == (1.0, 1.0)


def test_paired_means_equal_scipy() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.standard_normal(80) + 0.2, draw.standard_normal(80)
    ours = paired_means(first, second)
    assert ours.p_better == pytest.approx(stats.ttest_rel(first, second, alternative="greater").pvalue)
    assert ours.p_differs == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_seed_noise_raises_p_value() -> None:
    test = mcnemar(*outcomes(65, 35, 900))
    plain, noisy, averaged = (
        p_with_seed_noise(test, 0.0),
        p_with_seed_noise(test, 0.02),
        p_with_seed_noise(test, 0.02, seeds=(3, 3)),
    )
    assert test.p_better <= plain < averaged < noisy < 0.5


def test_power_equals_simulation() -> None:
    draw = np.random.default_rng(0)
    tables = draw.multinomial(300, [0.09, 0.03, 0.88], size=20_000)
    tries = tables[:, 0] + tables[:, 1]
    found = stats.binom.sf(tables[:, 0] - 1, tries, 0.5) <= 0.05
    assert mcnemar_power(300, gain=0.06, discordance=0.12) == pytest.approx(found.mean(), abs=0.012)


def test_power_without_gain_is_below_level() -> None:
    assert mcnemar_power(1000, gain=1e-9, discordance=0.1) <= 0.05


def test_rows_to_decide_reach_the_power() -> None:
    rows = rows_to_decide(gain=0.03, discordance=0.1)
    assert mcnemar_power(rows, 0.03, 0.1) >= 0.8 > mcnemar_power(rows - 1, 0.03, 0.1)
    assert rows == pytest.approx(684, rel=0.1)  # Connor's approximation; the exact test is conservative
    assert rows_to_decide(gain=0.03, discordance=0.2) > rows > rows_to_decide(gain=0.06, discordance=0.1)


def test_rows_for_difference_resemble_exact_rows() -> None:
    test = mcnemar(*outcomes(65, 35, 900))
    assert rows_for_difference(test, 0.03) == pytest.approx(rows_to_decide(0.03, 0.1), rel=0.1)


def test_rows_cannot_replace_seeds() -> None:
    test = mcnemar(*outcomes(65, 35, 900))
    few, more = rows_for_difference(test, 0.03), rows_for_difference(test, 0.03, seed_sd=0.005)
    assert few is not None
    assert more is not None
    assert few < more
    assert rows_for_difference(test, 0.03, seed_sd=0.02) is None


def test_impossible_gain_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gain 0\.2 and discordance 0\.1"):
        rows_to_decide(gain=0.2, discordance=0.1)


def test_holm_adjusts_p_values() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(P_VALUES)
def test_holm_keeps_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in pairs] == sorted(adjusted)
    assert all(before <= after <= 1 for before, after in pairs)
    assert min(adjusted) == min(1.0, len(p_values) * min(p_values))


@given(P_VALUES)
def test_holm_ignores_order(p_values: list[float]) -> None:
    order = np.random.default_rng(len(p_values)).permutation(len(p_values))
    assert holm([p_values[at] for at in order]) == [holm(p_values)[at] for at in order]
