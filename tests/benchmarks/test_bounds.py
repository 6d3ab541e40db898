"""The benchmark of bounds: shares that add up, and coverage near the level."""

import numpy as np
import pytest

from benchmarks.bounds import decisions


def test_candidate_at_its_bound_is_promoted_half_the_time() -> None:
    promote, abstain, refuse, strict, covered = decisions(0.1, 400, 500, np.random.default_rng(0))
    assert promote + abstain + refuse == pytest.approx(1.0)
    assert 0.4 < promote < 0.6
    assert refuse < 0.06
    assert strict < 0.06
    assert 0.92 < covered < 0.98
