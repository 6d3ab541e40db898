"""What a pack computes for a trial with its rows spread, padded and scaled is what peft computes for it alone."""

from tests.training.packed.test_oracle import *  # noqa: F403  (its tests and fixtures, as they are)
