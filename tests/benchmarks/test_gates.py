"""The resampled predictions behind the figures of the gates."""

import numpy as np
import pytest

from benchmarks.gates import Recorded, decisions
from benchmarks.intervals import FEW_SHOT

RECORDED = Recorded(FEW_SHOT)


def test_pairs_have_wanted_gain_and_discordance() -> None:
    draw, gains, apart = np.random.default_rng(0), [], []
    for _ in range(200):
        challenger, champion, references = RECORDED.pair(1000, 0.1, 0.03, draw)
        assert len(references) == 1000
        gains.append(challenger.mean() - champion.mean())
        apart.append((challenger != champion).mean())
    assert np.mean(gains) == pytest.approx(0.03, abs=0.003)
    assert np.mean(apart) == pytest.approx(0.1, abs=0.003)


def test_gate_promotes_gains_and_few_nulls() -> None:
    null = decisions(RECORDED, 300, 1000, 0.1, 0.0, (0.005, 0.005), np.random.default_rng(1))
    gain = decisions(RECORDED, 300, 1000, 0.1, 0.03, (0.0, 0.0), np.random.default_rng(2))
    assert null["promote"] < 0.09 * 300
    assert gain["promote"] > 0.8 * 300
    assert null["slices refuse"] < 0.05 * 300
